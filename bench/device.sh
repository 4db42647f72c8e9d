#!/usr/bin/env bash
# Figures of the device library, compiled for rv32imc -Os as an ESP32-C3 is. Prints `name value aim ok|short`.
#
#   device_flash        bytes that a firmware with all four modules links of ours, without libssh
#   device_static_ram   bytes of data and bss of the same
#   device_stack_frame  bytes of the largest stack frame in src/
#   device_heap         bytes of heap of ours, three contexts up in sessions of their own, 4 relays each that the gateway
#                       holds up, one upload and one attestation under way; its parts go to standard error, and what it
#                       would be if all 12 services stopped reading in the middle of bulk as well
# libssh's, lwIP's and the HTTP server's share, stacks and login time only a device can show: measured on an emulated
# ESP32-C3, docs/ESP32.md.
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
# Sizes as the cross compiler lays the structures out. A part: name, bytes of one, how many.
parts() {
    local sizes=build/riscv/sizes.c
    cat >"$sizes" <<'C'
#include "cmxsafe/device/attest_work.h"
#include "cmxsafe/device/drops.h"
#include "cmxsafe/device/isolation.h"
#include "cmxsafe/isolation/flow.h"
#include "cmxsafe/isolation/policy.h"
#include "cmxsafe/ota/service_state.h"
#include "cmxsafe/proxy/engine.h"
#define PART(name, bytes, times) char part_##name##_##times[bytes];
PART(sessions, sizeof(struct session), 3)
PART(contexts, sizeof(struct run), 3)
PART(configuration, sizeof(struct cmx_proxy_config) + 3 * sizeof(struct cmx_context), 2)
PART(scratch, CMX_RELAY_CHUNK, 2)
PART(scratch_high_bw, CMX_RELAY_CHUNK_HIGH, 1)
PART(polls, (1 + CMX_PROXY_CONTEXTS_MAX + 4) * sizeof(struct pollfd), 3)
PART(relays, sizeof(struct relay), 12)
PART(held_for_the_gateway, CMX_RELAY_CHUNK, 8)
PART(held_for_the_gateway_high_bw, CMX_RELAY_CHUNK_HIGH, 4)
PART(isolation, sizeof(struct cmx_isolation) + sizeof(struct cmx_drops), 1)
PART(flows, sizeof(struct cmx_flow), 48)
PART(upload, sizeof(struct cmx_ota_service) + sizeof(struct cmx_upload) + sizeof(struct cmx_ota_request), 1)
PART(attestation, sizeof(struct cmx_evidence_job), 1)
C
    riscv64-unknown-elf-gcc --specs=picolibc.specs -march=rv32imc -mabi=ilp32 -std=gnu11 -DCMX_DEVICE_PROFILE -Isrc \
        -isystem tests/riscv/include -isystem build/riscv/include -c "$sizes" -o build/riscv/sizes.o || return 1
    riscv64-unknown-elf-nm -S build/riscv/sizes.o | sed -nE 's/^[0-9a-f]+ ([0-9a-f]+) . part_(.*)_([0-9]+)$/\2 \1 \3/p'
}
heap=0
list=$(parts) && [ -n "$list" ] || { echo "cannot size the parts" >&2; exit 2; }
while read -r name hex times; do
    printf '  %-32s %6d x %d\n' "$name" "$((16#$hex))" "$times" >&2
    heap=$((heap + 16#$hex * times))
done <<<"$list"
printf '  and up to the window of 8000 of each relay whose service does not read: %d with 12\n' $((heap + 12 * 8000)) >&2
figure device_heap "$heap" 102400
exit "$short"
