#!/usr/bin/env bash
# Tests three gateways with real PostgreSQL, BIRD and WireGuard: joining, identities that follow sessions, takeover, and
# a gateway that is killed.
. "$(dirname "$0")/../nodes_lib.sh"
command -v socat >/dev/null || skip "socat is needed"
fleet_of 1 2 3
key d; key p; key x
gwn 1 enroll cam-1 --key "$TMP/d.pub" --ports 81,82 >/dev/null && gwn 2 platform vms --key "$TMP/p.pub" >/dev/null &&
    gwn 3 platform other --key "$TMP/x.pub" >/dev/null && gwn 2 grant vms cam-1:81 >/dev/null || fail "enroll"
equal "$(cat /var/lib/node1/gateway/hostkey_ed25519.pub)" "$(cat /var/lib/node3/gateway/hostkey_ed25519.pub)" || fail "the host keys differ"
[ "$(stat -c %a /var/lib/node3/gateway/hostkey_ed25519)" = 640 ] && [ "$(stat -c %a /var/lib/node3/gateway/link.key)" = 600 ] || fail "a key has a wrong mode"
machine 4; cable 1 4; entry 4
again() { on 4 env PATH="$TMP/ssh:$PATH" "$BIN/cmxsafe" gateway join --from 10.9.0.1 --listen "[::]:$GW_PORT" --host 10.9.1.4 --name "$1" >"$TMP/again.log" 2>&1; }
gwn 1 nodes --json >"$TMP/nodes.before"
! again gw1 && grep -q "the fleet has a gateway 'gw1' already; give another --name" "$TMP/again.log" || fail "a second gateway got the name gw1: $(cat "$TMP/again.log")"
! again 'GW 4' && grep -q "'GW 4' is not a valid name" "$TMP/again.log" || fail "a join that failed can't be repeated: $(cat "$TMP/again.log")"
[ -z "$(find /var/lib/node4/gateway -name 'hostkey*' -o -name registry.db)" ] || fail "a join that failed keeps keys: $(ls /var/lib/node4/gateway)"
addresses() { jq -c '[.nodes[] | [.name, .address]]' "$1"; }
gwn 1 nodes --json >"$TMP/nodes.after"
equal "$(addresses "$TMP/nodes.before")" "$(addresses "$TMP/nodes.after")" || fail "a join that failed changed the fleet: $(gwn 1 nodes)"
ok "two machines join a gateway, each with one command"
A=$(gwn 1 show cam-1 --json | jq -r .device.address)
wait_for 20 gwn 1 whois vms || fail "node 1 does not know vms"
V=$(gwn 1 whois vms --json | jq -r .address)

web one
STREAMS=$(free_port)
python3 "$ROOT/tests/e2e/service.py" "$STREAMS" 2>"$TMP/service.log" & PIDS+=("$!")
wait_for 10 listening "$STREAMS" || fail "no service"
client_at 2 d -N -R "[$A]:81:127.0.0.1:$WEB" -R "[$A]:82:127.0.0.1:$STREAMS" & D=$!; PIDS+=("$D")
wait_for 20 connected_at 2 cam-1 || fail "cam-1 does not connect"
wait_for 10 route_is 1 "$A" 2 && wait_for 10 route_is 3 "$A" 2 || fail "the route to cam-1 is not announced"
[ -z "$(route_of 2 "$A")" ] || fail "node 2 sends its own device's packets away"
# consumer N KEY: logs in to node N with a platform's KEY and prints what the device's service sends.
consumer() { printf 'GET / HTTP/1.0\r\n\r\n' | TMP=$TMP GW_PORT=$GW_PORT timeout 20 bash -c "$(declare -f client_at); client_at \"\$@\"" - "$@" -W "[$A]:81" 2>/dev/null; }
consumer_gets() { consumer "$1" "$2" | grep -q "$3"; }
wait_for 10 consumer_gets 1 p one || fail "a consumer at node 1 does not reach the device at node 2"
wait_for 10 consumer_gets 2 p one || fail "a consumer at node 2 does not reach the device at node 2"
! consumer_gets 1 x one && ! consumer_gets 2 x one || fail "reached without a grant"
ok "a consumer at one gateway reaches a device at another, and only with a grant"

# ---- local users and units ----
gwn 3 grant user:1234 cam-1 >/dev/null || fail "grant"
mkdir "$CGROUP/node1/unit" || fail "no control group"
gwn 1 grant "cgroup:${CGROUP#/sys/fs/cgroup/}/node1/unit" cam-1:81 >/dev/null || fail "grant to a unit"
# user_at N UID COMMAND...: runs COMMAND as a local user of node N. user_gets N UID: succeeds if this user reaches the
# device, which is connected to node 2.
user_at() { local n=$1 uid=$2; shift 2; on "$n" setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"; }
user_gets() { [ "$(user_at "$1" "$2" curl -s -m 5 "http://[$A]:81/" 2>/dev/null)" = one ]; }
unit_gets() { [ "$(on 1 sh -c 'echo $$ >"$0/cgroup.procs" && exec setpriv --reuid 77 --regid 77 --clear-groups curl -s -m 5 "$1"' "$CGROUP/node1/unit" "http://[$A]:81/" 2>/dev/null)" = one ]; }
for n in 1 2 3; do wait_for 10 user_gets $n 1234 || fail "a local user of node $n does not reach the device at node 2"; done
wait_for 10 unit_gets || fail "a unit of node 1 does not reach the device at node 2"
for n in 1 2 3; do ! user_gets $n 1235 || fail "a user of node $n reaches the device without a grant"; done
! user_at 1 1234 curl -s -m 5 --interface "$V" "http://[$A]:81/" 2>/dev/null || fail "a local user takes a platform's identity"
logged_at_2() { gwn 2 access --consumer "$1" --device cam-1 --json | jq -s . | json_is "[.[] | select(.event == \"close\")] | length >= $2" >/dev/null; }
wait_for 10 logged_at_2 user:1234 3 || fail "the access log of the device's gateway does not name the user: $(gwn 2 access)"
wait_for 10 logged_at_2 "cgroup:${CGROUP#/sys/fs/cgroup/}/node1/unit" 1 || fail "the access log of the device's gateway does not name the unit: $(gwn 2 access)"
ok "local users and units of each gateway reach a device at another one, with their identities"

# A grant to a group permits a user if both the user's gateway and the device's gateway list the user as a member. Each
# gateway uses its own user database.
for n in 1 2 3; do
    { cat /etc/passwd; echo "alice:x:1236:1236::/:/bin/false"; echo "bob:x:1237:1237::/:/bin/false"; } >"$TMP/passwd$n"
    { cat /etc/group; case $n in 1) echo ops:x:4321:alice,bob ;; 2) echo ops:x:4321:alice ;; 3) echo ops:x:4321:bob ;; esac; } >"$TMP/group$n"
    for f in passwd group; do on $n mount --bind "$TMP/$f$n" "/etc/$f" || fail "mount"; done
done
gwn 3 grant group:ops cam-1:81 >/dev/null || fail "grant to a group"
wait_for 20 user_gets 1 1236 || fail "a member at both gateways does not reach the device"
primary_gets() { [ "$(on "$1" setpriv --reuid 99 --regid 4321 --clear-groups curl -s -m 5 "http://[$A]:81/" 2>/dev/null)" = one ]; }
for n in 1 2 3; do wait_for 20 primary_gets $n || fail "a process of the group at node $n does not reach the device"; done
! user_gets 3 1236 || fail "a user who is not a member at the user's own gateway reaches the device"
for n in 1 3; do ! user_gets $n 1237 || fail "a user who is not a member at the device's gateway reaches the device from node $n"; done
gwn 3 grant --remove group:ops cam-1:81 >/dev/null || fail "grant --remove"
no_longer() { ! user_gets 1 1236 && ! primary_gets 1; }
wait_for 20 no_longer || fail "reached after the group's grant was removed"
ok "a grant to a group holds for members at both gateways"

# A stream from the device at node 2 to a user on node 1 ends when either node loses its rules, and when the grant is removed.
stream() { # starts an endless stream from the device to a user of node 1
    printf D | user_at 1 1234 socat -t 1000 - "TCP6:[$A]:82" >/dev/null 2>"$TMP/stream.err" & STREAM=$!; PIDS+=("$STREAM")
}
received() { on 1 ss -Htin "dst [$A]:82" | grep -o 'bytes_received:[0-9]*'; }
flows() { local before; before=$(received); sleep 0.3; [ "$(received)" != "$before" ]; }
# Removes the rules at each try, because the process that follows the registry is still running. If a change arrives
# late, that process loads the rules again.
stands() { on "$n" ip netns exec cmxsafe nft flush ruleset; ! flows && ! flows && ! flows; }
# without_rules N: removes the rules of node N, and stops its server and guard, so that they cannot restore the rules.
without_rules() {
    GUARD=$(pgrep -P "${SERVE_PID[$1]}" | head -n 1); GUARD=${GUARD:-${SERVE_PID[$1]}}
    kill -STOP "${SERVE_PID[$1]}" "$GUARD" && on "$1" ip netns exec cmxsafe nft flush ruleset
}
for n in 2 1; do
    stream
    wait_for 10 flows || fail "no stream across gateways"
    without_rules $n || fail "the rules of node $n can't be removed"
    wait_for 10 stands || fail "a stream continues without the rules of node $n"
    ! user_gets 1 1234 || fail "reached without the rules of node $n"
    kill -CONT "${SERVE_PID[$n]}" "$GUARD"
    wait_for 20 user_gets 1 1234 || fail "the rules of node $n are not restored"
    kill "$STREAM" 2>/dev/null; wait "$STREAM" 2>/dev/null
done
stream
wait_for 10 flows || fail "no stream across gateways"
gwn 3 grant --remove user:1234 cam-1:81 >/dev/null && wait_for 10 flows || fail "the end of another grant stops a stream"
gwn 3 grant --remove user:1234 cam-1 >/dev/null || fail "grant --remove"
ended() { ! kill -0 "$STREAM" 2>/dev/null; }
wait_for 10 ended || fail "a stream continues without a grant"
for n in 1 2 3; do ! user_gets $n 1234 || fail "reached at node $n without a grant"; done
ok "without a grant, or without the rules of either gateway, no connection passes"

# ---- takeover ----
# The device is alive on node 2: a login on node 3 is refused, and the session continues.
client_at 3 d -N -R "[$A]:81:127.0.0.1:$WEB" 2>/dev/null & E=$!; PIDS+=("$E")
refused() { grep -q "cam-1 from .*: ended: its device has a live session at another gateway" "$TMP/node3.log"; }
wait_for 20 refused || fail "a second session while the first one answers"
wait_for 10 gone_at 3 cam-1 && connected_at 2 cam-1 && [ "$(route_of 1 "$A")" = 2 ] || fail "an answering session lost its identity"
kill "$E" 2>/dev/null; wait "$E" 2>/dev/null
# The device is frozen on node 2: a login on node 3 takes over its identity.
kill -STOP "$D"
start=$(date +%s%3N)
client_at 3 d -N -R "[$A]:81:127.0.0.1:$WEB" & E=$!; PIDS+=("$E")
wait_for 20 connected_at 3 cam-1 && wait_for 10 route_is 1 "$A" 3 || fail "a dead session is not taken over"
echo "taken over after $(($(date +%s%3N) - start)) ms"
wait_for 10 gone_at 2 cam-1 || fail "the dead session is still listed"
for n in 1 2 3; do wait_for 10 consumer_gets $n p one || fail "the device is not reached through node $n after the takeover"; done
kill -KILL "$D"; wait "$D" 2>/dev/null
ok "a device that logs in at another gateway takes over from a dead session, and not from one that answers"
# A platform's sessions hold no ports, so its latest login takes over, even from a session that answers.
client_at 1 p -N 2>/dev/null & P=$!; PIDS+=("$P")
wait_for 20 connected_at 1 vms || fail "a platform does not log in"
client_at 2 p -N & Q=$!; PIDS+=("$Q")
wait_for 20 connected_at 2 vms && wait_for 10 gone_at 1 vms || fail "a platform stays logged in to two gateways"
kill "$P" "$Q" 2>/dev/null; wait "$P" "$Q" 2>/dev/null
ok "a platform is logged in to one gateway: that of its latest login"

# ---- routes and sysctls that are changed by hand ----
on 3 ip -n cmxsafe -6 route flush table 77 && wait_for 10 grep -q "routes that announce identities were removed by another program" "$TMP/node3.log" || fail "the removal of a claim's route is not noticed"
wait_for 10 consumer_gets 1 p one || fail "a claim's route is not set again"
on 3 ip -n cmxsafe link set lo down
wait_for 20 consumer_gets 1 p one || fail "a claim's route is not set again after the loopback was down"
# Another program sets a sysctl again and again, also while the guard repairs it. The last value must not become the one that
# the guard expects.
marks() { on 3 ip netns exec cmxsafe sysctl -n net.ipv4.tcp_fwmark_accept; }
for _ in $(seq 100); do
    on 3 ip netns exec cmxsafe sysctl -q -w net.ipv4.tcp_fwmark_accept=0 || fail "sysctl"
    sleep 0.02
done
marked() { [ "$(marks)" = 1 ]; }
wait_for 20 marked || fail "a sysctl that was changed during a repair is not restored"
repairs() { gwn 3 status --here --json | jq .counters.judge_repairs; }
# checked: succeeds if the guard has found the network as configured. If it reports a repair that failed, it does not count the next one.
checked() { gwn 3 status --here --json | json_is '.judge == ""'; }
for s in ipv6.conf.all.forwarding=0 ipv4.tcp_fwmark_accept=0; do
    sleep 1 # until the guard has noticed the last change
    wait_for 20 checked || fail "the guard does not repair the network: $(gwn 3 status --here --json | jq .judge)"
    before=$(repairs)
    on 3 ip netns exec cmxsafe sysctl -q -w "net.$s" || fail "sysctl $s"
    restored() { [ "$(repairs)" -gt "$before" ] && [ "$(on 3 ip netns exec cmxsafe sysctl -n "net.${s%=*}")" = 1 ]; }
    wait_for 10 restored || fail "the sysctl is not restored: $s"
done
ok "routes of claims and sysctls that were changed by hand"

# ---- WireGuard peers that are changed by hand ----
WG=(on 3 ip netns exec cmxsafe wg)
PEER=$("${WG[@]}" show cmxlink1 peers) && OTHER=$(on 3 wg genkey | on 3 wg pubkey) && on 3 wg genkey >"$TMP/psk" && equal "$(wc -w <<<"$PEER")" 1 || fail "the link to node 1 has no single peer: $PEER"
# settings: prints what another program must not change.
settings() { "${WG[@]}" show cmxlink1 dump | awk -F '\t' 'NR == 1 { print $2, $3, $4 } NR > 1 { print $1, $2, $4, $8 }'; }
BEFORE=$(settings)
for change in "peer $PEER remove" "peer $OTHER allowed-ips fd00::/8" "peer $PEER allowed-ips fd00::/8" "peer $PEER preshared-key $TMP/psk" "peer $PEER persistent-keepalive 25" \
    "listen-port 1" "fwmark 1" "private-key $TMP/psk"; do
    before=$(repairs)
    "${WG[@]}" set cmxlink1 $change || fail "wg set $change" # the guard may repair this at any time, so only its count shows a change
    restored() { [ "$(repairs)" -gt "$before" ] && equal "$(settings)" "$BEFORE"; }
    wait_for 30 restored || fail "the link is not restored after 'wg set $change': $(settings), before: $BEFORE"
done
wait_for 30 consumer_gets 1 p one || fail "the links do not work after their repair"
ok "WireGuard peers that were changed by hand"

# ---- a wireguard-go that hangs ----
GO=$(for p in $(pgrep -x wireguard-go); do equal "$(readlink "/proc/$p/ns/net")" "$(readlink "/proc/${NODE_PID[3]}/ns/net")" && tr '\0' '\n' <"/proc/$p/cmdline" | grep -qx cmxlink1 && echo "$p"; done)
if [ -n "$GO" ]; then
    kill -STOP "$GO" || fail "wireguard-go can't be stopped"
    CLEANUP+=("kill -CONT $GO 2>/dev/null")
    for _ in 1 2; do
        before=$(repairs)
        on 3 nft flush ruleset || fail "flush"
        restored() { [ "$(repairs)" -gt "$before" ] && on 3 nft list table inet cmxsafe_host; }
        wait_for 30 restored || fail "while wireguard-go hangs, the guard does not restore the rules"
    done
    followed_before=$(grep -c 'the shared registry is not followed' "$TMP/node3.log")
    gwn 1 grant user:4321 cam-1:81 >/dev/null || fail "grant"
    granted() { gwn 3 grant --json | json_is 'any(.[]; .consumer == "user:4321")'; }
    wait_for 10 granted || fail "while wireguard-go hangs, node 3 does not get a change"
    [ "$(grep -c 'the shared registry is not followed' "$TMP/node3.log")" = "$followed_before" ] || fail "while wireguard-go hangs, node 3 does not follow the registry"
    # The command reports that a link can't be configured, but the grant is in force.
    ! gwn 3 grant user:4322 cam-1:81 >"$TMP/hangs.log" 2>&1 && grep -q "the link to gw1 can't be configured" "$TMP/hangs.log" || fail "a grant while wireguard-go hangs: $(cat "$TMP/hangs.log")"
    on 3 ip netns exec cmxsafe nft list set inet cmxsafe grants | grep -qF "$(gwn 3 whois user:4322 --json | jq -r .address) . $A . 81" || fail "a grant is not in force while wireguard-go hangs"
    kill -CONT "$GO"
    wait_for 30 consumer_gets 1 p one || fail "a link does not work after its wireguard-go continued"
    for u in 4321 4322; do gwn 3 grant --remove user:$u cam-1:81 >/dev/null || fail "grant --remove"; done
    ok "while wireguard-go hangs, neither the guard nor commands are delayed for long"
else
    skip_part "no wireguard-go that could hang: the kernel has WireGuard"
fi

# ---- a gateway that is killed ----
kill -KILL "$(gwn 3 status --here --json | jq -r .pid)"
withdrawn() { [ -z "$(route_of 1 "$A")" ] && [ -z "$(route_of 2 "$A")" ]; }
wait_for 10 withdrawn || fail "the routes of a killed gateway stay"
[ -z "$(on 3 ip -n cmxsafe -6 route show table 77)" ] || fail "a killed gateway's claims stay"
wait "$E" 2>/dev/null
client_at 1 d -N -R "[$A]:81:127.0.0.1:$WEB" & D=$!; PIDS+=("$D")
wait_for 20 connected_at 1 cam-1 && wait_for 10 consumer_gets 2 p one || fail "the device is not reachable through another gateway after the first was killed"
wait "${SERVE_PID[3]}" 2>/dev/null
serve_node 3
wait_for 10 route_is 3 "$A" 1 && wait_for 10 consumer_gets 3 p one || fail "a gateway that is back does not know the routes"
ok "a gateway that is killed loses its identities at once"

# ---- a join that is repeated ----
# The first join is killed while its init waits for PostgreSQL, and the second join after its init. The third join makes
# node 4 a gateway.
pg_sql shared "BEGIN; SELECT id FROM cmxsafe.registry FOR UPDATE; SELECT pg_sleep(600)" >/dev/null 2>&1 & LOCK=$!; PIDS+=("$LOCK")
sleepers="FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
locked() { [ "$(pg_sql shared "SELECT count(*) $sleepers")" = 1 ]; }
wait_for 20 locked || fail "the registry is not locked"
AGAIN=(env PATH="$TMP/ssh:$PATH" "$BIN/cmxsafe" gateway join --from 10.9.0.1 --listen "[::]:$GW_PORT" --host 10.9.1.4)
on 4 sh -c 'echo $$ >"$0" && exec "$@"' "$TMP/join.pid" "${AGAIN[@]}" --name gw4 >"$TMP/again.log" 2>&1 & JOIN=$!; PIDS+=("$JOIN")
wait_for 30 test -e /var/lib/node4/gateway/registry.db || fail "the join does not begin: $(cat "$TMP/again.log")"
sleep 1
kill -KILL "$(cat "$TMP/join.pid")" || fail "the join did not wait for PostgreSQL: $(cat "$TMP/again.log")"
wait "$JOIN"
pg_sql shared "SELECT pg_terminate_backend(pid) $sleepers" >/dev/null || fail "the registry stays locked"
wait "$LOCK"
gwn 4 init --fleet "$FLEET" --listen "[::]:$GW_PORT" --host 10.9.1.4 --registry "$REGISTRY" >"$TMP/again.log" 2>&1 || fail "init fails after a killed join: $(cat "$TMP/again.log")"
again gw4 || fail "a killed join can't be repeated: $(cat "$TMP/again.log")"
! again gw5 && grep -q "this machine is already the fleet's gateway 'gw4'" "$TMP/again.log" || fail "a gateway has two names: $(cat "$TMP/again.log")"
! on 4 "${AGAIN[@]}" --name gw4 --listen nowhere >"$TMP/again.log" 2>&1 && grep -q "could not be set up" "$TMP/again.log" || fail "join accepts --listen nowhere, or gives a wrong reason: $(cat "$TMP/again.log")"
equal "$(stat -c %a /var/lib/node4/gateway/hostkey_ed25519)" 640 || fail "sshd can't read a host key after a join that failed"
cp /var/lib/node4/gateway/hostkey_ed25519 "$TMP/kept" && key other && cat "$TMP/other" >/var/lib/node4/gateway/hostkey_ed25519 || fail "another host key"
! again gw4 && grep -q "hostkey_ed25519 differs from the fleet's" "$TMP/again.log" || fail "a join replaces a host key: $(cat "$TMP/again.log")"
cat "$TMP/kept" >/var/lib/node4/gateway/hostkey_ed25519
# Gateway 4 belongs to another fleet with the same prefix: only the registry's identifier differs. Its join is refused.
registry4() { sql /var/lib/node4/gateway/registry.db "$@" || fail "sqlite3"; }
id=$(registry4 "SELECT value FROM meta WHERE key = 'registry_id'")
registry4 "UPDATE meta SET value = 'another' WHERE key = 'registry_id'"
! again gw4 && grep -q "already has a gateway, which is not in that fleet" "$TMP/again.log" || fail "a gateway of another fleet joins: $(cat "$TMP/again.log")"
registry4 "UPDATE meta SET value = '$id' WHERE key = 'registry_id'"
[ -e /var/lib/node4/gateway/registry.db ] && equal "$(gwn 1 nodes --json | jq -r '[.nodes[].name] | sort | join(" ")')" "gw1 gw2 gw3 gw4" || fail "nodes: $(gwn 1 nodes)"
gwn 4 leave >/dev/null || fail "leave"
# If link.key is lost, joining again replaces it.
BEFORE=$(on 3 wg pubkey </var/lib/node3/gateway/link.key)
rm /var/lib/node3/gateway/link.key
! gwn 3 init >"$TMP/again.log" 2>&1 && grep -q "link.key, the WireGuard key of this gateway, is missing; .*'cmxsafe gateway join --from GATEWAY'" "$TMP/again.log" || fail "init without link.key: $(cat "$TMP/again.log")"
gwn 3 doctor | grep -q "^bad .*link key.*: link.key, .* is missing; .*join" || fail "doctor does not report that link.key is missing: $(gwn 3 doctor)"
(umask 077 && on 3 wg genkey >/var/lib/node3/gateway/link.key)
gwn 3 doctor | grep -q "^bad .*link key.*differs from the key in the registry" || fail "doctor does not find another link.key: $(gwn 3 doctor)"
join_node 3 1
gwn 3 doctor | grep -q "^ok .*link key" || fail "doctor reports link.key as bad after the second join: $(gwn 3 doctor)"
[ "$BEFORE" != "$(on 3 wg pubkey </var/lib/node3/gateway/link.key)" ] || fail "the key is the same"
wait_for 30 consumer_gets 3 p one || fail "join does not replace a lost link.key"
ok "a join can be repeated, after it was killed and to replace a lost link.key"
