#!/usr/bin/env bash
# Tests grants to groups, and grants with an end and a reason. A grant with an end expires by itself: during a transfer,
# while the gateway is stopped, and after a clock jump.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

start_gateway
key a; key b; key p
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 --group cameras >/dev/null || fail "enroll"
A=$(address_of cam-17)
web one
client a -N -R "[$A]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 connected cam-17 || fail "no login"
[ "$(id -u)" = 0 ] && WHO=user:0 || WHO=user:$(id -un)
reaches() { answers "http://[$A]:81/" one; }
reaches_not() { ! reaches; }
left() { gw grant --json | jq ".[] | select(.consumer == \"$WHO\") | .left"; }

# A grant with an invalid end, or a break-glass grant without a reason, is refused.
refused() { local status=0; gw grant "$WHO" cam-17:81 "$@" >/dev/null 2>"$TMP/err" || status=$?; [ "$status" = "$EXPECT" ] || fail "exit $status: $*"; }
EXPECT=1 refused --for 8x; grep -q "give one such as 90s" "$TMP/err" || fail "wrong message: $(cat "$TMP/err")"
EXPECT=1 refused --until 2020-01-01; grep -q "must end in the future" "$TMP/err" || fail "wrong message: $(cat "$TMP/err")"
EXPECT=1 refused --break-glass --for 1h; grep -q "needs an end and a reason" "$TMP/err" || fail "wrong message: $(cat "$TMP/err")"
EXPECT=2 refused --for 1h --until 2099-01-01
reaches_not || fail "a refused grant has an effect"

# A grant to a group applies to the devices in the group, and to a device that joins the group later.
gw grant "$WHO" @cameras:81 --for 8h --why "camera check" >/dev/null || fail "grant to a group"
wait_for 10 reaches || fail "a grant to a group has no effect"
gw grant | grep -q "@cameras:81 .*\(7h 59m\|8h 0m\) left  # camera check" || fail "wrong list: $(gw grant)"
gw log @cameras | grep -q "grant .*@cameras:81 until .* because camera check" || fail "no reason in the audit trail: $(gw log)"
gw enroll cam-17 --key "$TMP/a.pub" --group yard >/dev/null && reaches_not || fail "the device left the group, and is reached"
gw enroll cam-17 --key "$TMP/a.pub" --group cameras >/dev/null && reaches || fail "a device that is in the group again is not reached"
gw grant --remove "$WHO" @cameras:81 >/dev/null && reaches_not || fail "the group's grant was not removed"
gw grant "$WHO" @nobody:81 2>&1 >/dev/null | grep -q "no device is in the group 'nobody' yet" || fail "no note about an empty group"
gw grant --remove "$WHO" @nobody:81 >/dev/null
ok "a grant to a group, with a reason"

# Another end replaces the former one, also under another spelling of the same account, and the command prints it. A grant
# that lasts longer and covers the same service is named.
says() { local expect=$1; shift; gw grant "$@" >"$TMP/out" 2>&1; equal "$expect" "$(cat "$TMP/out")" || fail "grant $*: $(cat "$TMP/out")"; }
ends() { gw grant --json | jq -r '[.[] | .consumer + " " + .device + ":" + (.port | tostring) + " " + (.ends | if . == 0 then "-" else todate end)] | join(", ")'; }
Y=$(($(date +%Y) + 1))
says "user:1 may reach cam-17:81 until $Y-02-01 10:00:00Z (changed)" user:1 cam-17:81 --until "$Y-02-01 10:00"
says "user:1 may reach cam-17:81 until $Y-02-01 10:00:00Z (unchanged)" user:1 cam-17:81 --until "$Y-02-01 10:00"
says "user:1 may reach cam-17:81 until $Y-01-01 10:00:00Z (changed)" user:1 cam-17:81 --until "$Y-01-01 10:00"
equal "user:1 cam-17:81 $Y-01-01T10:00:00Z" "$(ends)" || fail "the grant does not end at the earlier time: $(ends)"
says "user:1 may reach cam-17:81 (changed)" user:1 cam-17:81
ONE=user:$(id -un 1)
says "$ONE may reach cam-17:81 until $Y-01-01 10:00:00Z (changed)" "$ONE" cam-17:81 --until "$Y-01-01 10:00"
equal "$ONE cam-17:81 $Y-01-01T10:00:00Z" "$(ends)" || fail "the grant to the account's number lasts longer: $(ends)"
says "$ONE may reach @cameras:81 (changed)" "$ONE" @cameras:81
says "cmxsafe: note: user:1 still has a grant to @cameras:81, which covers the same service
user:1 may reach cam-17:81 for 1h 0m (changed)" user:1 cam-17:81 --for 1h
gw grant --remove "$ONE" @cameras:81 >/dev/null 2>&1 && gw grant "$ONE" @cameras >/dev/null || fail "grant"
gw grant user:1 @cameras --for 1h 2>&1 | grep -q "note: user:1 still has a grant to @cameras, which" || fail "no note about the other spelling"
gw grant user:1 @cameras:81 --for 1h 2>&1 | grep -q "note: user:1 still has a grant to @cameras, which" || fail "no note about a grant to all ports"
gw grant --remove "$ONE" @cameras >/dev/null 2>&1 || fail "grant --remove"
gw grant --remove user:1 cam-17:81 >/dev/null 2>&1 && [ "$(gw grant --json | jq -c .)" = "[]" ] || fail "grants are left: $(ends)"
ok "a new end replaces the former one"

# A grant ends by itself.
gw grant "$WHO" cam-17:81 --for 20s >/dev/null && reaches || fail "a short grant does not let the user reach the device"
wait_for 30 reaches_not || fail "the grant did not end"
wait_for 10 logged "1 grant or verdict ended" || fail "the end is not logged"
[ -z "$(left)" ] || fail "the grant is still listed"
gw log CAM-17 | grep -q "expire .*cam-17:81" || fail "no end in the audit trail: $(gw log cam-17)"
ok "a grant ends by itself"

# A grant also ends while another process keeps the registry from being changed. A compromised sshd could do that: it
# runs under the gateway's account, which may read the file, and a reader can lock it.
gw grant "$WHO" cam-17:81 --for 15s >/dev/null && reaches || fail "a short grant does not let the user reach the device"
python3 -c '
import sqlite3, sys, time
db = sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True, isolation_level=None, timeout=20)
db.execute("BEGIN"); db.execute("SELECT count(*) FROM device").fetchone()
print("locked", flush=True)
time.sleep(120)' "$GW/registry.db" >"$TMP/locked" & LOCKER=$!; PIDS+=("$LOCKER")
wait_for 10 grep -q locked "$TMP/locked" || fail "the registry is not locked"
refused_now() { local rc=0; inside curl -s -m 3 "http://[$A]:81/" >/dev/null 2>&1 || rc=$?; [ $rc = 7 ]; } # not a failure of the command
wait_for 40 refused_now || fail "the grant did not end while the registry was locked"
listed() { [ -n "$(left)" ]; }
wait_for 10 listed && kill -0 "$LOCKER" || fail "the registry was not locked"
kill "$LOCKER"
ended() { [ -z "$(left)" ]; }
wait_for 20 ended || fail "the grant is still listed"
ok "a grant ends even if the registry can't be changed"

# A command is killed after it has stored a change and before the change is in force. The running gateway applies it.
gw grant "$WHO" cam-17:81 >/dev/null && reaches || fail "grant"
mkdir "$TMP/hang" && printf '#!/bin/sh\nexec sleep 1000\n' >"$TMP/hang/nft" && chmod 755 "$TMP/hang" "$TMP/hang/nft" || fail "can't make an nft that hangs"
PATH=$TMP/hang:$PATH "$BIN/cmxsafe" gateway grant --remove "$WHO" cam-17:81 >/dev/null & KILLED=$!
hangs() { [ -z "$(left)" ] && HANGING=$(pgrep -P "$KILLED" -x sleep); }
wait_for 20 hangs || fail "the command does not hang"
reaches || fail "the change is in force already"
kill -9 "$KILLED" "$HANGING"
wait_for 10 reaches_not || fail "a change by a killed command is never applied"
gw grant "$WHO" cam-17:81 >/dev/null && reaches && gw grant --remove "$WHO" cam-17:81 >/dev/null && reaches_not || fail "grant or grant --remove has no effect after a killed command"
gw grant "$WHO" cam-17:81 >/dev/null && reaches && printf '#!/bin/sh\nexit 1\n' >"$TMP/hang/nft" || fail "grant"
! PATH=$TMP/hang:$PATH gw grant --remove "$WHO" cam-17:81 >/dev/null 2>&1 || fail "a change that is not applied is not reported"
wait_for 10 reaches_not || fail "a change that a command could not apply is never applied"
ok "if a command is killed or fails before its change is in force, the gateway applies the change"

# A platform's session loses access to the service during a transfer.
gw platform vms --key "$TMP/p.pub" >/dev/null && gw grant vms cam-17:81 --for 20s >/dev/null || fail "platform"
PORT=$(free_port)
client p -N -L "127.0.0.1:$PORT:[$A]:81" & P=$!; PIDS+=("$P")
wait_for 10 listening "$PORT" || fail "the platform can't log in"
exec 8<>"/dev/tcp/127.0.0.1/$PORT"
read_end() { ! kill -0 "$CAT" 2>/dev/null; }
cat <&8 >/dev/null & CAT=$!; PIDS+=("$CAT")
wait_for 30 read_end || fail "the platform's connection outlives its grant"
exec 8>&-
! curl -s -m 3 "http://127.0.0.1:$PORT/" >/dev/null || fail "the platform reaches the service after its grant"
refused_open p -W "[$A]:81" || fail "the platform opens a connection after its grant"
ok "a live connection ends with its grant"

# A grant ends while the gateway is stopped.
gw grant "$WHO" cam-17:81 --for 12s >/dev/null || fail "grant"
stop_gateway
grep -q "$A . 81" "$GW/fleet.nft" || fail "the rules had no grant"
sleep 12.5
serve_gateway
client a -N -R "[$A]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 connected cam-17 || fail "no login after the restart"
lacks "$A . 81" "$GW/fleet.nft" && reaches_not || fail "a grant came back with the gateway"
ok "a grant that ended while the gateway was stopped stays closed"

# A grant survives a restart, but ends when the clock is set forward past its end. The scenario moves the registry's
# times instead of this machine's clock.
gw grant "$WHO" cam-17:81 --for 1h >/dev/null || fail "grant"
stop_gateway; serve_gateway
client a -N -R "[$A]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 connected cam-17 && wait_for 10 reaches || fail "the grant was lost with a restart"
sql "$GW/registry.db" "UPDATE grants SET given = given - 3600, ends = ends - 3600" || fail "sqlite3"
wait_for 20 reaches_not || fail "a clock that was set forward keeps the grant open"
# The clock is set back by a day without a reboot: the grant still ends after its duration.
gw grant "$WHO" cam-17:81 --for 20s >/dev/null || fail "grant"
sql "$GW/registry.db" "UPDATE grants SET given = given + 86400, ends = ends + 86400" || fail "sqlite3"
reaches || fail "the grant ended too early"
wait_for 30 reaches_not || fail "a clock that was set back extends the grant"
ok "clock jumps extend no grant"
stop_gateway
