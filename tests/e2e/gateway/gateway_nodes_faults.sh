#!/usr/bin/env bash
# Causes faults between three gateways of one fleet: a gateway that announces another gateway's identities or uses them
# as a source, cables that are cut, a device that flaps between gateways, a revocation while a gateway is cut off, and a
# gateway that returns with an old copy of the registry. Access that is denied stays denied, and no device stays
# unreachable.
. "$(dirname "$0")/../nodes_lib.sh"
fleet_of 1 2 3
key d; key e; key p; key x; key y
gwn 1 enroll cam-1 --key "$TMP/d.pub" --ports 81 >/dev/null && gwn 1 enroll cam-2 --key "$TMP/e.pub" --ports 81 >/dev/null &&
    gwn 1 platform vms --key "$TMP/p.pub" >/dev/null && gwn 1 platform other --key "$TMP/x.pub" >/dev/null && gwn 1 grant vms cam-1:81 >/dev/null && gwn 1 grant vms cam-2:81 >/dev/null || fail "enroll"
A=$(gwn 1 show cam-1 --json | jq -r .device.address)
V=$(gwn 1 whois vms --json | jq -r .address)
knows() { gwn "$1" list --json | json_is '[.[].name] | index($n)' --arg n "$2"; }
for n in 2 3; do wait_for 10 knows $n cam-2 || fail "node $n does not know cam-2"; done
web one; ONE=$WEB
client_at 1 d -N -R "[$A]:81:127.0.0.1:$ONE" & D=$!; PIDS+=("$D")
wait_for 20 connected_at 1 cam-1 || fail "cam-1 does not connect"
client_at 2 p -N -L "127.0.0.1:$(free_port):[$A]:81" & P=$!; PIDS+=("$P")
wait_for 20 connected_at 2 vms || fail "vms does not connect"
for n in 2 3; do wait_for 10 route_is $n "$A" 1 || fail "no route to cam-1 from node $n"; done
wait_for 10 route_is 1 "$V" 2 || fail "no route to vms"
# held_by N ADDRESS: prints the gateway that holds the address according to node N's copy of the registry.
held_by() { sql "/var/lib/node$1/gateway/registry.db" "SELECT node FROM claim WHERE address = '$2'"; }
is_held_by() { [ "$(held_by "$1" "$2")" = "$3" ]; }
for n in 1 2 3; do wait_for 10 is_held_by $n "$A" gw1 && wait_for 10 is_held_by $n "$V" gw2 || fail "node $n does not know the claims"; done
with_claims() { bird "$1" show route table claims | grep -q "$2"; }
for n in 1 2; do wait_for 10 with_claims $n "$A" && wait_for 10 with_claims $n "$V" || fail "BIRD at node $n does not know the claims"; done

# ---- a rogue gateway ----
# Gateway 3 announces identities that the other gateways hold, and its claims are newer. The other gateways must reject
# these claims.
for a in "$A" "$V"; do on 3 ip -n cmxsafe -6 route add blackhole "$a/128" table 77 proto 200 metric 900 || fail "route"; done
announced() { bird 3 show route table master6 "$A/128" all | grep -q 'local_pref: 900'; }
wait_for 10 announced || fail "the rogue gateway's BIRD does not announce it"
for _ in $(seq 30); do
    [ "$(route_of 2 "$A")" = 1 ] && [ "$(route_of 1 "$V")" = 2 ] || fail "a rogue gateway takes an identity"
    sleep 0.1
done
connected_at 1 cam-1 && connected_at 2 vms || fail "a rogue gateway ends a session"
# The rogue gateway sends from an identity that another gateway holds: a granted connection works only from the gateway
# that holds the identity.
reach() { on "$1" ip netns exec cmxsafe curl -s -m 5 --interface "$V" "http://[$A]:81/" 2>/dev/null; }
[ "$(reach 2)" = one ] || fail "the control: the gateway that holds the identity does not reach the device"
# The rogue gateway has neither rules nor a guard.
guard=$(pgrep -P "${SERVE_PID[3]}" | head -n 1); guard=${guard:-${SERVE_PID[3]}}
kill -STOP "${SERVE_PID[3]}" "$guard" 2>/dev/null
on 3 ip netns exec cmxsafe nft flush ruleset && on 3 ip -n cmxsafe -6 route replace "$A/128" dev cmxlink1 || fail "the rogue gateway can't be prepared"
dropped() { on 1 ip netns exec cmxsafe nft list chain inet cmxsafe from_node | sed -nE 's/.*counter packets ([0-9]+) .*does not hold.*/\1/p'; }
before=$(dropped)
[ -z "$(reach 3)" ] || fail "a gateway sends with an identity that it does not hold"
[ "$(dropped)" -gt "$before" ] || fail "no packet with another's identity arrived, so the check above proves nothing"
kill -CONT "${SERVE_PID[3]}" "$guard" 2>/dev/null
for a in "$A" "$V"; do on 3 ip -n cmxsafe -6 route del blackhole "$a/128" table 77 proto 200; done
on 3 ip -n cmxsafe -6 route del "$A/128" dev cmxlink1
[ "$(reach 2)" = one ] || fail "the device is not reached afterwards, so the check above proves nothing"
ok "a rogue gateway can neither receive connections for an identity that another gateway holds nor use its grants"

# ---- a cut cable ----
for pair in "1 2" "2 3" "1 3"; do
    a=${pair% *} b=${pair#* }
    cable_cut "$a" "$b" || fail "cut"
    wait_for 20 neighbours "$a" 1 && wait_for 20 neighbours "$b" 1 || fail "the cut between $a and $b is not noticed"
    other=2
    [ "$a $b" != "1 2" ] || { [ -z "$(reach 2)" ] || fail "reached over a cable that is cut"; other=3; }
    [ "$a" = 1 ] && [ "$b" = "$other" ] || wait_for 10 route_is $other "$A" 1 || fail "the cut between $a and $b changes the route at node $other"
    cable_repair "$a" "$b" || fail "the cable is not repaired"
    wait_for 30 neighbours "$a" 2 && wait_for 30 neighbours "$b" 2 || fail "the cable between $a and $b is not used again"
done
reaches() { [ "$(reach 2)" = one ]; }
wait_for 20 reaches || fail "the device is not reachable after all cables are repaired"
connected_at 1 cam-1 || fail "a session was lost"
ok "a cut cable ends the connections that use it, and permits no others"

# ---- a device that moves between gateways ----
kill "$D"; wait "$D" 2>/dev/null
at=1
for i in $(seq 6); do
    at=$((i % 3 + 1))
    client_at $at d -N -R "[$A]:81:127.0.0.1:$ONE" & D=$!; PIDS+=("$D")
    wait_for 20 connected_at $at cam-1 || fail "cam-1 does not connect to node $at in round $i"
    [ "$i" = 6 ] || { kill -KILL "$D"; wait "$D" 2>/dev/null; }
done
for n in 2 3; do wait_for 20 route_is $n "$A" "$at" || fail "node $n does not know where the device is"; done
for n in 2 3; do [ -z "$(on $n ip -n cmxsafe -6 route show table 77 | grep "$A")" ] || fail "node $n still claims the device"; done
wait_for 20 reaches || fail "the device is not reachable after moving"
ok "a device that moves between gateways again and again is reached at the gateway of its last login"

# x_gets N: succeeds if a platform without a grant logs in to node N and reaches the device.
x_gets() { printf 'GET / HTTP/1.0\r\n\r\n' | TMP=$TMP GW_PORT=$GW_PORT timeout 20 bash -c "$(declare -f client_at); client_at \"\$@\"" - "$1" x -W "[$A]:81" 2>/dev/null | grep -q one; }

# ---- without the registry ----
# PostgreSQL is stopped for five minutes if CMX_LONG=1, otherwise for 10 s.
AWAY_S=$([ "${CMX_LONG:-}" = 1 ] && echo 300 || echo 10)
pg_stop shared immediate
STOPPED=$SECONDS
away() { gwn "$1" nodes --json | json_is '.registry_followed == false'; }
for n in 1 2 3; do wait_for 60 away $n || fail "node $n does not notice that the registry is away"; done
refused() { grep -q "registry in PostgreSQL can't be reached.*nothing was changed" "$TMP/away.err"; }
while :; do
    connected_at 1 cam-1 && connected_at 2 vms || fail "a session ended because the registry is away"
    for n in 1 2 3; do ! gwn $n grant vms cam-1 2>"$TMP/away.err" && refused || fail "node $n changes something without the registry: $(cat "$TMP/away.err")"; done
    reaches || fail "the device is not reachable without the registry"
    # Meanwhile devices log in and out on every gateway.
    for n in 1 2 3; do
        client_at $n e -N & F=$!; PIDS+=("$F")
        wait_for 20 connected_at $n cam-2 || fail "no login at node $n without the registry"
        kill "$F"; wait "$F" 2>/dev/null
        wait_for 20 gone_at $n cam-2 || fail "cam-2 stays at node $n"
    done
    for n in 1 2 3; do away $n || fail "node $n says that it follows the registry"; done
    [ $((SECONDS - STOPPED)) -lt "$AWAY_S" ] || break
done
equal "$(for n in 1 2 3; do gwn $n grant --json; done | jq -sc 'map(map([.consumer, .device, .port])) | unique | length')" 1 || fail "a change without the registry is in a copy"
ok "the registry is away for $((SECONDS - STOPPED)) s: sessions continue, logins succeed, changes fail"

# ---- without the registry: the link of each pair of gateways is cut in turn, and a device connects to both gateways ----
for pair in "1 2" "2 3" "3 1"; do
    a=${pair% *} b=${pair#* } other=$((6 - ${pair% *} - ${pair#* }))
    cable_cut "$a" "$b" && wait_for 20 neighbours "$a" 1 && wait_for 20 neighbours "$b" 1 || fail "the cut between $a and $b is not noticed"
    client_at "$b" d -N -R "[$A]:81:127.0.0.1:$ONE" & E=$!; PIDS+=("$E")
    wait_for 20 connected_at "$b" cam-1 && wait_for 20 route_is "$other" "$A" "$b" || fail "cut between $a and $b: without the registry, the newest claim does not win"
    connected_at "$a" cam-1 || fail "cut between $a and $b: there is only one session, so the checks prove nothing"
    # During the cut, the platform without a grant cannot reach the device through any gateway.
    for n in 1 2 3; do ! x_gets $n || fail "cut between $a and $b: node $n lets a platform without a grant reach the device"; done
    cable_repair "$a" "$b" || fail "the cable is not repaired"
    wait_for 40 gone_at "$a" cam-1 && connected_at "$b" cam-1 || fail "after the split between $a and $b, the older session continues"
    wait_for 20 route_is "$a" "$A" "$b" || fail "after the split, node $a does not know where the device is"
    for n in 1 2 3; do wait_for 30 neighbours $n 2 || fail "node $n is not linked after the split between $a and $b"; done
    wait_for 20 reaches || fail "the device is not reachable after the split between $a and $b"
    wait "$D" 2>/dev/null
    D=$E
done
# Node 3 writes its records to PostgreSQL after the others: the release of its old claim must not undo a newer claim.
followers=$(for p in $(descendants "${SERVE_PID[3]}"); do tr '\0' ' ' <"/proc/$p/cmdline" | grep -qE ' gateway (worker|follow) ' && echo "$p"; done)
[ "$(wc -w <<<"$followers")" = 2 ] && kill -STOP $followers || fail "node 3's worker and follower: $followers"
pg_start shared -c listen_addresses=127.0.0.1,$REGISTRY_ADDRESS
sent() { [ "$(pg_sql shared "SELECT node FROM cmxsafe.claim WHERE address = '$A'")" = gw1 ]; }
wait_for 40 sent || fail "node 1 does not send its claim"
kill -CONT $followers
for n in 1 2 3; do wait_for 40 is_held_by $n "$A" gw1 || fail "node $n: the claim made while the registry was away is lost"; done
back() { gwn "$1" nodes --json | json_is '.registry_followed'; }
for n in 1 2 3; do wait_for 40 back $n || fail "node $n does not follow the registry again"; done
ok "after a split between any two gateways only the newest claim remains"

# ---- a revocation while a gateway is cut off from the registry ----
client_at 3 e -N -R "[$(gwn 1 show cam-2 --json | jq -r .device.address)]:81:127.0.0.1:$ONE" & F=$!; PIDS+=("$F")
wait_for 20 connected_at 3 cam-2 || fail "cam-2 does not connect"
B=$(gwn 1 show cam-2 --json | jq -r .device.address)
on 3 ip route replace blackhole "$REGISTRY_ADDRESS/32" || fail "blackhole"
reach_b() { [ "$(on 2 ip netns exec cmxsafe curl -s -m 5 --interface "$V" "http://[$B]:81/" 2>/dev/null)" = one ]; }
wait_for 20 reach_b || fail "cam-2 is not reached"
gwn 1 revoke cam-2 >/dev/null || fail "revoke"
closed_b() { ! reach_b; }
wait_for 10 closed_b || fail "a revoked device is reached through a gateway that knows"
for _ in 1 2 3; do closed_b || fail "a revoked device is reached again"; done
on 3 ip route del blackhole "$REGISTRY_ADDRESS/32" && on 3 ip route replace "$REGISTRY_ADDRESS" via 10.9.2.3 dev eth0 onlink src 10.9.1.3 || fail "route"
wait_for 60 gone_at 3 cam-2 || fail "the revoked device stays after its gateway is connected again"
ok "a revocation takes effect at once at the gateways that it reaches, and at the others when it reaches them"

# ---- a gateway returns with an old copy ----
end_node 3
cp -a /var/lib/node3/gateway/registry.db "$TMP/old.db"
gwn 1 revoke cam-1 >/dev/null || fail "revoke"
cp -a "$TMP/old.db" /var/lib/node3/gateway/registry.db
on 3 "$BIN/cmxsafe" gateway serve 2>>"$TMP/node3.log" & SERVE_PID[3]=$!; PIDS+=("$!")
wait_for 30 gwn 3 status || fail "node 3 does not come up"
forgotten() { [ -n "$(sql /var/lib/node3/gateway/registry.db "SELECT revoked FROM device WHERE name = 'cam-1'")" ]; }
wait_for 30 forgotten || fail "an old copy is not brought up to date"
timeout 10 bash -c "$(declare -f client_at); TMP=$TMP GW_PORT=$GW_PORT; client_at 3 d -N" 2>/dev/null
gone_at 3 cam-1 || fail "an old copy lets a revoked device in"
ok "a gateway that returns with an old copy gets the changes that it missed"

# ---- a BIRD that hangs ----
kill -STOP $(descendants "${BIRD_PID[1]}") || fail "BIRD is not there"
gwn 1 enroll cam-3 --key "$TMP/y.pub" --ports 81 >"$TMP/hang.log" 2>&1 & HANG=$!; PIDS+=("$HANG")
ended() { ! kill -0 "$HANG" 2>/dev/null; }
wait_for 60 ended && wait "$HANG" || fail "while BIRD hangs, a command does not end: $(cat "$TMP/hang.log")"
kill -CONT $(descendants "${BIRD_PID[1]}")
for n in 1 2; do wait_for 40 neighbours $n 2 || fail "node $n is not linked after BIRD hung"; done
ok "while BIRD hangs, commands still end"

# ---- a gateway leaves ----
repairs() { gwn "$1" status --here --json | jq .counters.judge_repairs; }
declare -A BEFORE
for n in 1 2; do BEFORE[$n]=$(repairs $n); done
gwn 1 leave gw3 >/dev/null || fail "leave"
for n in 1 2; do wait_for 20 neighbours $n 1 || fail "node $n still talks to the gateway that left"; done
link_gone() { ! on "$1" ip -n cmxsafe link show cmxlink3; }
for n in 1 2; do wait_for 20 link_gone $n || fail "node $n keeps the link to the gateway that left"; done
two_left() { gwn "$1" nodes --json | json_is '[.nodes[].name] == ["gw1", "gw2"]'; }
for n in 1 2; do wait_for 20 two_left $n || fail "nodes: $(gwn $n nodes)"; done
# Afterwards the guard repairs a removed rule and nothing else.
rule_back() { [ -n "$(on "$1" ip -6 rule show pref 1129)" ]; }
for n in 1 2; do
    wait_for 20 rule_back $n && on $n ip -6 rule del pref 1129 || fail "the host's rule of node $n is missing"
    wait_for 20 rule_back $n || fail "the host's rule of node $n is not repaired"
    [ "$(repairs $n)" -le $((BEFORE[$n] + 1)) ] || fail "a gateway that leaves counts as a repair at node $n: $(grep repaired "$TMP/node$n.log")"
done
ok "a gateway leaves"

# The other gateways no longer accept the link key of the gateway that left. It may join again with the same key, because
# `join` needs a login as root at another gateway, and such a login gives more rights than the key.
KEY3=$(on 3 wg pubkey </var/lib/node3/gateway/link.key)
is_peer() { on "$1" ip netns exec cmxsafe wg show all peers | grep -qF "$KEY3"; }
for n in 1 2; do ! is_peer $n || fail "node $n accepts the key of a gateway that left"; done
join_node 3 1
for n in 1 2; do wait_for 40 is_peer $n && wait_for 60 neighbours $n 2 || fail "node $n is not linked to a gateway that joined again"; done
equal "$KEY3" "$(on 3 wg pubkey </var/lib/node3/gateway/link.key)" || fail "the key of the links has changed"
ok "a gateway that left joins again"
