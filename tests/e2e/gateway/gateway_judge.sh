#!/usr/bin/env bash
# A single set in the packet filter decides which parties have access. The scenario removes, one by one, every part of the rules
# that could be lost, while a user without a grant keeps trying: the user never receives a byte, and the gateway
# notices, repairs and reports each loss. Removing a grant resets live connections, busy or idle, but a platform's
# session continues.
. "$(dirname "$0")/../gateway_system_lib.sh"
system_gateway
for k in a b p; do key $k; done
web one
gw enroll cam-17 --key "$TMP/a.pub" --ports 81,8080,9000 >/dev/null && gw enroll cam-18 --key "$TMP/b.pub" --ports 81 >/dev/null || fail "enroll"
gw platform vms --key "$TMP/p.pub" >/dev/null && gw grant vms cam-17:81 >/dev/null && gw grant vms cam-17:9000 >/dev/null && gw grant user:1234 cam-17 >/dev/null || fail "grant"
A=$(address_of cam-17)
# This service answers each line, so that a live connection is seen to carry data in both directions.
cat >"$TMP/echo.py" <<'PY'
import socketserver, sys
class H(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class S(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
S(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
PY
ECHO=$(free_port)
python3 "$TMP/echo.py" "$ECHO" 2>/dev/null & PIDS+=("$!")
wait_for 10 listening "$ECHO" || fail "no echo service"
# Records every `ip` command that the gateway runs, one per line.
mkdir "$TMP/path" && printf '#!/bin/sh\necho "$*" >>"%s"\nexec %s "$@"\n' "$TMP/ip.log" "$(command -v ip)" >"$TMP/path/ip" && chmod 755 "$TMP/path/ip" || fail "ip"
# Starts the gateway again whenever it has ended, as a service manager does.
(
    PATH=$TMP/path:$PATH
    trap 'kill "$s" 2>/dev/null; wait "$s"; exit' TERM
    while :; do
        "$BIN/cmxsafe" gateway net up >/dev/null 2>&1
        "$BIN/cmxsafe" gateway serve & s=$!
        wait "$s"
        sleep 0.2
    done
) 2>>"$TMP/gateway.log" & GW_PID=$!; PIDS+=("$GW_PID")
wait_for 20 gw status || fail "the gateway does not come up"
keep_client a -N -R "[$A]:81:127.0.0.1:$WEB" -R "[$A]:8080:127.0.0.1:$WEB" -R "[$A]:9000:127.0.0.1:$ECHO"
wait_for 20 connected cam-17 || fail "cam-17 does not connect"
wait_for 10 gets 1234 http://cam-17.cmx:81/ one || fail "a user with a grant does not reach the device"
# The guard counts a repair only after its first check.
wait_for 20 judged || fail "the gateway does not report its rules as checked: $(gw status --json | jq .judge)"

# ---- removals ----
# Two clients that must never get a byte: a user without a grant, on the host and in the fleet's namespace.
cat >"$TMP/try.sh" <<'TRY'
while :; do
    setpriv --reuid 1235 --regid 1235 --clear-groups curl -s -m 1 "http://[$1]:81/" >>"$2" 2>/dev/null
    nsenter --net=/run/netns/cmxsafe setpriv --reuid 1235 --regid 1235 --clear-groups curl -s -m 1 "http://[$1]:81/" >>"$2" 2>/dev/null
done
TRY
: >"$TMP/got"
bash "$TMP/try.sh" "$A" "$TMP/got" & TRY=$!; PIDS+=("$TRY")
closed() { [ ! -s "$TMP/got" ] || fail "a user without a grant got $(wc -c <"$TMP/got") bytes: $1"; }
inside_ns() { nsenter --net=/run/netns/cmxsafe "$@"; }
repaired() { gw status --json | json_is '.judge == "" and .counters.judge_repairs > $n' --argjson n "$1"; }
works() { connected cam-17 && gets 1234 http://cam-17.cmx:81/ one; }
# lose NAME COMMAND...: removes something with COMMAND, and expects that the gateway notices and repairs the loss. The
# repair takes less than 2 s on an idle machine. The limit is a minute, for a loaded machine; CMX_REPAIR_MS=2000 sets
# the limit to 2 s.
slowest=0
lose() {
    local name=$1 before start took
    shift
    before=$(gw status --json | jq .counters.judge_repairs)
    start=$(date +%s%3N)
    "$@" || fail "$name: the command failed"
    wait_for 15 repaired "$before" || fail "$name: not noticed: $(gw status --json | jq -c '[.judge, .counters.judge_repairs]')"
    took=$(($(date +%s%3N) - start))
    echo "$name: repaired after $took ms"
    [ "$took" -le "$slowest" ] || slowest=$took
    wait_for 15 works || fail "$name: what was granted does not work again"
    closed "$name"
}
lose "the host's rules are flushed" nft flush ruleset
lose "the host's rules are flushed after the registry was written" bash -c "touch '$GW/registry.db' && nft flush ruleset"
lose "the host's table is deleted" nft delete table inet cmxsafe_host
lose "a chain of the host is deleted" nft delete chain inet cmxsafe_host postrouting
lose "a chain of the host is flushed" nft flush chain inet cmxsafe_host output
lose "the fleet's rules are flushed" inside_ns nft flush ruleset
lose "the fleet's table is deleted" inside_ns nft delete table inet cmxsafe
lose "the judge is flushed" inside_ns nft flush chain inet cmxsafe judge
lose "the output chain is deleted" inside_ns nft delete chain inet cmxsafe output
lose "the prerouting chain is deleted" inside_ns nft delete chain inet cmxsafe prerouting
lose "a rule that accepts all is inserted into the output chain" inside_ns nft insert rule inet cmxsafe output accept
lose "a rule that accepts all is inserted into the prerouting chain" inside_ns nft insert rule inet cmxsafe prerouting accept
lose "the set is emptied" inside_ns nft flush set inet cmxsafe grants
lose "the host's route is deleted" ip -6 route del "$FLEET"
lose "the host's routing rule is deleted" ip -6 rule del pref 1129
lose "the link is down" ip link set cmxsafe0 down
lose "the link's address is deleted" ip -6 address flush dev cmxsafe0 scope global
lose "the link is deleted" ip link del cmxsafe0
lose "the link's address in the namespace is deleted" inside_ns ip -6 address flush dev cmxsafe1 scope global
lose "the fleet's routing rule is deleted" inside_ns ip -6 rule del pref 1129
lose "the rule for packets to local users is deleted" inside_ns ip -6 rule del pref 1130
lose "the route to local users is deleted" inside_ns ip -6 route del "$FLEET" table 1129143
lose "the route for marked packets is deleted" inside_ns ip -6 route del local "$FLEET" dev lo table 1129142
lose "the route for packets without the mark is deleted" inside_ns ip -6 route del "$FLEET" dev nowhere
lose "one end of the link is renamed" bash -c 'ip link set cmxsafe0 down && ip link set cmxsafe0 name other && ip link set other up'
lose "the other end of the link is moved to the host" inside_ns ip link set cmxsafe1 netns $$
lose "the link's MTU is too small for IPv6" ip link set cmxsafe0 mtu 1000
lose "the link has no neighbour discovery" ip link set cmxsafe0 arp off
lose "the interface for all others is renamed" inside_ns bash -c 'ip link set nowhere down && ip link set nowhere name other'
for s in ipv4.ip_unprivileged_port_start=1024 ipv6.fwmark_reflect=0 ipv6.ip_nonlocal_bind=0 ipv6.conf.all.disable_ipv6=1; do
    lose "the namespace's sysctl is set: $s" inside_ns sysctl -q -w "net.$s"
done

# If an account is renamed just after a grant, the guard loads other rules than the command did. This does not count
# as a repair, because no other program changed the rules.
tables() { grep -c "repaired: the packet filter's table" "$TMP/gateway.log"; }
repairs=$(tables)
echo 'guest:x:1299:1299::/:/bin/sh' >>/etc/passwd
wait_for 15 judged && GUARD=$(pgrep -P "$GW_PID" -x cmxsafe) && pause "$GUARD" || fail "the guard is not paused"
CLEANUP+=("kill -CONT $GUARD 2>/dev/null")
gw grant user:guest cam-17:81 >/dev/null 2>"$TMP/guest.err" || fail "grant: $(cat "$TMP/guest.err")"
guest_reaches() { nft list table inet cmxsafe_host | grep -qF "$1"; }
GUEST=$(identity user:guest)
guest_reaches "$GUEST" || fail "the grant is not in force"
sed -i 's/^guest:/visitor:/' /etc/passwd
kill -CONT "$GUARD"
guest_gone() { ! guest_reaches "$GUEST"; }
wait_for 15 guest_gone || fail "a user who no longer exists has a grant in force"
lose "the host's routing rule is deleted again" ip -6 rule del pref 1129 # the guard reports this repair last
equal "$repairs" "$(tables)" || fail "a change of the accounts counts as a repair"
gw grant --remove user:guest cam-17:81 >/dev/null && sed -i '/^visitor:/d' /etc/passwd || fail "clean up"
ok "an account that is renamed after a grant"
# An upgrade of the package replaces the file of the running program.
cp "$BIN/cmxsafe" "$BIN/cmxsafe.new" && mv "$BIN/cmxsafe.new" "$BIN/cmxsafe" || fail "the program cannot be replaced"
lose "the link is deleted after an upgrade" ip link del cmxsafe0
grep -q 'rule add pref 1129 ' "$TMP/ip.log" && lacks -Eq '(rule|route|address) show' "$TMP/ip.log" || fail "the guard starts programs to look at the network: $(sort "$TMP/ip.log" | uniq -c)"
# Routes and routing rules that somebody adds have no effect, because the packets lack the judge's mark. The gateway
# leaves them in place, and they do not count as repairs.
repairs=$(gw status --json | jq .counters.judge_repairs)
inside_ns ip -6 rule add pref 7 fwmark 7 lookup 1129142 || fail "another routing rule"
added() { logged "routing rules were changed, and the additions remain"; }
wait_for 15 added || fail "another routing rule is not noticed"
for _ in 1 2 3; do
    gw status --json | json_is '.judge | contains("additions remain")' || fail "status no longer reports another routing rule"
    sleep 1
done
equal "$(gw status --json | jq .counters.judge_repairs)" "$repairs" || fail "a rule that stays counts as a repair"
inside_ns ip -6 rule del pref 7 || fail "the routing rule can't be removed"
wait_for 15 logged "the fleet's network is as configured again" || fail "the log does not say that the network is as configured again"
echo "slowest repair: $slowest ms; the aim is 2000 ms"
[ "$slowest" -le "${CMX_REPAIR_MS:-60000}" ] || fail "the slowest repair took $slowest ms"
ok "whatever is removed, no connection is allowed that was denied before, and the gateway repairs the rules and the network"

# While the server hangs, the guard still restores the rules.
server=$(server_pid)
pause "$server" || fail "the server cannot be stopped"
CLEANUP+=("kill -CONT $server 2>/dev/null")
sleep 3 # until the guard has reported to the server
inside_ns nft flush ruleset
restored() { inside_ns nft list chain inet cmxsafe judge 2>/dev/null | grep -q @grants; }
wait_for 20 restored || fail "while the server hangs, the rules are not restored"
kill -CONT "$server"
wait_for 15 works || fail "after the server continued, what was granted does not work"
closed "the server hung"
ok "the guard works while the server hangs"

# After faults that cannot be repaired in place, the gateway ends its sessions and starts again. bounded NAME START:
# prints how many milliseconds after START, the time of the fault NAME, the gateway is back. Fails if the limit is
# exceeded.
bounded() {
    local took=$(($(date +%s%3N) - $2))
    echo "$1: the new server runs after $took ms"
    [ "$took" -le "${CMX_REPAIR_MS:-60000}" ] || fail "$1: the new server runs only after $took ms"
}
restarted() { local p; p=$(server_pid 2>/dev/null) && [ -n "$p" ] && [ "$p" != "$1" ]; }
p=$(server_pid)
start=$(date +%s%3N)
kill -KILL "$p"
wait_for 20 restarted "$p" || fail "the gateway is not back after SIGKILL"
bounded "the server is killed" "$start"
wait_for 20 works || fail "does not work after SIGKILL"
closed "the server is killed"
p=$(server_pid)
start=$(date +%s%3N)
# The lock keeps the 'net up' of the loop above from creating the namespace first.
flock "$GW/apply.lock" sh -c 'ip netns del cmxsafe && ip netns add cmxsafe' || fail "the namespace can't be replaced"
wait_for 20 restarted "$p" || fail "the gateway is not back after the namespace was replaced"
bounded "the namespace is replaced" "$start"
wait_for 30 works || fail "does not work after the namespace was replaced"
logged "the network namespace cmxsafe was replaced" || fail "the log does not say that the namespace was replaced"
closed "the namespace is replaced"
if command -v bpftool >/dev/null; then
    p=$(server_pid)
    # Detaches only this gateway's BPF links, because other gateways may run on this machine.
    sessions=$(stat -c %i "$CGROUP/cmxsafe-gateway/sessions") || fail "no control group of the sessions"
    links=$(bpftool link show -j | jq --argjson c "$sessions" '.[] | select(.type == "cgroup" and .cgroup_id == $c) | .id')
    [ "$(wc -w <<<"$links")" -ge 8 ] || fail "attached to the sessions' control group: ${links:-nothing}"
    start=$(date +%s%3N)
    # The gateway stops when the first program is detached, and then removes the other programs itself. Links may
    # therefore be gone before this loop reaches them.
    for id in $links; do bpftool link detach id "$id" || prints_no "^$id: " bpftool link show || fail "link $id can't be detached"; done
    wait_for 20 restarted "$p" || fail "the gateway is not back after the programs were detached"
    bounded "the programs are detached" "$start"
    wait_for 30 works || fail "does not work after the programs were detached"
    logged "an identity program was detached" || fail "the log does not say that a program was detached"
    closed "the programs are detached"
else
    skip_part "detached programs: no bpftool"
fi
kill "$TRY"
ok "after the server is killed, the namespace replaced or the programs detached, access is denied until the gateway is back"

# ---- grants that end ----
cat >"$TMP/live.py" <<'PY'
# live.py ADDRESS PORT busy|idle: connects, exchanges a line and prints "up". At the end of the connection it prints how
# and when the connection ended.
import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
f = s.makefile("rwb", buffering=0)
f.write(b"hello\n")
assert f.readline() == b"hello\n"
print("up", flush=True)
s.settimeout(20)
try:
    while True:
        if sys.argv[3] == "busy":
            f.write(b"more\n")
        line = f.readline()
        if not line:
            print("end", int(time.time() * 1000), flush=True)
            break
        time.sleep(0.02)
except ConnectionResetError:
    print("reset", int(time.time() * 1000), flush=True)
except OSError as e:
    print("error", e, flush=True)
PY
chmod 644 "$TMP/live.py"
[ -x /usr/bin/python3 ] || skip "no /usr/bin/python3, which every user may run"
worst=0
for kind in busy idle busy idle; do
    rm -f "$TMP/live.out"
    as 1234 /usr/bin/python3 "$TMP/live.py" "$A" 9000 "$kind" >"$TMP/live.out" & L=$!; PIDS+=("$L")
    wait_for 10 grep -q up "$TMP/live.out" || fail "no live connection opens"
    start=$(date +%s%3N)
    gw grant --remove user:1234 cam-17:9000 >/dev/null || fail "grant --remove"
    wait_for 10 grep -q '^reset' "$TMP/live.out" || fail "a $kind connection is not reset: $(cat "$TMP/live.out")"
    took=$(($(awk '/^reset/ {print $2}' "$TMP/live.out") - start))
    [ "$took" -le "$worst" ] || worst=$took
    gw grant user:1234 cam-17:9000 >/dev/null || fail "grant"
done
echo "revocation of a user's live connection: $worst ms at worst"
connected cam-17 || fail "the device's session ended"
ok "removing a user's grant resets the user's connections, busy or idle"

# When a platform's grant is taken back, its connections through an SSH forward (-L) end, but its session continues.
LOCAL=$(free_port) KEEP=$(free_port)
client p -N -L "127.0.0.1:$LOCAL:cam-17.cmx:9000" -L "127.0.0.1:$KEEP:cam-17.cmx:81" & P=$!; PIDS+=("$P")
wait_for 20 connected vms && wait_for 10 listening "$LOCAL" || fail "the platform does not connect"
session=$(gw status --json | jq '.sessions[] | select(.name == "vms") | .pid')
rm "$TMP/live.out"
python3 "$TMP/live.py" 127.0.0.1 "$LOCAL" idle >"$TMP/live.out" & L=$!; PIDS+=("$L")
wait_for 10 grep -q up "$TMP/live.out" || fail "no live connection of the platform opens"
gw grant --remove vms cam-17:9000 >/dev/null || fail "grant --remove"
wait_for 10 grep -Eq '^(reset|end)' "$TMP/live.out" || fail "a platform's connection stays open: $(cat "$TMP/live.out")"
[ "$(gw status --json | jq '.sessions[] | select(.name == "vms") | .pid')" = "$session" ] || fail "the platform's session ended with its grant"
curl -s -m 5 "http://127.0.0.1:$KEEP/" | grep -q one || fail "the platform's other grant no longer works"
[ -z "$(printf 'x\n' | timeout 5 nc -q 2 127.0.0.1 "$LOCAL" 2>/dev/null)" ] || fail "the platform still reaches a service whose grant was removed"
ok "removing a platform's grant ends the connection, and the platform's session continues"

# Grants are added and removed while another user's connection carries data. The guard sees every change to the grants,
# but must repair nothing.
repairs=$(gw status --json | jq .counters.judge_repairs)
rm "$TMP/live.out"
as 1234 /usr/bin/python3 "$TMP/live.py" "$A" 9000 busy >"$TMP/live.out" & L=$!; PIDS+=("$L")
wait_for 10 grep -q up "$TMP/live.out" || fail "no live connection opens"
for _ in $(seq 10); do
    gw grant user:1300 cam-17:9000 >/dev/null && gw grant --remove user:1300 cam-17:9000 >/dev/null || fail "grant or grant --remove fails for another consumer"
done
kill -0 "$L" 2>/dev/null && lacks -q 'reset\|end\|error' "$TMP/live.out" || fail "other grants end a connection: $(cat "$TMP/live.out")"
kill "$L"
ip -6 rule del pref 1129 || fail "the host's rule" # once the guard has repaired this, it has also seen the grants
wait_for 15 repaired "$repairs" || fail "the host's rule is not repaired"
equal "$(gw status --json | jq .counters.judge_repairs)" $((repairs + 1)) || fail "changes of grants count as repairs: $(grep repaired "$TMP/gateway.log")"
ok "changes of grants interrupt no other connection and do not count as repairs"

# While grants are added and removed, new connections succeed: a user, a platform and a unit that keep their grants
# connect again and again.
cat >"$TMP/again.py" <<'PY'
# again.py ADDRESS PORT STOP: connects repeatedly until the file STOP exists; prints what fails, and at the end how many connections worked.
import os, socket, sys
n = 0
while not os.path.exists(sys.argv[3]):
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as s:
            s.sendall(b"hello\n")
            if s.makefile("rb").readline() != b"hello\n":
                raise OSError("no answer")
        n += 1
    except OSError as e:
        sys.stdout.write("failed after %d: %s\n" % (n, e))
        sys.exit(1)
sys.stdout.write("worked %d\n" % n)  # one write for each line, because three processes write to the file
PY
chmod 644 "$TMP/again.py"
UNIT="$CGROUP/system-nvr\\x2dcam.slice:1" # \x2d: a hyphen in a template's name, as systemd escapes it
mkdir "$UNIT" && gw grant "cgroup:${UNIT#/sys/fs/cgroup/}" cam-17:9000 >/dev/null && gw grant vms cam-17:9000 >/dev/null || fail "grant"
: >"$TMP/again.log"
as 1234 /usr/bin/python3 "$TMP/again.py" "$A" 9000 "$TMP/stop" >>"$TMP/again.log" 2>&1 & U=$!; PIDS+=("$U")
sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$UNIT" setpriv --reuid 1236 --regid 1236 --clear-groups /usr/bin/python3 "$TMP/again.py" "$A" 9000 "$TMP/stop" >>"$TMP/again.log" 2>&1 & V=$!; PIDS+=("$V")
/usr/bin/python3 "$TMP/again.py" 127.0.0.1 "$LOCAL" "$TMP/stop" >>"$TMP/again.log" 2>&1 & W=$!; PIDS+=("$W")
for _ in $(seq "${CMX_GRANTS:-10}"); do
    gw grant user:1300 cam-18:81 >/dev/null && gw grant "cgroup:a/first" cam-18:81 >/dev/null || fail "grant fails for another consumer"
    gw grant --remove user:1300 cam-18:81 >/dev/null && gw grant --remove "cgroup:a/first" cam-18:81 >/dev/null || fail "grant --remove fails for another consumer"
done
touch "$TMP/stop"
wait "$U" "$V" "$W"
[ "$(grep -c '^worked [1-9]' "$TMP/again.log")" = 3 ] && lacks failed "$TMP/again.log" || fail "new connections failed while other grants changed: $(cat "$TMP/again.log"), refused: $(gw access --since 1m | grep denied | tail -n 3)"
echo "new connections beside changing grants: $(sed -n 's/^worked //p' "$TMP/again.log" | tr '\n' ' ')"
ok "changes of grants disturb no new connection"

# Of two grants for the same service, one to a user and one to the user's group, the kernel keeps the one that ends
# later.
echo 'zoe:x:1239:1239::/nonexistent:/bin/false' >>/etc/passwd && echo 'crew:x:4399:zoe' >>/etc/group || fail "no private /etc"
gw grant user:zoe cam-17:9000 --for 3s >/dev/null && gw grant group:crew cam-17:9000 --for 1h >/dev/null || fail "grant"
Z=$(identity user:zoe)
left=$(inside_ns nft -j list set inet cmxsafe grants | jq --arg z "$Z" '[.nftables[].set.elem? // empty | .[] | select(.elem.val.concat[0]? == $z) | .elem.timeout]')
json_is 'length == 1 and .[0] > 3000' <<<"$left" || fail "the kernel's element of two grants ends after: $left"
rm "$TMP/live.out"
as 1239 /usr/bin/python3 "$TMP/live.py" "$A" 9000 busy >"$TMP/live.out" & L=$!; PIDS+=("$L")
wait_for 10 grep -q up "$TMP/live.out" || fail "no live connection opens"
ended() { gw grant --json | json_is 'all(.[]; .consumer != "user:zoe")'; }
wait_for 20 ended || fail "the shorter grant does not end"
kill -0 "$L" 2>/dev/null && lacks -q 'reset\|end\|error' "$TMP/live.out" || fail "the shorter of two grants ends the connection: $(cat "$TMP/live.out")"
kill "$L"
ok "of two grants for the same service, the one that ends last counts"

# The gateway loads 5,000 grants.
python3 - "$GW/registry.db" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=20)
device = db.execute("SELECT id FROM device WHERE name = 'cam-17'").fetchone()[0]
for i in range(5000):
    cur = db.execute("INSERT INTO consumer(kind, name) VALUES('user', ?)", (str(200000 + i),))
    db.execute("INSERT INTO grants(consumer, device, port) VALUES(?, ?, 81)", (cur.lastrowid, device))
db.commit()
PY
start=$(date +%s%3N)
gw net rules || fail "5,000 grants can't be loaded"
echo "5,000 grants: loaded in $(($(date +%s%3N) - start)) ms"
wait_for 10 gets 204999 http://cam-17.cmx:81/ one || fail "the last of 5,000 grants has no effect"
denied 205000 http://cam-17.cmx:81/ || fail "a user without a grant reaches the device beside 5,000 grants"
wait_for 10 gets 1234 http://cam-17.cmx:81/ one || fail "an older grant has no effect beside 5,000 others"
ok "5,000 grants"
kill "$GW_PID"; wait "$GW_PID" 2>/dev/null
no_complaints
