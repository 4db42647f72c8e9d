#!/usr/bin/env bash
# Every figure, measured against its peer in this run: bench/run.sh [proxy|isolation|ota|attest|device|gateway]...
# Installs what is missing, builds, runs bench/NAME.sh for each (all that exist, if none is named), shows their lines `name
# value aim ok|short`, writes bench/results.json. Exits 1 if a figure is short or a measurement failed.
set -u
. "$(dirname "$0")/../scripts/lib.sh"
cd "$CMX_ROOT" || exit 1
MODULES=(proxy isolation ota attest device gateway)

case "${1:-}" in -h | --help) sed -n '2,4s/^# //p' bench/run.sh; exit 0 ;; esac
for name in "$@"; do
    case " ${MODULES[*]} " in *" $name "*) ;; *) printf 'cmxsafe: no figures of %s: known are %s\n' "$name" "${MODULES[*]}" >&2; exit 2 ;; esac
    [ -f "bench/$name.sh" ] || die "bench/$name.sh does not exist: no figures of $name are measured yet"
done
[ $# -gt 0 ] || for name in "${MODULES[@]}"; do [ ! -f "bench/$name.sh" ] || set -- "$@" "$name"; done

install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" iproute2
say "building"
build build
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
broken=''
is_figure='NF == 4 && ($4 == "ok" || $4 == "short")'
for name in "$@"; do
    say "measuring $name"
    bash "bench/$name.sh" | awk -v m="$name" -v rows="$rows" '{ print "  " $0; fflush() } '"$is_figure"' { print m, $0 >>rows }'
    # A module's script may end with 1 because a figure is short; without any figure it has failed.
    [ "${PIPESTATUS[0]}" -le 1 ] && grep -q "^$name " "$rows" || { broken=1; printf 'cmxsafe: bench/%s.sh gave no figures: see above\n' "$name" >&2; }
done

awk -v stamp="$(date -u +%Y-%m-%dT%H:%M:%SZ)" -v commit="$(git rev-parse --short HEAD 2>/dev/null)" -v cores="$(nproc)" '
    BEGIN { printf "{\n  \"when\": \"%s\",\n  \"commit\": \"%s\",\n  \"cores\": %d,\n  \"figures\": [", stamp, commit, cores }
    { value = $3 ~ /^-?[0-9.]+$/ ? $3 + 0 : "\"" $3 "\""
      printf "%s\n    {\"module\": \"%s\", \"name\": \"%s\", \"value\": %s, \"aim\": \"%s\", \"ok\": %s}", (NR > 1 ? "," : ""), $1, $2, value, $4, ($5 == "ok" ? "true" : "false") }
    END { print "\n  ]\n}" }' "$rows" >bench/results.json

printf '\n'
awk -v good="$c_green" -v bad="$c_red" -v off="$c_off" '
    BEGIN { printf "%-10s %-40s %12s %10s  %s\n", "module", "figure", "value", "aim", "" }
    { printf "%-10s %-40s %12s %10s  %s%s%s\n", $1, $2, $3, $4, ($5 == "ok" ? good : bad), $5, off }' "$rows"
short=$(awk '$5 == "short"' "$rows" | wc -l)
printf '\n%s figures, %s short; written to bench/results.json\n' "$(wc -l <"$rows")" "$short"
[ "$short" = 0 ] && [ -z "$broken" ]
