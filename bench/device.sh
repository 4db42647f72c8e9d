#!/usr/bin/env bash
# Measures the device library, compiled for rv32imc -Os as an ESP32-C3 is. Prints `name value aim ok|short`.
#
#   device_flash        bytes of our code in a firmware with all four modules, without libssh
#   device_static_ram   bytes of data and bss of this code
#   device_stack_frame  bytes of the largest stack frame in src/
#   device_es256_flash  bytes that only signed evidence (ES256) uses: its digest, the head of the signed data and the derivation of
#                       its key. Does not count branches inside functions that MACed evidence also uses, nor the port's
#                       call to PSA.
#   device_heap         bytes of our heap: three contexts up in separate sessions, 4 relays in each that wait for the
#                       gateway, one upload and one attestation in progress. Standard error shows the parts of this sum,
#                       and what it would be if the services of all 12 relays stopped reading during bulk transfers.
# This script cannot measure stacks, login time, or the memory of libssh, lwIP and the HTTP server: docs/ESP32.md has them for an
# emulated ESP32-C3.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
. "$here/lib.sh"
cd "$CMX_ROOT" || exit 1
out=$(bash scripts/check_riscv.sh) || { echo "$out" >&2; exit 2; }
figure device_flash "$(awk '$1 == "total" { print $3 }' <<<"$out")" '<=' 73728
figure device_static_ram "$(awk '$1 == "total" { print $7 }' <<<"$out")" '<=' 4096
figure device_stack_frame "$(sed -nE 's/^largest stack frames: [^\t]*\t([0-9]+).*/\1/p' <<<"$out" | head -n 1)" '<=' 1024
es256=0
for symbol in compute_digest sig_structure cmx_identity_attest_key; do
    hex=$(riscv64-unknown-elf-nm -S build/riscv/linked.elf | awk -v s="$symbol" 'NF == 4 && $4 == s { print $2 }')
    [[ $hex =~ ^[0-9a-f]+$ ]] || { echo "the firmware has no $symbol: correct the list of functions that only signed evidence uses" >&2; exit 2; }
    es256=$((es256 + 16#$hex))
done
figure device_es256_flash "$es256" '<=' 3072
# parts: prints a line NAME SIZE NUMBER for each structure: its size on the target in bytes (hexadecimal), and how many exist.
parts() {
    local sizes=build/riscv/sizes.c
    cat >"$sizes" <<'C'
#include "cmxsafe/device/attest_work.h"
#include "cmxsafe/device/drops.h"
#include "cmxsafe/device/device_isolation.h"
#include "cmxsafe/isolation/flow_table.h"
#include "cmxsafe/isolation/policy.h"
#include "cmxsafe/ota/service_state.h"
#include "cmxsafe/proxy/relay_state.h"
#include "cmxsafe/proxy/session_state.h"
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
list=$(parts) && [ -n "$list" ] || { echo "the sizes of the structures cannot be measured" >&2; exit 2; }
while read -r name hex times; do
    printf '  %-32s %6d x %d\n' "$name" "$((16#$hex))" "$times" >&2
    heap=$((heap + 16#$hex * times))
done <<<"$list"
printf '  and up to 8000 bytes (the window) for each relay whose service does not read: %d in all with 12 such relays\n' $((heap + 12 * 8000)) >&2
figure device_heap "$heap" '<=' 102400
