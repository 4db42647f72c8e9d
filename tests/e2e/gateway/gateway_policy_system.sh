#!/usr/bin/env bash
# Tests grants that end and evidence policies on a system gateway. When access ends, the gateway also cuts live
# connections, even idle ones. The worker reaches devices from an unprivileged account with the gateway's own identity.
# Access ends in time even while the worker is stopped.
. "$(dirname "$0")/../gateway_system_lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
cp "${CMX_BIN:-$ROOT/build/bin}/attest_board" "$BIN/" || fail "no attest_board"
make_key
make_flash $((4 << 20))
head -c $((0x80000)) "$TMP/firmware.bin" >"$TMP/app.bin"
cmx image manifest --end 0x3f0000 app.bin >"$TMP/manifest" || fail "manifest"
cmx identity public --key private_key.bin >"$TMP/device.pub" || fail "identity public"
start_board --keyfile private_key.bin

# One service sends a byte every 20 ms, the other is silent after its greeting.
cat >"$TMP/ticker.py" <<'PY'
import socket, sys, threading, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(64)
def talk(c):
    try:
        c.sendall(b"x")
        while sys.argv[2] == "ticks":
            time.sleep(0.02)
            c.sendall(b"x")
        c.recv(1)
    except OSError:
        pass
    c.close()
while True:
    threading.Thread(target=talk, args=(s.accept()[0],), daemon=True).start()
PY
# Prints two Unix times: when the last byte came, and when the connection ended.
cat >"$TMP/reader.py" <<'PY'
import socket, sys, time
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
c.settimeout(None)
last, said = 0, False
try:
    while True:
        if not c.recv(4096):
            break
        last = time.time()
        if not said:
            print("first", flush=True)
        said = True
except OSError:
    pass
print("%.3f %.3f" % (last, time.time()))
PY
TICKS=$(free_port); python3 "$TMP/ticker.py" "$TICKS" ticks & PIDS+=("$!")
IDLE=$(free_port); python3 "$TMP/ticker.py" "$IDLE" idle & PIDS+=("$!")
wait_for 10 listening "$TICKS" && wait_for 10 listening "$IDLE" || fail "no service"

system_gateway
key a
gw enroll cam-17 --key "$TMP/a.pub" --attest-key "$TMP/device.pub" --ports 81,82,8888 --group cameras >/dev/null || fail "enroll"
A=$(address_of cam-17)
serve_system
login() { client a -N -R "[$A]:81:127.0.0.1:$TICKS" -R "[$A]:82:127.0.0.1:$IDLE" -R "[$A]:8888:127.0.0.1:$BOARD_PORT" & DEVICE=$!; PIDS+=("$DEVICE"); wait_for 20 connected cam-17 || fail "no login"; }
login
# reader PORT NAME: starts a reader of the device's port as user 1234, and waits for the first byte.
reader() {
    as 1234 /usr/bin/python3 -c "$(cat "$TMP/reader.py")" "$A" "$1" >"$TMP/$2.out" 2>"$TMP/$2.err" & eval "$2=$!"; PIDS+=("$!")
    wait_for 10 grep -q first "$TMP/$2.out" || fail "no access: $(cat "$TMP/$2.err")"
}
ended() { ! kill -0 "$1" 2>/dev/null; }
# admitted: succeeds if a new connection of user 1234 to port 81 receives a byte.
admitted() { [ "$(as 1234 timeout 3 bash -c "exec 3<>/dev/tcp/$A/81 && head -c 1 <&3" 2>/dev/null)" = x ]; }
closed() { ! admitted; }

# A grant ends while one connection transfers data and another is idle.
gw grant user:1234 @cameras --for 30s >/dev/null || fail "grant"
DUE=$(gw grant --json | jq '.[0].ends')
admitted || fail "no access before the end of the grant"
reader 81 BUSY; reader 82 QUIET
wait_for 30 ended "$BUSY" && wait_for 20 ended "$QUIET" || fail "connections outlive their grant"
python3 - "$DUE" "$(tail -n 1 "$TMP/BUSY.out")" "$(tail -n 1 "$TMP/QUIET.out")" <<'PY' || fail "a connection did not end with its grant: $(cat "$TMP/BUSY.out" "$TMP/QUIET.out")"
import sys
due = float(sys.argv[1])
last = float(sys.argv[2].split()[0])
print("  grant: last byte %.2f s after the end; idle connection closed %.2f s after it" % (last - due, float(sys.argv[3].split()[1]) - due))
sys.exit(last < due - 1)
PY
closed || fail "access continues after the end of the grant"
gw log @cameras | grep -q "expire .*@cameras" || fail "no event"
ok "a grant ends, with its live connections"

# The rules are lost and can't be written again, because the disk is full. The former rules must not be loaded: they
# would permit the connections of a grant that has ended.
gw grant user:1234 @cameras --for 5s >/dev/null || fail "grant"
size=$(findmnt -no SIZE -b /var/lib)
mount -o remount,size=$(($(df --output=used -B1 /var/lib | tail -n 1) + 1048576)) /var/lib || fail "the disk can't be filled"
fill() { ! cat /dev/zero >>/var/lib/fill 2>/dev/null; } # the gateway may have freed some space since the last call
fill
nsenter --net=/run/netns/cmxsafe nft flush ruleset
full() { fill && gw status --json | json_is '.judge | contains("No space left")'; }
wait_for 15 full || fail "the full disk is not reported: $(gw status --json | jq .judge)"
sleep 5
for _ in $(seq 6); do
    closed || fail "with a full disk, a grant that has ended permits connections again"
    sleep 0.5
done
mount -o remount,size="$size" /var/lib && rm /var/lib/fill || fail "the disk stays full"
wait_for 15 judged || fail "the rules are not loaded again: $(gw status --json | jq .judge)"
ok "with a full disk, access that has ended stays closed"

# The policy requires evidence. The worker attests the device, and the grant takes effect. When the worker attests the device
# again and its flash has changed, the device is quarantined and live connections end, although the session stays up.
gw grant user:1234 @cameras >/dev/null || fail "grant"
gw policy set @cameras --manifest "$TMP/manifest" --max-age 60s --enforce yes >/dev/null || fail "policy set"
is() { [ "$(gw policy show --json | jq -r '.[0].standing')" = "$1" ]; }
wait_for 30 is trusted || fail "the device is not trusted: $(gw policy show) $(tail -5 "$TMP/gateway.log")"
WORKER=$(pgrep -o --nslist mnt --ns $$ -f "cmxsafe gateway worker --dir $GW") # the oldest process, because its children have the same command line
[ -n "$WORKER" ] || fail "no worker"
reader 81 BUSY; reader 82 QUIET
printf 'evil' | dd of="$TMP/flash.bin" bs=1 seek=$((0x20000)) conv=notrunc status=none
stop_board; ON_PORT=$BOARD_PORT start_board --keyfile private_key.bin # the device stays connected
wait_for 90 is QUARANTINED || fail "the device is not quarantined: $(gw policy show)"
[[ $(gw policy show --json | jq -r '.[0].reason') == "check 'region' failed"* ]] || fail "wrong reason: $(gw policy show)"
wait_for 30 ended "$BUSY" && wait_for 20 ended "$QUIET" || fail "connections outlive the verdict"
closed || fail "a quarantined device is reached"
connected cam-17 || fail "the session ended"
ok "a device with changed flash is quarantined, with its live connections"

# Without a worker no evidence is renewed: when it expires, access ends.
python3 - "$TMP/flash.bin" "$TMP/firmware.bin" <<'PY'
import sys
flash = bytearray(open(sys.argv[1], "rb").read()); good = open(sys.argv[2], "rb").read()
flash[0x10000:] = good
open(sys.argv[1], "wb").write(flash)
PY
stop_board; start_board --keyfile private_key.bin
stop "$DEVICE"; wait_for 20 gone cam-17; login
wait_for 40 is trusted || fail "the device is not trusted after the repair: $(gw policy show)"
reader 81 BUSY
pause "$WORKER" || fail "the worker can't be stopped"
sql "$GW/registry.db" "UPDATE evidence SET ends = ends - 50, boot_ends = boot_ends - 50" || fail "sqlite3"
wait_for 40 ended "$BUSY" || fail "access continues without a worker"
is QUARANTINED || fail "the device is not quarantined: $(gw policy show)"
kill -CONT "$WORKER"
wait_for 60 is trusted || fail "the device is not trusted again"
ok "without the worker, access ends with the evidence"

# In a campaign the worker's unprivileged child updates a board, with the gateway's identity and without a grant.
BOARD=${CMX_BIN:-$ROOT/build/bin}/cmxsafe-board
"$BOARD" create "$TMP/b1" >/dev/null && "$BOARD" image --version 2.0.0 "$TMP/v2.bin" >/dev/null || fail "board"
key b
gw enroll b1 --key "$TMP/b.pub" --ports 81,8888,8989 >/dev/null || fail "enroll"
"$BOARD" run "$TMP/b1" --gateway "127.0.0.1:$GW_PORT" --set gateway.user=cmxsafe-gw --set "gateway.host_key=$(grep -oE 'SHA256:[A-Za-z0-9+/]{43}' "$TMP/init.out" | head -n 1)" \
    --set "gateway.key_file=$TMP/b" --set "gateway.remote_address=$(address_of b1)" --set "board.port_offset=$(free_offset)" --set ota.confirm_s=60 2>>"$TMP/b1.log" & PIDS+=("$!")
wait_for 60 connected b1 || fail "the board does not log in"
gw campaign start may b1 --image "$TMP/v2.bin" >/dev/null || fail "campaign start"
[ "$(stat -c '%a %G' "$GW/store")" = '750 nogroup' ] || fail "the store: $(stat -c '%a %G' "$GW/store")"
over() { [ "$(gw campaign show may --json | jq -r '"\(.state) \(.done)"')" = "done 1" ]; }
wait_for 180 over || fail "the campaign: $(gw campaign show may) $(tail -5 "$TMP/gateway.log")"
gw campaign show may | grep -q 'version 2.0.0 is running' || fail "wrong outcome: $(gw campaign show may)"
ok "a campaign through the judge"

# The child that updates a device may use the gateway's identity. Processes of local users can't trace it. It has no access to the
# output of another device's child, and is confined, because it could trace the other one, which has the same user. These devices accept connections and never answer.
HANG=$(free_port)
python3 -c 'import socket, sys
s = socket.socket(); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(64)
held = []
while True: held.append(s.accept())' "$HANG" & PIDS+=("$!")
wait_for 10 listening "$HANG" || fail "no service"
for d in h1 h2; do
    key $d
    gw enroll $d --key "$TMP/$d.pub" --ports 8989 --group hangs >/dev/null || fail "enroll"
    client $d -N -R "[$(address_of $d)]:8989:127.0.0.1:$HANG" & PIDS+=("$!")
    wait_for 20 connected $d || fail "$d does not log in"
done
gw campaign start june --group hangs --parallel 2 --first 0 --image "$TMP/v2.bin" >/dev/null || fail "campaign start"
updaters() { pgrep -P "$WORKER" -f ' --look ' | paste -sd ' '; }
two() { [ "$(updaters | wc -w)" = 2 ]; }
wait_for 30 two || fail "no two updates: $(gw campaign show june)"
read -r FIRST SECOND < <(updaters)
for p in $FIRST $SECOND; do
    [ "$(stat -c %U "/proc/$p")" != root ] || fail "the child that updates a device runs as root"
    ! as 65534 cat "/proc/$p/environ" >/dev/null 2>&1 || fail "a process of the user 65534 may trace the child that updates a device"
    ! gw status --json | json_is .confined || grep -qx "Seccomp:.2" "/proc/$p/status" || fail "the child that updates a device is not confined"
done
outputs() { readlink "/proc/$1/fd/1" "/proc/$1/fd/2"; }
held() { find "/proc/$1/fd" -type l -printf '%l\n'; }
[ "$(outputs "$FIRST" | wc -l)" = 2 ] && [ -n "$(held "$SECOND")" ] || fail "the children's files can't be read"
! held "$SECOND" | grep -Fxf <(outputs "$FIRST") && ! held "$FIRST" | grep -Fxf <(outputs "$SECOND") || fail "a child has the output of another device's child"
gw campaign stop june >/dev/null || fail "campaign stop"
ok "the worker's child processes that update devices are protected from each other and from local users"
stop "$GW_PID"
wait_for 10 ended "$WORKER" || fail "the worker outlives the gateway"
no_complaints
