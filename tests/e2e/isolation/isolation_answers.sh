#!/usr/bin/env bash
# With isolation in force, the agent's machine still receives answers to its own requests: an address by DHCPv6 (real
# dnsmasq), the time, and the path MTU that a router reports (without it, transfers would stall). Unsolicited messages
# are dropped.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../isolation_lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
for tool in nft dnsmasq; do command -v $tool >/dev/null || skip "no $tool"; done

make_link
new_host dev $D4 $D6
make_path
DEVICE_MAC=$(mac_of dev)
ip -n "$NS-dev" route add default via 10.77.0.254
ip -n "$NS-dev" -6 route add default via fd77::fe
link() { local n=$1; shift; in_ns "$n" python3 "$ROOT/tests/support/link.py" "$@"; }

SSHD_PORT=22 SSHD_ADDRESS=10.78.0.1 SSHD_PREFIX="ip netns exec $NS-far"
start_sshd <<<"ListenAddress fd78::1"
wait_for 10 in_ns far bash -c "ss -Hltn 'sport = :22' | grep -c . | grep -q 2" || fail "sshd does not listen"
bg gw dnsmasq -k -C /dev/null --port=0 --dhcp-range=fd77::100,fd77::1ff,64,10m --dhcp-authoritative --interface=eth0 --bind-interfaces \
    --dhcp-leasefile="$TMP/leases" --user=root --pid-file= --log-facility="$TMP/dhcp.log" >/dev/null 2>&1
for at in gw nb; do bg $at python3 "$ROOT/tests/support/link.py" time_server "$([ $at = gw ] && echo $G4 || echo $N4)"; done
wait_for 10 bash -c "for n in gw nb; do ip netns exec $NS-\$n ss -Hlun 'sport = :123' | grep -q . || exit 1; done" || fail "no time server"
wait_for 10 in_ns gw bash -c "ss -Hlun 'sport = :547' | grep -q ." || fail "no DHCPv6 server"
mkdir "$TMP/www"; head -c 3000000 /dev/urandom >"$TMP/www/bulk"
bg dev python3 -m http.server -d "$TMP/www" --bind 127.0.0.1 8081 >/dev/null 2>&1
wait_for 20 in_ns dev bash -c "ss -Hltn 'sport = :8081' | grep -q ." || fail "the service does not start"

# First checks that each request is answered without isolation. If one is not answered later, isolation is the cause.
[ "$(link dev time $G4)" = time ] && [ "$(link dev time $N4)" = time ] || fail "no time without isolation"
[[ "$(link dev dhcp6 eth0 0x1111)" = "bound fd77::1"* ]] || { cat "$TMP/dhcp.log"; fail "no DHCPv6 without isolation"; }
DEVICE_LL=$(in_ns dev ip -6 -o addr show dev eth0 scope link | awk '{print $4}' | cut -d/ -f1)
listen() { # listen SECONDS: prints whether an unsolicited message is received
    link dev dhcp6_listen eth0 "$1" >"$TMP/heard" &
    local job=$!
    wait_for 10 grep -q listening "$TMP/heard" || fail "does not listen"
    hostile offer6 "$DEVICE_LL" 0x1111
    wait "$job"
    tail -n 1 "$TMP/heard"
}
[ "$(listen 60)" = heard ] || fail "a rogue DHCPv6 message is not heard without isolation"

start() { # start GATEWAY: starts the agent, whose gateway is at GATEWAY
    {
        gateway_section | sed "s/^host = .*/host = $1/"
        printf '[isolation]\nenabled = yes\ntime_servers = %s\n' $G4
        reverse web 8081 9081
    } >"$CONF"
    bg dev "$BIN/cmxsafed" -c "$CONF" 2>>"$AGENT_LOG"
    AGENT=$!
    wait_up
}
transfer() { in_ns far curl -s -m 60 http://localhost:9081/bulk | cmp -s - "$TMP/www/bulk"; }

start 10.78.0.1
[ "$(link dev time $G4)" = time ] || fail "the time server does not answer"
[ "$(link dev time $N4)" = silent ] || fail "a time server that is not configured answered"
in_ns gw ip neigh flush dev eth0 # forces the server to resolve the machine's address again
[[ "$(link dev dhcp6 eth0 0x2222)" = "bound fd77::1"* ]] || { cat "$TMP/dhcp.log"; fail "DHCPv6 does not work"; }
[ "$(listen 6)" = silent ] || fail "a rogue DHCPv6 message was heard"
ok "DHCPv6 and the time work, and unsolicited answers are dropped"

for to in 10.78.0.1 fd78::1; do
    [ $to = 10.78.0.1 ] || { end_agent; start $to; }
    before=$(field .modules.isolation.packets.icmp_error)
    transfer || fail "a transfer to $to over a path with a smaller MTU stalls"
    [ "$(field .modules.isolation.packets.icmp_error)" -gt "$before" ] || { json; fail "$to: the router sent no ICMP error"; }
    in_ns dev ip route get $to | grep -q 'mtu 1280' || { in_ns dev ip route get $to; fail "$to: the path's MTU was not learned"; }
done
ok "the path MTU is learned from the router, IPv4 and IPv6"
end_agent
