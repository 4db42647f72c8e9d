#!/usr/bin/env bash
# Figures of the device library, compiled for rv32imc -Os as an ESP32-C3 is. Prints `name value aim ok|short`.
#
#   device_flash        bytes that a firmware with all four modules links of ours, without libssh
#   device_static_ram   bytes of data and bss of the same
#   device_stack_frame  bytes of the largest stack frame in src/
# What only a device can show (heap, stacks, login time) was measured on an emulated ESP32-C3: docs/ESP32.md.
set -u
. "$(dirname "$0")/../scripts/lib.sh"
cd "$CMX_ROOT" || exit 1
out=$(bash scripts/check_riscv.sh) || { echo "$out" >&2; exit 2; }
short=0
figure() { # figure NAME VALUE AIM
    local verdict=ok
    [ "$2" -le "$3" ] || { verdict=short; short=1; }
    printf '%s %s <=%s %s\n' "$1" "$2" "$3" "$verdict"
}
figure device_flash "$(awk '$1 == "total" { print $3 }' <<<"$out")" 65536
figure device_static_ram "$(awk '$1 == "total" { print $7 }' <<<"$out")" 4096
figure device_stack_frame "$(sed -nE 's/^largest stack frames: [^\t]*\t([0-9]+).*/\1/p' <<<"$out" | head -n 1)" 1024
exit "$short"
