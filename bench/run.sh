#!/usr/bin/env bash
# Measures every figure together with its peer: bench/run.sh [NAME]... Installs missing packages, builds, runs
# bench/NAME.sh for each NAME (without one: for all), prints their lines `name value aim ok|short [rounds]` and writes
# bench/results.json with the value of each round. Exits with 1 if a figure is short or a measurement failed.
# Names: proxy isolation ota attest device agent_scale gateway gateway_attest gateway_nodes gateway_scale reconnect peers libssh_floor size
set -u
. "$(dirname "$0")/../scripts/lib.sh"
cd "$CMX_ROOT" || exit 1
MODULES=(proxy isolation ota attest device agent_scale gateway gateway_attest gateway_nodes gateway_scale reconnect peers libssh_floor size)

case "${1:-}" in -h | --help) sed -n '2,5s/^# //p' bench/run.sh; exit 0 ;; esac
for name in "$@"; do
    case " ${MODULES[*]} " in *" $name "*) ;; *) printf 'cmxsafe: unknown name %s; the names are: %s\n' "$name" "${MODULES[*]}" >&2; exit 2 ;; esac
    [ -f "bench/$name.sh" ] || die "bench/$name.sh does not exist: no figures of $name are measured yet"
done
[ $# -gt 0 ] || for name in "${MODULES[@]}"; do [ ! -f "bench/$name.sh" ] || set -- "$@" "$name"; done

. bench/lib.sh
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" iproute2
say "building"
build build
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
broken=''
is_figure='(NF == 4 || NF == 5) && ($4 == "ok" || $4 == "short")'
for name in "$@"; do
    say "measuring $name"
    bash "bench/$name.sh" | awk -v m="$name" -v rows="$rows" '{ print "  " $0; fflush() } '"$is_figure"' { print m, $0 >>rows }'
    # A module's script exits with 1 if a figure is short; if it printed no figure, it has failed.
    [ "${PIPESTATUS[0]}" -le 1 ] && grep -q "^$name " "$rows" || { broken=1; printf 'cmxsafe: bench/%s.sh gave no figures: see above\n' "$name" >&2; }
done

awk -v stamp="$(date -u +%Y-%m-%dT%H:%M:%SZ)" -v commit="$(git rev-parse --short HEAD 2>/dev/null)" -v cores="$(nproc)" -v busy="$CMX_BUSY" '
    BEGIN { printf "{\n  \"when\": \"%s\",\n  \"commit\": \"%s\",\n  \"cores\": %d,\n  \"busy_percent_before\": %s,\n  \"figures\": [", stamp, commit, cores, busy }
    { value = $3 ~ /^-?[0-9.]+$/ ? $3 + 0 : "\"" $3 "\""
      printf "%s\n    {\"module\": \"%s\", \"name\": \"%s\", \"value\": %s, \"aim\": \"%s\", \"ok\": %s, \"rounds\": [%s]}", (NR > 1 ? "," : ""), $1, $2, value, $4, ($5 == "ok" ? "true" : "false"), $6 }
    END { print "\n  ]\n}" }' "$rows" >bench/results.json

printf '\n'
awk -v good="$c_green" -v bad="$c_red" -v off="$c_off" '
    # Prints the lowest and highest of a list of rounds.
    function spread(list,   v, n, i, low, high) {
        n = split(list, v, ",")
        if (n < 2) return ""
        low = high = v[1]
        for (i = 2; i <= n; i++) { if (v[i] + 0 < low + 0) low = v[i]; if (v[i] + 0 > high + 0) high = v[i] }
        return low " to " high
    }
    BEGIN { printf "%-10s %-40s %12s %10s  %-5s  %s\n", "module", "figure", "value", "aim", "", "rounds" }
    { printf "%-10s %-40s %12s %10s  %s%-5s%s  %s\n", $1, $2, $3, $4, ($5 == "ok" ? good : bad), $5, off, spread($6) }' "$rows"
short=$(awk '$5 == "short"' "$rows" | wc -l)
printf '\n%s figures, %s short; written to bench/results.json\n' "$(wc -l <"$rows")" "$short"
[ "$short" = 0 ] && [ -z "$broken" ]
