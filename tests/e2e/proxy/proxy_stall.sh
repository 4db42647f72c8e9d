#!/usr/bin/env bash
# A client that reads only one byte a second neither slows the bulk transfers of other connections nor fills the device's memory.
. "$(dirname "$0")/../lib.sh"

S=$(free_port) R=$(free_port)
client() { python3 "$ROOT/tests/e2e/client.py" "$@"; }
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
# A service reads one byte a second: the other data must wait on the gateway, not in the device's memory.
T=$(free_port) RT=$(free_port)
python3 -c "
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.bind(('127.0.0.1', $T)); s.listen(); c, _ = s.accept()
while c.recv(1): time.sleep(1)" & PIDS+=($!)
wait_for 10 listening "$T" || fail "slow service"
start_proxy -- "echo,$S,$R,session=one" "slow,$T,$RT,session=one"
up
ask mem
client "$R" slow 12 & SLOW=$!
python3 -c "
import socket
s = socket.create_connection(('127.0.0.1', $RT)); s.settimeout(8); n = 0
try:
    while True: n += s.send(b'x' * 65536)
except TimeoutError: pass
print('the gateway took', n); assert n < 16 << 20
import time; time.sleep(4)" || fail "a slow service: the sender was not stopped" &
PUSH=$!
sleep 1
client "$R" sink 30000000 || fail "bulk to the device fails beside slow readers"
client "$R" source 30000000 || fail "bulk from the device fails beside slow readers"
wait "$SLOW" || fail "the slow reader lost bytes"
wait "$PUSH" || fail "push"
# An endless transfer in one direction does not block the other.
python3 -c "
import socket, time
s = socket.create_connection(('127.0.0.1', $R)); s.sendall(b'S'); end = time.monotonic() + 300
while time.monotonic() < end: s.sendall(bytes(1 << 20))" & FLOOD=$!; PIDS+=("$FLOOD")
sleep 0.5
timeout 120 python3 "$ROOT/tests/e2e/client.py" "$R" hold 3 || fail "an echo fails during an endless transfer"
timeout 120 python3 "$ROOT/tests/e2e/client.py" "$R" source 3000000 || fail "a transfer from the device fails during an endless transfer"
kill -0 "$FLOOD" || fail "the endless transfer ended"
stop "$FLOOD"
ok "an endless transfer in one direction does not block the other"
PEAK=$(ask mem | sed -nE 's/.*peak=([0-9]+).*/\1/p')
[ "$PEAK" -lt 6000000 ] || fail "our heap grew to $PEAK bytes"
ok "bulk transfers continue beside clients that read one byte a second; peak of our heap $PEAK bytes"
quit_proxy
