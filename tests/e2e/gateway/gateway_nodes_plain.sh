#!/usr/bin/env bash
# Two gateways with plain links (VXLAN over an interface that the operator chooses) follow the same rules as gateways with
# WireGuard. All links of a fleet are of the same kind.
. "$(dirname "$0")/../nodes_lib.sh"
# The interface of the cable between the two is called plain0 on both gateways.
eval "made_$(declare -f cable)"
cable() {
    local a b
    made_cable "$@"
    [ "$1 $2" = "1 2" ] || return 0
    for a in 1 2; do
        b=$((3 - a))
        on $a ip link set "to$b" down && on $a ip link set "to$b" name plain0 && on $a ip link set plain0 up && on $a ip route replace "10.9.0.$b" dev plain0 src "10.9.0.$a" || fail "plain0"
    done
}
JOIN_OPTIONS="--interface plain0"
fleet_of 1 2
# BIRD, as root, gives its control socket owner and mode by its name, so only root may put a file there.
for n in 1 2; do
    socket=/var/lib/node$n/gateway/bird/ctl
    on $n test -S $socket && ! on $n setpriv --reuid cmxsafe-gw --regid cmxsafe-gw --clear-groups mv $socket $socket.away 2>/dev/null && on $n test -S $socket ||
        fail "the gateway's account can replace BIRD's control socket"
done
key d; key p; key x
gwn 1 enroll cam-1 --key "$TMP/d.pub" --ports 81 >/dev/null && gwn 1 platform vms --key "$TMP/p.pub" >/dev/null && gwn 1 grant vms cam-1:81 >/dev/null &&
    gwn 1 grant user:1234 cam-1:81 >/dev/null || fail "enroll"
A=$(gwn 1 show cam-1 --json | jq -r .device.address)
V=$(gwn 1 whois vms --json | jq -r .address)
for n in 1 2; do
    on $n ip -n cmxsafe -d link show "cmxlink$((3 - n))" | grep -q vxlan || fail "the link of node $n is not VXLAN"
    [ ! -e /var/lib/node$n/gateway/link.key ] || fail "node $n has a WireGuard key"
done
gwn 1 nodes --json | json_is '[.nodes[].links] == ["plain", "plain"]' || fail "nodes: $(gwn 1 nodes --json)"
web one
client_at 2 d -N -R "[$A]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 60 connected_at 2 cam-1 && wait_for 20 route_is 1 "$A" 2 || fail "cam-1 does not connect"
client_at 1 p -N -L "127.0.0.1:$(free_port):[$A]:81" & PIDS+=("$!")
wait_for 60 connected_at 1 vms && wait_for 20 route_is 2 "$V" 1 || fail "vms does not connect"
reach() { [ "$(on "$1" ip netns exec cmxsafe curl -s -m 5 --interface "$V" "http://[$A]:81/" 2>/dev/null)" = one ]; }
wait_for 20 reach 1 || fail "a platform at node 1 does not reach the device at node 2"
user_gets() { [ "$(on 1 setpriv --reuid "$1" --regid "$1" --clear-groups curl -s -m 5 "http://[$A]:81/" 2>/dev/null)" = one ]; }
wait_for 20 user_gets 1234 || fail "a local user of node 1 does not reach the device at node 2"
! user_gets 1235 || fail "reached without a grant"
! reach 2 || fail "node 2 sends with an identity that node 1 holds"
ok "plain links follow the same rules for devices, platforms and local users as WireGuard links"

machine 3
cable 1 3
entry 3
# A gateway cannot join with another kind of link.
! on 3 env PATH="$TMP/ssh:$PATH" "$BIN/cmxsafe" gateway join --from 10.9.0.1 --name gw3 --host 10.9.1.3 2>"$TMP/join.err" || fail "a gateway joins with another kind of link"
grep -q "the fleet's links are plain; name their interface with --interface" "$TMP/join.err" || fail "the message is not clear: $(cat "$TMP/join.err")"
[ ! -e /var/lib/node3/gateway/registry.db ] || fail "a failed join leaves a gateway"
ok "another kind of link is refused"

# The output of another gateway over SSH is printed without control characters, and its length is bounded.
mkdir "$TMP/evil" && printf '#!/bin/sh\nprintf "\\033]0;x\\007no\\n" >&2\nexec cat /dev/zero\n' >"$TMP/evil/ssh" && chmod 755 "$TMP/evil/ssh" || fail "ssh"
! on 3 env PATH="$TMP/evil:$PATH" timeout 120 "$BIN/cmxsafe" gateway join --from 10.9.0.1 --name gw3 2>"$TMP/join.err" || fail "joined a gateway that gives zeros"
grep -q "join failed: 10.9.0.1 sent no settings" "$TMP/join.err" && grep -q '^?]0;x?no$' "$TMP/join.err" && ! LC_ALL=C grep '[^[:print:]]' "$TMP/join.err" || fail "the errors: $(cat -v "$TMP/join.err")"
[ ! -e /var/lib/node3/gateway/hostkey_ed25519 ] || fail "a failed join leaves a key"
ok "the other gateway's output during a join is bounded, and has no control characters"
for n in 1 2; do no_sanitizer_report "$TMP/node$n.log" || fail "a sanitizer complains"; done
