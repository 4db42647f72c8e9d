#!/usr/bin/env bash
# While a client does not read, sshd does not send its CLOSE for the channel. The session continues.
# The device ends the session only if a new connection needs the slot of such a channel.
. "$(dirname "$0")/../lib.sh"
S=$(free_port) R=$(free_port)
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
PROXY_DRIVER=proxy_run_hasty # in this build the gateway must answer a CLOSE within 3 s instead of 60 s
start_proxy -- "echo,$S,$R,max=1,idle=1"
up
client() { timeout 30 python3 "$ROOT/tests/e2e/client.py" "$@"; }
cat >"$TMP/unread.py" <<'PY'
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.connect(('127.0.0.1', int(sys.argv[1])))
s.sendall(b'D')
time.sleep(600)
PY
unread() { python3 "$TMP/unread.py" "$R" & UNREAD=$!; PIDS+=("$UNREAD"); }
ended() { status_is echo open 0 && status_is echo total "$1"; }

unread; FIRST=$UNREAD
wait_for 30 ended 1 || fail "the idle connection is not ended: $(ask status)"
# New connections are opened and closed in the same session until well after sshd should have answered the CLOSE.
for i in $(seq 2 6); do
    wait_for 30 client "$R" sink 1000 || fail "another client: $(ask status)"
    sleep 1
done
status_is echo sessions 1 || fail "a client that does not read ends the session: $(ask status)"
ok "a client that does not read is left waiting"

unread
more() { [ "$(status_of echo total)" -gt "$served" ] && status_is echo open 0; }
served=$(status_of echo total)
wait_for 30 more || fail "the second connection is not ended: $(ask status)"
wait_for 60 client "$R" sink 1000 || fail "no slot becomes free: $(ask status)"
status_is echo sessions 2 || fail "the slots of the ended connections were not freed: $(ask status)"
grep -q "echo: connection from .* refused: 0 are open, 2 wait for the gateway's CLOSE" "$TMP/proxy.log" || fail "the log gives another reason"
ok "the slots of ended connections are freed when they are needed"
stop "$FIRST"; stop "$UNREAD"
quit_proxy
