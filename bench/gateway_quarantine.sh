#!/usr/bin/env bash
# Measures how soon a system gateway ends a stream after the evidence of the stream's device has expired: the time from
# the moment the registry marks the evidence as not trusted to the last byte of the stream, in several rounds. Prints one
# line: name value aim ok|short rounds. gateway_attest.sh runs it. Needs root. CMX_SHORT=1: fewer rounds.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=${CMX_BIN:-$CMX_ROOT/build/bin}
. "$here/../tests/e2e/gateway_system_lib.sh"
. "$here/../tests/e2e/attest_lib.sh"
. "$here/lib.sh"
ROUNDS=5
[ -z "${CMX_SHORT:-}" ] || ROUNDS=2
cp "$CMX_BIN/attest_board" "$BIN/" || fail "no attest_board"
make_key
make_flash $((4 << 20))
head -c $((0x80000)) "$TMP/firmware.bin" >"$TMP/app.bin"
cmx image manifest --end 0x3f0000 app.bin >"$TMP/manifest" && cmx identity public --key private_key.bin >"$TMP/device.pub" || fail "manifest"
start_board --keyfile private_key.bin
SOURCE=$(free_port)
socat "TCP-LISTEN:$SOURCE,bind=127.0.0.1,fork,reuseaddr" "SYSTEM:while sleep 0.01; do echo x; done" 2>/dev/null & PIDS+=("$!")
wait_for 10 listening "$SOURCE" || fail "no source"
cat >"$TMP/reader.py" <<'PY'
import socket, sys, time
c = socket.create_connection((sys.argv[1], 81), 10)
last = 0
try:
    while c.recv(65536):
        if not last:
            print("reads", flush=True)
        last = time.time()
except OSError:
    pass
print("%.3f" % last, flush=True)
PY
cat >"$TMP/verdict.py" <<'PY'
import sqlite3, sys, time
end = time.time() + 60
while time.time() < end:
    c = sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True, timeout=20)
    row = c.execute("SELECT trusted FROM evidence").fetchone()
    c.close()
    if row and not row[0]:
        print("%.3f" % time.time())
        sys.exit(0)
    time.sleep(0.002)
sys.exit(1)
PY

system_gateway
key a
gw enroll stream --key "$TMP/a.pub" --attest-key "$TMP/device.pub" --ports 81,8888 >/dev/null && gw grant user:1234 stream:81 >/dev/null || fail "enroll"
A=$(address_of stream)
serve_system
client a -N -R "[$A]:81:127.0.0.1:$SOURCE" -R "[$A]:8888:127.0.0.1:$BOARD_PORT" & PIDS+=("$!")
wait_for 20 connected stream || fail "no login"
gw policy set stream --manifest "$TMP/manifest" --max-age 1h --enforce yes >/dev/null || fail "policy set"
WORKER=$(pgrep -o --nslist mnt --ns $$ -f "cmxsafe gateway worker --dir $GW") && [ -n "$WORKER" ] || fail "no worker"
trusted() { [ "$(gw policy show --json | jq -r '.[0].standing')" = trusted ]; }
reads() { grep -q reads "$TMP/reader.out"; }
for _ in $(seq "$ROUNDS"); do
    wait_for 60 trusted || fail "the device is not trusted: $(gw policy show)"
    as 1234 /usr/bin/python3 -c "$(cat "$TMP/reader.py")" "$A" >"$TMP/reader.out" 2>"$TMP/reader.log" & READER=$!; PIDS+=("$READER")
    wait_for 20 reads || fail "no stream: $(cat "$TMP/reader.log")"
    flock "$GW/apply.lock" kill -STOP "$WORKER" # a worker stopped during a change would keep this lock
    sql "$GW/registry.db" "UPDATE evidence SET ends = ends - 3597, boot_ends = boot_ends - 3597" || fail "sqlite3"
    python3 "$TMP/verdict.py" "$GW/registry.db" >"$TMP/verdict" || fail "no verdict"
    wait "$READER"
    awk "BEGIN { d = $(tail -n 1 "$TMP/reader.out") - $(cat "$TMP/verdict"); print (d > 0 ? d : 0) }" >>"$TMP/quarantine"
    kill -CONT "$WORKER"
done
figure_of gateway_quarantine_s "$TMP/quarantine" '<=' 1
