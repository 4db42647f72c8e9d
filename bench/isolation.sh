#!/usr/bin/env bash
# Figures of the isolation module. One line a figure: name value aim ok|short.
set -u
. "$(dirname "$0")/../scripts/lib.sh"
cd "$CMX_ROOT" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

figure() { # figure NAME VALUE AIM OK?(1)
    printf '%s %s %s %s\n' "$1" "$2" "$3" "$([ "$4" = 1 ] && echo ok || echo short)"
}
holds() { awk "BEGIN { print ($1) ? 1 : 0 }"; }

# The files that decide about packets. (digest.c only names the policy in evidence.)
mapfile -t pure < <(ls src/cmxsafe/isolation/*.c | grep -v /digest.c)

# The time of a verdict does not grow from 1 to 32 contexts. The shortest of several alternating runs, because the machine
# may be shared.
gcc -O2 -D_GNU_SOURCE -Isrc -I. bench/isolation_verdict.c "${pure[@]}" -o "$work/verdict" || exit 1
for n in 1 32; do : >"$work/$n"; done
for _ in 1 2 3 4 5; do
    for n in 1 32; do "$work/verdict" $n >>"$work/$n"; done
done
one=$(sort -n "$work/1" | head -1) many=$(sort -n "$work/32" | head -1)
figure isolation_verdict_ns_32_contexts "$many" "<=60" "$(holds "$many <= 60")"
figure isolation_verdict_32_to_1 "$(awk "BEGIN { printf \"%.2f\", $many / $one }")" "<=1.25" "$(holds "$many / $one <= 1.25")"

# Code and static data of the pure part for riscv32, linked, so that call instructions have their final length.
if command -v riscv64-unknown-elf-gcc >/dev/null; then
    for c in "${pure[@]}"; do
        riscv64-unknown-elf-gcc -march=rv32imc -mabi=ilp32 --specs=picolibc.specs -Os -Isrc -c "$c" \
            -o "$work/$(basename "$c").o" || exit 1
    done
    # The three functions of the C library do not count; they get a nearby address.
    riscv64-unknown-elf-ld -m elf32lriscv -e 0 --defsym memcpy=0x42008000 --defsym memset=0x42008100 \
        --defsym memcmp=0x42008200 -Ttext=0x42000000 "$work"/*.o -o "$work/pure.elf" || exit 1
    size=$(riscv64-unknown-elf-size "$work/pure.elf" | awk 'NR == 2 { print $1 + $2 + $3 }')
    figure isolation_pure_riscv32_bytes "$size" "<8192" "$(holds "$size < 8192")"
fi

# Bulk rates with and without isolation, in alternating transfers: the median of the pairs' ratios. The ratio of the
# device's processor time is also printed, because other load on the machine affects it less.
bulk() { # bulk NAME COLUMN AIM FILE
    awk -v name="$1" -v column="$2" -v aim="$3" '
        function median(a, n,   i, j, t) {
            for (i = 2; i <= n; i++) for (j = i; j > 1 && a[j] < a[j - 1]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
            return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
        }
        $1 == "without" { base = $column }
        $1 == "with" && base > 0 { pair[++n] = $column / base; rounds = rounds (n > 1 ? "," : "") sprintf("%.3f", pair[n]) }
        END {
            if (!n) { print name " none " aim " short"; exit }
            r = median(pair, n)
            limit = substr(aim, 3) + 0
            printf "%s %.3f %s %s %s\n", name, r, aim, (aim ~ /^>/ ? r >= limit : r <= limit) ? "ok" : "short", rounds
        }' "$work/$4"
}
both() { # both agent|board RATE-AIM CPU-AIM
    bulk "isolation_$1_bulk_ratio" 2 ">=$2" "isolation_$1_bulk_ratio"
    bulk "isolation_$1_bulk_cpu_ratio" 3 "<=$3" "isolation_$1_bulk_ratio"
}
: >"$work/isolation_agent_bulk_ratio"
: >"$work/isolation_board_bulk_ratio"
if [ "$(id -u)" = 0 ] && [ -x build/bin/cmxsafed ] && [ -x build/bin/isolation_board ]; then
    CMX_BIN=$CMX_ROOT/build/bin bash bench/isolation_bulk.sh "$work" "${CMX_BENCH_ROUNDS:-7}" || exit 1
fi # otherwise there is no figure: it needs root and a build
both agent 0.98 1.02
both board 0.97 1.03
