#!/usr/bin/env bash
# A gateway of a fleet gets another address, as docs/GATEWAY.md describes: it joins again, and the links lead to the new
# address. Its name and number stay. Without WireGuard in the kernel, the links are also made if wireguard-go starts
# slowly, as on a busy machine.
. "$(dirname "$0")/../nodes_lib.sh"
if command -v strace >/dev/null && command -v wireguard-go >/dev/null; then
    mkdir "$TMP/path" && printf '#!/bin/sh\nexec strace -D -f -qq -o /dev/null -e trace=execve -e inject=execve:delay_exit=1000000 %s "$@"\n' "$(command -v wireguard-go)" >"$TMP/path/wireguard-go" &&
        chmod 755 "$TMP/path/wireguard-go" && PATH=$TMP/path:$PATH || fail "a wireguard-go that starts slowly"
else
    skip_part "a wireguard-go that starts slowly: no strace or no wireguard-go"
fi
fleet_of 1 2
node2() { gwn "$1" nodes --json | jq -c '.nodes[] | select(.name == "gw2") | [.number, .address]'; }
equal "$(node2 1)" '[2,"10.9.0.2"]' || fail "before: $(gwn 1 nodes --json)"
on 2 ip address add 10.9.0.22/32 dev lo && on 2 ip route replace 10.9.0.1 dev to1 src 10.9.0.22 && on 2 ip address del 10.9.0.2/32 dev lo &&
    on 1 ip route replace 10.9.0.22 dev to2 src 10.9.0.1 && on 1 ip route del 10.9.0.2 || fail "the new address"
on 2 env PATH="$TMP/ssh:$PATH" "$BIN/cmxsafe" gateway join --from 10.9.0.1 >"$TMP/again.log" 2>&1 || fail "join again: $(cat "$TMP/again.log")"
linked() { [ "$(on 1 ip netns exec cmxsafe wg show all endpoints | grep -c '	10\.9\.0\.22:')" = 1 ] && neighbours 1 1 && neighbours 2 1; }
wait_for 40 linked || fail "the link does not lead to the new address: $(on 1 ip netns exec cmxsafe wg show)"
moved() { equal "$(node2 "$1")" '[2,"10.9.0.22"]'; } # WireGuard may learn the address before the registry's change arrives
for n in 1 2; do wait_for 20 moved $n || fail "node $n: $(gwn $n nodes --json)"; done
key a
gwn 1 enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
(client_at 2 a -N) & PIDS+=("$!")
wait_for 30 connected_at 2 cam-17 || fail "no login at the gateway with the new address"
A=$(gwn 1 show cam-17 --json | jq -r .device.address)
wait_for 20 route_is 1 "$A" 2 || fail "the other gateway does not find the device"
ok "a gateway with another address joins again, and its devices are reached"
