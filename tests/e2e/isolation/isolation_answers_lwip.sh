#!/usr/bin/env bash
# With isolation in force, a device on lwIP still receives answers to its own requests: an address by DHCPv6 (real
# dnsmasq), and the time from a server that is configured by name. Transfers work over a path whose MTU is smaller than
# that of the link. Unsolicited messages are dropped.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../isolation_lib.sh"
command -v dnsmasq >/dev/null || skip "no dnsmasq"
[ -e /dev/net/tun ] || skip "no /dev/net/tun"

make_link
make_path
# On IPv4, packets between the device and `far` pass through the gateway's host in both directions.
in_ns gw bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects; echo 0 >/proc/sys/net/ipv4/conf/eth0/send_redirects'
ip -n "$NS-gw" route add 10.78.0.0/24 via 10.77.0.254
ip -n "$NS-rt" route add $D4 via $G4
ip -n "$NS-sw" tuntap add tap0 mode tap
ip -n "$NS-sw" link set tap0 master br0 up
SSHD_PORT=22 SSHD_ADDRESS=fd78::1 SSHD_PREFIX="ip netns exec $NS-far"
start_sshd <<<"ListenAddress 10.78.0.1"
wait_for 10 in_ns far bash -c "ss -Hltn 'sport = :22' | grep -q ." || fail "sshd does not listen"
# The router rt advertises only itself; the host gw assigns addresses.
bg rt dnsmasq -k -C /dev/null --port=0 --enable-ra --dhcp-range=fd77::,ra-only,64,600 --interface=eth0 --bind-interfaces --ra-param=eth0,4,600 \
    --user=root --pid-file= --log-facility="$TMP/ra.log" >/dev/null 2>&1
bg gw dnsmasq -k -C /dev/null --no-resolv --no-hosts --address=/time.test/$G4 --dhcp-range=fd77::100,fd77::1ff,64,10m --dhcp-authoritative \
    --interface=eth0 --bind-interfaces --dhcp-leasefile="$TMP/leases" --user=root --pid-file= --log-facility="$TMP/dhcp.log" >/dev/null 2>&1
for at in gw nb; do bg $at python3 "$ROOT/tests/support/link.py" time_server "$([ $at = gw ] && echo $G4 || echo $N4)"; done
wait_for 10 bash -c "for n in gw nb; do ip netns exec $NS-\$n ss -Hlun 'sport = :123' | grep -q . || exit 1; done" || fail "no time server"
wait_for 10 in_ns gw bash -c "ss -Hlun 'sport = :547' | grep -q ." || fail "no DHCPv6 server"

count() { tell status | jq -r ".isolation.packets[\"$1\"]"; }
is_up() { [ "$(in_ns far curl -s -m 5 http://localhost:9081/)" = hello ]; }

# First checks that each request is answered without isolation. If one is not answered later, isolation is the cause.
start_device fd78::1 open
wait_for 60 is_up || fail "the proxy does not work over the router"
[ "$(tell time $G4)" = answered ] && [ "$(tell time $N4)" = answered ] || fail "no time without isolation"
[[ "$(tell dhcp6)" = "bound fd77::1"* ]] || { cat "$TMP/dhcp.log"; fail "no DHCPv6 without isolation"; }
end_device

in_ns gw ip neigh flush dev eth0 # forces the server to resolve the device's address again
start_device fd78::1 quick
wait_for 60 is_up || { cat "$TMP/device.log"; fail "the proxy does not work"; }
DEVICE_MAC=$(in_ns rt ip -6 neigh | awk '/lladdr 02:32/ { for (i = 1; i < NF; i++) if ($i == "lladdr") print $(i + 1); exit }')
[ -n "$DEVICE_MAC" ] || { in_ns rt ip -6 neigh; fail "the router has no neighbour entry for the device"; }
[ "$(tell lookup time.test)" = found ] || fail "the time server's name is not looked up"
[ "$(tell time $G4)" = answered ] || fail "the time server does not answer"
[ "$(tell time $N4)" = silent ] || fail "a time server that is not configured answered"
[[ "$(tell dhcp6)" = "bound fd77::1"* ]] || { cat "$TMP/dhcp.log"; tell status; fail "DHCPv6 does not work"; }
[ "$(count dhcp6)" -ge 4 ] && [ "$(count sntp)" = 2 ] || { tell status; fail "the packets passed by another rule"; }
DEVICE_LL=$(python3 - "$DEVICE_MAC" <<'P'
import sys
m = [int(x, 16) for x in sys.argv[1].split(":")]
print("fe80::%02x%02x:%02xff:fe%02x:%02x%02x" % (m[0] ^ 2, m[1], m[2], m[3], m[4], m[5]))
P
)
refused() { echo $(($(count wrong-server) + $(count unasked))); }
R0=$(refused) P0=$(count dhcp6)
hostile offer6 "$DEVICE_LL" 0x333333 # with the transaction id of the device's own request, and with other ids
[ $(($(refused) - R0)) -ge 150 ] && [ "$(count dhcp6)" = "$P0" ] || { tell status; fail "rogue DHCPv6 messages were not refused"; }
ok "DHCPv6, the time and its server's name work, and unsolicited answers are dropped"

# Forged messages that would end the use of IPv6 until the next restart: another host claims the device's addresses, and a
# packet is too big for a path whose MTU no IPv6 link may have.
for address in $D6 "$DEVICE_LL"; do hostile claim "$address"; done
still_up() { in_ns far curl -s -m 5 http://localhost:9081/bulk | head -c 10000 | wc -c | grep -qx 10000; }
still_up || { tail -5 "$TMP/device.log"; fail "a claim of the device's address ends its session"; }
in_ns far curl -s -m 6 --limit-rate 100k http://localhost:9081/bulk >/dev/null &
in_ns sw python3 "$ROOT/tests/support/hostile.py" tap0 "$DEVICE_MAC" shrink 68 || fail "no segment of the device was captured"
wait $!
kill $(in_ns far ss -Htnp state established 'sport = :22' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u)
wait_for 90 still_up || { tail -5 "$TMP/device.log"; fail "after a forged message the device does not reach its gateway again"; }
ok "another host's claim of the device's address and a path MTU below 1,280 bytes are ignored"

# The path MTU is 1,280 bytes, which only the router knows. On IPv6 the device never sends larger packets; on IPv4 the
# router fragments.
bulk() { [ "$(in_ns far curl -s -m 25 http://localhost:9081/bulk | head -c 3000000 | wc -c)" = 3000000 ]; }
sessions() { grep -c 'session with .* up' "$TMP/device.log"; }
for far in "" 10.78.0.1; do
    [ -z "$far" ] || { end_device; : >"$TMP/device.log"; start_device $far quick; wait_for 60 is_up || { cat "$TMP/device.log"; fail "no session over IPv4"; }; }
    E0=$(count icmp-error) F0=$(count fragment) S0=$(sessions)
    wait_for 60 bulk || { tell status; tail -5 "$TMP/device.log"; fail "a transfer over a path with a smaller MTU stalls"; }
    [ "$(count icmp-error) $(count fragment) $(sessions)" = "$E0 $F0 $S0" ] || { tell status; fail "ICMP errors, fragments or sessions were counted during the transfer"; }
done
end_device
ok "a transfer over a path with a smaller MTU continues"
