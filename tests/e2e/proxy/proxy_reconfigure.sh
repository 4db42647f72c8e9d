#!/usr/bin/env bash
# A new configuration affects only the contexts that changed: connections on the others continue.
. "$(dirname "$0")/../lib.sh"

S=$(free_port) A=$(free_port) B=$(free_port) C=$(free_port)
client() { python3 "$ROOT/tests/e2e/client.py" "$@"; }
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
start_proxy -- "keep,$S,$A,session=one" "gone,$S,$B,session=one"
up
client "$A" hold 8 & HOLD=$!
wait_for 20 status_is keep open 1 || fail "hold"
[ "$(ask set "keep,$S,$A,session=one" "fresh,$S,$C")" = "set ok" ] || fail "set"
up
client "$C" sink 1000 || fail "the new context does not work"
wait_for 10 eval "! listening $B" || fail "the removed context still listens"
[ "$(ask set "keep,$S,$A,session=one" "fresh,$S,$C" "fresh,$S,$B")" = "set invalid" ] || fail "a broken set is accepted"
[ "$(ask set "keep,$S,$A,session=one" "back,$S,$B,session=one")" = "set ok" ] || fail "set back"
up
client "$B" sink 1000 || fail "a context that was added to a live session does not work"
wait_for 10 eval "! listening $C" || fail "the removed session's listener is still open"
[ "$(status_of keep sessions)" = 1 ] || fail "the unchanged context lost its session"
wait "$HOLD" || fail "the connection on the unchanged context broke"
descriptors() { ls "/proc/$PROXY_RUN/fd" | wc -l; }
BEFORE=$(descriptors)
for _ in 1 2 3; do
    [ "$(ask set "keep,$S,$A,session=one" "back,$S,$B,session=one" "fresh,$S,$C")" = "set ok" ] || fail "set"
    up
    [ "$(ask set "keep,$S,$A,session=one" "back,$S,$B,session=one")" = "set ok" ] || fail "set"
    wait_for 10 eval "! listening $C" || fail "the removed session's listener is still open"
done
as_before() { [ "$(descriptors)" -le "$BEFORE" ]; }
wait_for 10 as_before || fail "$BEFORE descriptors before three sessions were added and removed, $(descriptors) after"
ok "contexts removed, added, refused; the connection on the unchanged context continued"
# When a context is removed, the engine sends CLOSE for its connection. The gateway answers the CLOSE only after the
# connection's client has read all bytes. Until then the session waits and uses no CPU time.
python3 -c "
import socket, time
s = socket.create_connection(('127.0.0.1', $B)); s.sendall(b'G30000000'); s.recv(1); time.sleep(120)" & PIDS+=($!)
wait_for 10 status_is back open 1 || fail "a client that does not read"
sleep 1
[ "$(ask set "keep,$S,$A,session=one")" = "set ok" ] || fail "the context of a client that does not read cannot be removed"
wait_for 10 eval "! listening $B" || fail "the removed context still listens"
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$PROXY_RUN/stat"; }
BEFORE=$(cpu_ticks)
sleep 2
[ $(($(cpu_ticks) - BEFORE)) -lt 50 ] || fail "the session used $(($(cpu_ticks) - BEFORE)) ticks of CPU time in 2 s"
client "$A" sink 1000 || fail "the unchanged context does not work after the removal"
ok "a session that waits for the CLOSE of a removed context uses no CPU time"
quit_proxy
