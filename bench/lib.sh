# lib.sh - for measurements: prints lines of the table and computes medians. Source it.

# figure NAME VALUE COMPARISON AIM [ROUNDS]: prints "name value aim ok|short [rounds]". COMPARISON: ">=" or "<=". ROUNDS: the
# values of all rounds, separated by commas.
figure() {
    awk -v name="$1" -v value="$2" -v how="$3" -v aim="$4" -v rounds="${5:-}" 'BEGIN {
        held = value != "" && (how == ">=" ? value + 0 >= aim + 0 : value + 0 <= aim + 0)
        printf "%s %s %s%s %s%s\n", name, value == "" ? "none" : value, how, aim, held ? "ok" : "short", rounds == "" ? "" : " " rounds
    }'
}

# note NAME VALUE: a figure without an aim.
note() { printf '%s %s - ok\n' "$1" "$2"; }

# figure_of NAME FILE COMPARISON AIM: the median of FILE, which has one value a line, one for each round.
figure_of() { figure "$1" "$(median <"$2")" "$3" "$4" "$(paste -sd, "$2")"; }

# median: prints the median of the numbers on standard input, one per line.
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) printf "%.3f\n", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.4f\n", a / b }'; }
