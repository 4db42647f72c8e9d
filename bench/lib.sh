# lib.sh - for measurements: prints figures and computes medians. Source it before anything is built or started: it warns if
# the machine is busy.
#
# A figure that can vary has a value for each round: figure_of and note_of print them all. figure and note print a single
# value. They are for counts that are the same in every run (bytes, lines, instructions) and for values that a run has only
# once, such as a peak.

# CMX_BUSY: the percentage of the processors' time that other programs used in the second before the measurement.
# Scripts that the measurement starts inherit it. (A load average would still count programs that ended a minute ago.)
processors() { awk '$1 == "cpu" { print $2 + $3 + $4 + $7 + $8, $5 + $6; exit }' /proc/stat; }
busy_percent() { # busy_percent EARLIER: prints the percentage used since `processors` printed the line EARLIER
    awk -v a="$1" -v b="$(processors)" 'BEGIN { split(a, x); split(b, y); u = y[1] - x[1]; i = y[2] - x[2]; printf "%.0f\n", u + i ? 100 * u / (u + i) : 0 }'
}
if [ -z "${CMX_BUSY:-}" ]; then
    CMX_BUSY=$(before=$(processors); sleep 1; busy_percent "$before")
    export CMX_BUSY
    [ "$CMX_BUSY" -lt 10 ] || printf '# the machine is busy (%s %% of its processors): the figures vary more than on a quiet one\n' "$CMX_BUSY"
fi

# figure NAME VALUE COMPARISON AIM [ROUNDS]: prints "name value aim ok|short [rounds]". COMPARISON: ">=", "<=" or "<". ROUNDS: the
# values of all rounds, separated by commas.
figure() {
    awk -v name="$1" -v value="$2" -v how="$3" -v aim="$4" -v rounds="${5:-}" 'BEGIN {
        held = value != "" && (how == ">=" ? value + 0 >= aim + 0 : how == "<" ? value + 0 < aim + 0 : value + 0 <= aim + 0)
        printf "%s %s %s%s %s%s\n", name, value == "" ? "none" : value, how, aim, held ? "ok" : "short", rounds == "" ? "" : " " rounds
    }'
}

# note NAME VALUE [ROUNDS]: prints a figure without an aim.
note() { printf '%s %s - ok%s\n' "$1" "$2" "${3:+ $3}"; }

# commas: reads numbers, one per line, and prints them separated by commas.
commas() { paste -sd,; }

# figure_of NAME FILE COMPARISON AIM: prints a figure for the median of FILE, in which each line is the value of a round.
# note_of NAME FILE: does the same for a figure without an aim.
figure_of() { figure "$1" "$(median <"$2")" "$3" "$4" "$(commas <"$2")"; }
note_of() { note "$1" "$(median <"$2")" "$(commas <"$2")"; }

# median: prints the median of the numbers on standard input, one per line.
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) printf "%.3f\n", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.4f\n", a / b }'; }

# cpu_us PID...: prints the processor time that the running threads of these processes have used, in microseconds.
cpu_us() {
    local p
    for p in "$@"; do cat "/proc/$p"/task/*/schedstat 2>/dev/null; done | awk '{ n += $1 } END { printf "%.0f\n", n / 1000 }'
}
