#!/usr/bin/env bash
# Reverse forwards through a real sshd: integrity in both directions, many connections, half-close, short connections,
# refusals.
. "$(dirname "$0")/../lib.sh"

S=$(free_port) R=$(free_port) R2=$(free_port)
client() { python3 "$ROOT/tests/e2e/client.py" "$@"; }
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
start_proxy -- "echo,$S,$R,max=64" "few,$S,$R2,max=2"
up
client "$R" sink 30000000 || fail "to the device"; ok "30 MB to the device, digest equal, half-close kept"
client "$R" source 30000000 || fail "from the device"; ok "30 MB from the device, byte for byte"
wait_for 20 status_is echo open 0 || fail "relays left before the 64: $(ask status)"
client "$R" many 64 || fail "64 at once"; ok "64 simultaneous connections"
client "$R" short 200 || fail "short ones"; ok "200 short connections"
client "$R" leave 100 || fail "clients that leave"
client "$R" sink 1000 || fail "no data passes after clients disconnected"
[ "$(status_of echo sessions)" = 1 ] || fail "a client that disconnected during a transfer ended the session: $(ask status)"
ok "100 clients that disconnect during a transfer do not affect the session"
client "$R2" over 2 || fail "above the bound"
status_is few refused 1 || fail "refusal not counted"; ok "the connection above the bound is refused"
wait_for 20 status_is echo open 0 || fail "relays left: $(ask status)"
quit_proxy
