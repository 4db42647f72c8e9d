#!/usr/bin/env bash
# Measures the isolation module. Prints one line per figure: name value aim ok|short [rounds]. Environment variables of
# the bulk transfers: CMX_BENCH_ROUNDS=N measures 2 N + 1 pairs (default: N = 7); CMX_ONLY=agent or CMX_ONLY=board
# measures one device.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
. "$here/lib.sh"
cd "$CMX_ROOT" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The files that decide about packets, and core/ip.c, which compares addresses for them. (digest.c only names the policy in evidence.)
mapfile -t pure < <(ls src/cmxsafe/isolation/*.c src/cmxsafe/core/ip.c | grep -v /digest.c)

# Measures the time of a verdict, which must hardly grow when there are 32 contexts instead of 1. The shortest of several
# alternating runs counts, because the machine may be shared.
gcc -O2 -D_GNU_SOURCE -Isrc -I. bench/isolation_verdict.c "${pure[@]}" -o "$work/verdict" || exit 1
for n in 1 32; do : >"$work/$n"; done
for _ in 1 2 3 4 5; do
    for n in 1 32; do "$work/verdict" $n >>"$work/$n"; done
done
one=$(sort -n "$work/1" | head -1) many=$(sort -n "$work/32" | head -1)
figure isolation_verdict_ns_32_contexts "$many" '<=' 60 "$(commas <"$work/32")"
figure isolation_verdict_32_to_1 "$(ratio "$many" "$one")" '<=' 1.25 "$(paste "$work/32" "$work/1" | awk '{ printf "%.3f\n", $1 / $2 }' | commas)"

# Measures the code and static data of these files for riscv32. They are linked, so that call instructions have their
# final length. Of core/ip.c, only the functions that the other files call are counted.
if command -v riscv64-unknown-elf-gcc >/dev/null && [ -d /usr/include/lwip ]; then
    for c in "${pure[@]}"; do
        riscv64-unknown-elf-gcc -march=rv32imc -mabi=ilp32 --specs=picolibc.specs -Os -ffunction-sections -fdata-sections -Isrc \
            -isystem tests/riscv/include -isystem /usr/include/lwip -c "$c" -o "$work/$(basename "$c").o" || exit 1
    done
    mapfile -t roots < <(riscv64-unknown-elf-nm -g --defined-only "$work"/[!i]*.o | awk 'NF == 3 { print "--undefined=" $3 }')
    # memcpy, memset and memcmp are not counted: only their addresses are defined, within reach of a short call.
    riscv64-unknown-elf-ld -m elf32lriscv -e 0 --gc-sections "${roots[@]}" --defsym memcpy=0x42008000 --defsym memset=0x42008100 \
        --defsym memcmp=0x42008200 -Ttext=0x42000000 "$work"/*.o -o "$work/pure.elf" || exit 1
    size=$(riscv64-unknown-elf-size "$work/pure.elf" | awk 'NR == 2 { print $1 + $2 + $3 }')
    figure isolation_pure_riscv32_bytes "$size" '<' 8192
fi

# Measures bulk rates alternately with and without isolation; the figure is the median of the pairs' ratios. The ratio
# of the device's processor time is also printed, because other load on the machine affects it less.
pairs() { # pairs NAME COLUMN: prints the ratio of each pair of transfers
    awk -v column="$2" '$1 == "without" { base = $column } $1 == "with" && base > 0 { printf "%.3f\n", $column / base }' "$work/isolation_$1_bulk_ratio"
}
both() { # both agent|board RATE-AIM CPU-AIM: prints both ratios beside their aims
    pairs "$1" 2 >"$work/rate"; pairs "$1" 3 >"$work/cpu"
    figure_of "isolation_$1_bulk_ratio" "$work/rate" '>=' "$2"
    figure_of "isolation_$1_bulk_cpu_ratio" "$work/cpu" '<=' "$3"
}
: >"$work/isolation_agent_bulk_ratio"
: >"$work/isolation_board_bulk_ratio"
if [ "$(id -u)" = 0 ] && [ -x build/bin/cmxsafed ] && [ -x build/bin/isolation_board ]; then
    CMX_BIN=$CMX_ROOT/build/bin bash bench/isolation_bulk.sh "$work" "${CMX_BENCH_ROUNDS:-7}" "${CMX_ONLY:-agent board}" || exit 1
fi # without root, or without a build of both programs, these transfers are not measured
for device in ${CMX_ONLY:-agent board}; do
    case $device in
        agent) both agent 0.98 1.02 ;;
        board) both board 0.97 1.03 ;;
    esac
done
