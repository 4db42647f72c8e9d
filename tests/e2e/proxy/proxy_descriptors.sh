#!/usr/bin/env bash
# Without free descriptors, connections wait in the listener's queue and the event loop does not spin; they are accepted once
# descriptors are free.
. "$(dirname "$0")/../lib.sh"
S=$(free_port) D=$(free_port)
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"

limit=$(ulimit -Sn)
ulimit -Sn 30
start_proxy -- "back,$D,$S,direct=127.0.0.1,max=100"
ulimit -Sn "$limit"
up

cat >"$TMP/hold.py" <<'PY'
import socket, sys, time
held = [socket.create_connection(('127.0.0.1', int(sys.argv[1]))) for _ in range(60)]
print('held', flush=True)
time.sleep(600)
PY
python3 "$TMP/hold.py" "$D" >"$TMP/held" & HOLD=$!; PIDS+=("$HOLD")
wait_for 20 grep -q held "$TMP/held" || fail "the 60 connections do not open"
descriptors() { [ "$(ls "/proc/$PROXY_RUN/fd" | wc -l)" -ge 30 ]; }
wait_for 10 descriptors || fail "free descriptors are left"

cpu() { awk '{print $14 + $15}' "/proc/$PROXY_RUN/stat"; } # clock ticks, 10 ms each
before=$(cpu)
sleep 2
took=$(($(cpu) - before))
[ "$took" -lt 50 ] || fail "busy loop: $took of 200 ticks of processor time"
ok "60 connections for fewer descriptors: $took ticks in 2 s"

stop "$HOLD"
client() { timeout 30 python3 "$ROOT/tests/e2e/client.py" "$@"; }
wait_for 30 client "$D" sink 1000 || fail "no connection when descriptors are free again: $(ask status)"
ok "connections are accepted when descriptors are free again"
quit_proxy
