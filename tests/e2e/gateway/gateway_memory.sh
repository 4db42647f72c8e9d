#!/usr/bin/env bash
# The memory of a session has a limit: if a device reads nothing while a consumer sends to it on many connections, other
# sessions are not affected.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
grep -q __asan_init "$BIN/cmxsafe-authkeys" && skip "no build without sanitizers, which need more memory than a session may have"
need_namespaces

start_gateway
key b; key c
gw enroll cam-18 --key "$TMP/b.pub" --ports 81 >/dev/null && gw enroll cam-19 --key "$TMP/c.pub" --ports 81 >/dev/null || fail "enroll"
for name in cam-18 cam-19; do gw grant "user:$(id -un)" "$name" >/dev/null || fail "grant"; done
web one
client b -N -R "[$(address_of cam-18)]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 answers http://cam-18.cmx:81/ one || fail "cam-18 is not connected"

# The service accepts connections and reads nothing.
cat >"$TMP/sink.py" <<'END'
import socket, sys
listener = socket.create_server(("127.0.0.1", 0), backlog=512)
print(listener.getsockname()[1], flush=True)
kept = []
while True:
    kept.append(listener.accept())
END
python3 "$TMP/sink.py" >"$TMP/sink.port" & PIDS+=("$!")
wait_for 10 test -s "$TMP/sink.port" || fail "no service"
client c -N -R "[$(address_of cam-19)]:81:127.0.0.1:$(cat "$TMP/sink.port")" & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 connected cam-19 || fail "the device is not connected"
# flood.py opens connections until a file exists, and then sends on all of them.
cat >"$TMP/flood.py" <<'END'
import os, selectors, socket, sys, time
address, go = sys.argv[1:]
connections, block = selectors.DefaultSelector(), bytes(65536)
for _ in range(200):
    s = socket.create_connection((address, 81), 10)
    s.setblocking(False)
    connections.register(s, selectors.EVENT_WRITE)
print("open", flush=True)
while not os.path.exists(go):
    time.sleep(0.1)
end = time.monotonic() + 60
while connections.get_map() and time.monotonic() < end:
    for key, _ in connections.select(1):
        try:
            key.fileobj.send(block)
        except BlockingIOError:
            pass
        except OSError:
            connections.unregister(key.fileobj)
END
inside python3 "$TMP/flood.py" "$(address_of cam-19)" "$TMP/go" >"$TMP/flood" & PIDS+=("$!")
wait_for 60 grep -q open "$TMP/flood" || fail "the connections are not open"
sleep 3 # the device confirms the last connections
kill -STOP "$DEVICE"
CLEANUP+=("kill -CONT $DEVICE 2>/dev/null")
touch "$TMP/go"
# largest: prints the memory of the largest process of a session, in KiB.
largest() { ps -o rss=,args= -p "$(descendants "$GW_PID" | paste -sd ,)" | awk '/ sshd: cmxsafe-gw/ && $1 > most { most = $1 } END { print most + 0 }'; }
grown() { [ "$(largest)" -gt 200000 ]; }
wait_for 60 grown || fail "the attack has no effect: $(largest) KiB"
for _ in $(seq 10); do
    sleep 1
    [ "$(largest)" -lt 300000 ] || fail "a session has $(largest) KiB"
done
answers http://cam-18.cmx:81/ one || fail "another session is affected"
ok "a session whose device reads nothing keeps to its limit of memory"
kill -CONT "$DEVICE"
no_complaints
