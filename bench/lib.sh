# lib.sh - for the figures: `figure` prints one line of the table, and medians. Source it.

# figure NAME VALUE COMPARISON AIM: "name value aim ok|short". COMPARISON: ">=" or "<=".
figure() {
    awk -v name="$1" -v value="$2" -v how="$3" -v aim="$4" 'BEGIN {
        held = value != "" && (how == ">=" ? value + 0 >= aim + 0 : value + 0 <= aim + 0)
        printf "%s %s %s%s %s\n", name, value == "" ? "none" : value, how, aim, held ? "ok" : "short"
    }'
}

# median: of the numbers on standard input, one a line.
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) printf "%.3f\n", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.4f\n", a / b }'; }
