#!/usr/bin/env bash
# bench/reconnect.sh [full]: simulates how 1 million devices of 8 gateways come back when a gateway fails. Time is
# simulated too. bench/reconnect_sim.c uses the product's own waiting times and order of gateways. full: also simulates
# a simultaneous restart of all gateways, which takes a minute.
set -u
cd "$(dirname "$0")/.." || exit 1
. bench/lib.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gcc -O2 -std=gnu11 -D_GNU_SOURCE -Isrc bench/reconnect_sim.c src/cmxsafe/proxy/gateways.c src/cmxsafe/core/{backoff,text,why,err}.c \
    -o "$work/sim" || exit 1

# run MODE TIME-AIM ATTEMPTS-AIM: simulates MODE (see reconnect_sim.c) with 8 gateways of 100 logins a second each, and 4,096
# connections in the queue of each. TIME-AIM: maximum time until the last device is back, as a multiple of the time that
# the gateways need at their full rate. ATTEMPTS-AIM: maximum mean number of attempts per device.
run() {
    "$work/sim" 1000000 8 100 4096 "$1" >"$work/$1" || exit 1
    sed 's/^/    /' "$work/$1"
    figure "reconnect_$1_last_to_full_rate" "$(sed -nE 's/.*last ([0-9.]+) s \(at the gateways. full rate: ([0-9.]+) s.*/\1 \2/p' "$work/$1" |
        awk '{ printf "%.3f", $1 / $2 }')" '<=' "$2"
    figure "reconnect_$1_attempts_a_device" "$(sed -nE 's/attempts per device ([0-9.]+),.*/\1/p' "$work/$1")" '<=' "$3"
}
run killed 1.10 10
run silent 1.25 10
[ "${1:-}" != full ] || run all 1.10 50
