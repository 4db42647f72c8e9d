#!/usr/bin/env bash
# The registry of a running gateway is lost. After a minute no grant is in force, all sessions have ended, and the log
# gives the reason. Once the registry is back, devices and users connect again by themselves. Grants also end if the
# registry can be opened, but the rules can't be rendered from it or written to the disk.
. "$(dirname "$0")/../gateway_system_lib.sh"
system_gateway
key a
web one
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null && gw grant user:1234 cam-17 >/dev/null || fail "set-up"
A=$(address_of cam-17)
serve_system
keep_client a -N -R "[$A]:81:127.0.0.1:$WEB"
wait_for 20 connected cam-17 || fail "cam-17 does not connect"
wait_for 10 gets 1234 http://cam-17.cmx:81/ one || fail "a user with a grant does not reach the device"
# A connection that the user opened before the registry was lost.
mkfifo "$TMP/hold"
holds() { ss -Htn state established dst "[$A]:81" | grep -q .; }
# hold: opens an idle connection of the user.
hold() {
    as 1234 nc "$A" 81 <"$TMP/hold" >/dev/null 2>&1 & PIDS+=("$!")
    exec 7>"$TMP/hold"
    wait_for 10 holds || fail "the user's connection does not open"
}
hold
grants() { nsenter --net=/run/netns/cmxsafe nft list set inet cmxsafe grants | grep -c " \. .* \. 81"; }
equal "$(grants)" 1 || fail "the rules have no grant"

mv "$GW/registry.db" "$TMP/away.db" || fail "mv"
wait_for 20 logged "the sessions can't be checked against the registry" || fail "the loss is not logged"
wait_for 120 logged "its rights could not be read from the registry for a minute" || fail "the session remains without a registry"
none_in_force() { [ "$(grants)" = 0 ]; }
wait_for 120 none_in_force || fail "the grant remains in force without a registry"
ended() { ! holds; }
wait_for 30 ended || fail "the user's connection remains"
denied 1234 "http://[$A]:81/" || fail "a user has access without a registry"
wait_for 10 logged "no grant is in force, because the registry could not be read or applied for a minute" || fail "the reason is not logged"
ok "without a registry for a minute, sessions and grants end"

mv "$TMP/away.db" "$GW/registry.db" || fail "mv"
wait_for 30 connected cam-17 || fail "cam-17 does not connect again"
wait_for 30 gets 1234 http://cam-17.cmx:81/ one || fail "the grant does not apply again"
wait_for 20 judged || fail "status reports trouble after the repair"
ok "when the registry can be read again, users have access again"

# A grant is removed from the registry, but not from the rules: the registry can be opened, but lacks a value that the
# rules need. After a minute no grant is in force.
hold
LINK=$(sql "$GW/registry.db" "SELECT value FROM meta WHERE key = 'link'")
[ -n "$LINK" ] && sql "$GW/registry.db" "DELETE FROM meta WHERE key = 'link'" || fail "the link's addresses"
! gw grant --remove user:1234 cam-17 2>"$TMP/remove.err" && grep -q "applying it failed" "$TMP/remove.err" || fail "grant --remove: $(cat "$TMP/remove.err")"
equal "$(grants)" 1 || fail "the rules do not have the removed grant, so the check below proves nothing"
wait_for 120 none_in_force || fail "a removed grant remains in force, because the rules can't be rendered"
wait_for 10 ended || fail "the user's idle connection remains"
connected cam-17 || fail "the session ended, so the check above proves nothing"
wait_for 10 logged "no grant is in force, .* for a minute: the registry lacks the link's addresses" || fail "the reason is not logged"
ok "if a change can't come into force for a minute, grants end"

sql "$GW/registry.db" "INSERT INTO meta(key, value) VALUES('link', '$LINK')" || fail "the link's addresses"
wait_for 20 judged || fail "status reports trouble after the repair"
denied 1234 "http://[$A]:81/" || fail "the grant was not removed"
gw grant user:1234 cam-17 >/dev/null && gets 1234 http://cam-17.cmx:81/ one || fail "no access with a new grant"
ok "once the change is in force, users have access again"

# The rules can't be written, as on a full disk. The guard must write them, because a group of this machine has changed.
# After a minute no grant is in force. A command that removes a grant fails as well.
hold
touch "$TMP/rules" && mount --bind "$TMP/rules" "$GW/fleet.nft" || fail "can't mount a file in place of the rules"
CLEANUP+=("umount '$GW/fleet.nft' 2>/dev/null")
equal "$(grants)" 1 || fail "the rules have no grant, so the check below proves nothing"
echo 'unread:x:4790:' >>/etc/group || fail "no private /etc"
wait_for 120 none_in_force || fail "a grant remains in force, because the rules can't be written"
wait_for 10 ended || fail "the user's idle connection remains"
! gw grant --remove user:1234 cam-17 2>"$TMP/remove.err" && grep -q "applying it failed" "$TMP/remove.err" || fail "grant --remove: $(cat "$TMP/remove.err")"
umount "$GW/fleet.nft" || fail "umount"
wait_for 20 judged || fail "status reports trouble after the repair"
denied 1234 "http://[$A]:81/" || fail "the grant was not removed"
gw grant user:1234 cam-17 >/dev/null && gets 1234 http://cam-17.cmx:81/ one || fail "no access with a new grant"
ok "if the rules can't be written for a minute, grants end"
stop_gateway

# A small deployment, which runs without root: a command is killed while it writes to the registry. The gateway can't finish
# the write, so after a minute it ends, and its unit repairs the registry and starts it again.
export CMXSAFE_GATEWAY=/var/lib/simple
GW=$CMXSAFE_GATEWAY
gw init --simple --listen "[::]:$GW_PORT" --host 127.0.0.1 >/dev/null && grep -q '^ExecStartPre=+.* gateway net heal ' "$CMXSAFE_UNIT_DIR/cmxsafe-gateway.service" || fail "init --simple"
gw enroll cam-17 --key "$TMP/a.pub" --ports 8081 >/dev/null || fail "enroll"
(while :; do "$BIN/cmxsafe" gateway net heal && "$BIN/cmxsafe" gateway serve; sleep 1; done) 2>>"$TMP/gateway.log" & PIDS+=("$!")
wait_for 20 connected cam-17 || fail "cam-17 does not connect to the small deployment"
cat >"$TMP/killed.py" <<'PY'
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=20)
db.execute("PRAGMA cache_size = 1")
db.execute("CREATE TABLE half(text)")
for _ in range(1000):
    db.execute("INSERT INTO half VALUES(?)", ("x" * 1000,))
os.kill(os.getpid(), 9)
PY
python3 "$TMP/killed.py" "$GW/registry.db"
[ -s "$GW/registry.db-journal" ] || fail "the write was not interrupted"
# No command of root must run meanwhile, because it would repair the registry.
wait_for 40 logged "the sessions can't be checked against the registry: a write to the registry was interrupted" || fail "the interrupted write is not noticed"
wait_for 120 logged "stopping the gateway: a write to the registry was interrupted" || fail "the gateway waits for a command of root"
repaired() { [ ! -e "$GW/registry.db-journal" ]; }
wait_for 20 repaired && wait_for 30 connected cam-17 || fail "the device does not connect again"
ok "a small deployment recovers from an interrupted write by itself"
