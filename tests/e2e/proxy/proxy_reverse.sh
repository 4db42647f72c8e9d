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
client "$R" sink 30000000 || fail "an upload of 30 MB to the device fails"; ok "30 MB to the device, digest equal, half-close kept"
client "$R" source 30000000 || fail "a transfer of 30 MB from the device fails"; ok "30 MB from the device, byte for byte"
wait_for 20 status_is echo open 0 || fail "relays are left from earlier connections: $(ask status)"
client "$R" many 64 || fail "one of 64 simultaneous connections fails"; ok "64 simultaneous connections"
client "$R" short 200 || fail "one of 200 short connections fails"; ok "200 short connections"
client "$R" leave 100 || fail "a client that disconnects early fails"
client "$R" sink 1000 || fail "no data passes after clients disconnected"
[ "$(status_of echo sessions)" = 1 ] || fail "a client that disconnected during a transfer ended the session: $(ask status)"
ok "100 clients that disconnect during a transfer do not affect the session"
client "$R2" over 2 || fail "a connection above max_connections is not closed"
status_is few refused 1 || fail "the refusal is not counted"; ok "the connection above the bound is refused"
wait_for 20 status_is echo open 0 || fail "relays are left at the end: $(ask status)"
quit_proxy
