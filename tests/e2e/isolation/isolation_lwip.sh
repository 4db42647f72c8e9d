#!/usr/bin/env bash
# A device on lwIP with isolation, on a link with a hostile neighbour: only the proxy works.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../isolation_lib.sh"
for tool in nmap tcpdump dnsmasq; do command -v $tool >/dev/null || skip "no $tool"; done
[ -e /dev/net/tun ] || skip "no /dev/net/tun"

make_link
for t in tap0 tap1; do
    ip -n "$NS-sw" tuntap add $t mode tap
    ip -n "$NS-sw" link set $t master br0 up
done

SSHD_PORT=22 SSHD_ADDRESS=$G4 SSHD_PREFIX="ip netns exec $NS-gw"
start_sshd <<<"ListenAddress $G6
ListenAddress 10.77.0.2"
in_ns gw ip addr add 10.77.0.2/24 dev eth0
wait_for 10 in_ns gw bash -c "ss -Hltn 'sport = :22' | grep -q ." || fail "sshd does not listen"
start_dns() { # start_dns ADDRESS: starts a name and DHCP server that resolves gw.test to ADDRESS
    bg gw dnsmasq -k -C /dev/null --no-resolv --no-hosts --log-queries --log-facility="$TMP/dns.log" --address="/gw.test/$1" \
        --address=/other.test/10.77.0.9 --bind-interfaces --interface=eth0 --pid-file= --dhcp-range=10.77.0.5,10.77.0.5,2m \
        --dhcp-authoritative --no-ping --dhcp-leasefile="$TMP/leases" --user=root --enable-ra --dhcp-range=fd77::,ra-only,64,600 \
        --ra-param=eth0,4,600 >/dev/null 2>&1
    DNS=$!
    wait_for 10 in_ns gw bash -c "ss -Hlun 'sport = :53' | grep -q ." || fail "dnsmasq does not listen"
}
mkdir "$TMP/www"; echo broker >"$TMP/www/index.html"
bg gw python3 -m http.server -d "$TMP/www" --bind 127.0.0.1 8083 >/dev/null 2>&1
wait_for 20 in_ns gw bash -c "ss -Hltn 'sport = :8083' | grep -q ." || fail "the broker does not start"
start_dns $G4 || fail "dnsmasq does not start"

# ---- the device; commands go to its tasks ----
status() { tell status | jq -r "$1"; }
sessions() { in_ns gw ss -Htn state established 'sport = :22' | awk '{print $4}'; }
fetch() { in_ns gw curl -s -m 30 http://localhost:9081/; }
is_up() { [ "$(fetch)" = hello ]; }

# First checks that every request succeeds without isolation. If one fails later, isolation is the cause.
start_device $G4 open
wait_for 30 is_up || fail "the proxy does not work without isolation"
DEVICE_MAC=02:32:$(printf '%s' tap0 | python3 -c '
import sys
h = 2166136261
for b in sys.stdin.buffer.read(): h = (h ^ b) * 16777619 & 0xffffffff
print(":".join("%02x" % (h >> (8 * i) & 255) for i in range(4)))')
in_ns nb ping -c1 -W2 $D4 >/dev/null || fail "no ping without isolation"
in_ns nb ip neigh show $D4 | grep -q "$DEVICE_MAC" || fail "the hardware address is not $DEVICE_MAC"
[ "$(in_ns nb curl -s -m 5 http://$D4:80/)" = open ] || fail "the page is not open without isolation"
[ "$(tell tcp 127.0.0.1 80)" = connected ] && [ "$(tell tcp $D4 80)" = connected ] || fail "no loopback without isolation"
[ "$(tell as anyone fetch 127.0.0.1 1883)" = broker ] || fail "the direct context does not serve without isolation"
[ "$(tell tcp $G4 22)" = connected ] && [ "$(tell lookup other.test)" = found ] && [ "$(tell ping $G4)" = answered ] ||
    fail "no outgoing connections without isolation"
CAPTURE_AT=tap1 capture "$TMP/first.pcap" "ether src 02:00:00:00:07:07 and udp port 4444"
[ "$(tell netif tap1 10.77.0.6)" = added ] || fail "no second interface"
first_seen() { [ "$(frames_in "$TMP/first.pcap")" = 1 ]; }
wait_for 10 first_seen || fail "the first datagram of a new interface is not captured without isolation"
stop_capture
end_device
ok "without isolation everything is open"

# If isolation cannot be installed completely, no packet reaches or leaves the device. A later request completes the
# installation.
start_device $G4 no-memory
grep -q 'NOT ISOLATED' "$TMP/device.log" || fail "the missing isolation is not logged"
[ "$(status .isolation.active)" = false ] || fail "isolation without memory is reported as active"
! in_ns nb curl -s -m 3 http://$D4:80/ && ! in_ns nb ping -c1 -W2 $D4 >/dev/null || fail "without memory for isolation the device is open"
[ "$(tell tcp $G4 22)" = failed ] || fail "without memory for isolation a task reaches the network"
[ "$(tell isolate)" = isolated ] && [ "$(tell tcp 127.0.0.1 80)" = failed ] || fail "isolation is not completed"
end_device
: >"$TMP/device.log"
ok "isolation that can't be installed completely lets nothing pass"

start_device gw.test
wait_for 30 is_up || { cat "$TMP/device.log"; tell status; fail "the proxy does not work"; }
ok "the proxy works, with the gateway found by name"

S0=$(sessions)
attack_from_outside 80

# ---- attacks on the link's own protocols ----
[ "$(tell dhcp)" = "bound $D4" ] || { tell status; fail "DHCP does not work"; }
hostile offer $D4 0x1111
hostile offer $D4 0x2222
[ "$(tell renew)" = "bound $D4" ] || fail "the lease is not renewed"
in_ns nb dnsmasq --version >/dev/null
hostile arp $G4 $D4
hostile redirect $G4 $D4
hostile redirect $G6 $D6
hostile advertise $G6 $D6
[ "$(fetch)" = hello ] && [ "$(sessions)" = "$S0" ] || fail "the session did not survive"
for n in nb gw; do in_ns $n ip neigh del $D4 dev eth0; in_ns $n ip neigh del $D6 dev eth0; done 2>/dev/null
! in_ns nb ping -c1 -W1 $D4 >/dev/null || fail "ping is answered"
! in_ns nb ping -c1 -W1 $D6 >/dev/null || fail "ping is answered, IPv6"
prints_no lladdr in_ns nb ip neigh show $D4 || fail "ARP is answered"
prints_no lladdr in_ns nb ip neigh show $D6 || fail "neighbour discovery is answered"
[ "$(fetch)" = hello ] || fail "the gateway's neighbour entry of the device was replaced"
R_LL=$(in_ns gw ip -6 -o addr show dev eth0 scope link | awk '{print $4}' | cut -d/ -f1)
[ "$(status '.isolation.packets.nd > 0')" = true ] || fail "the router's advertisement was dropped"
W0=$(status '.isolation.packets["wrong-server"]')
hostile advert
hostile withdraw "$R_LL"
refused() { [ "$(status '.isolation.packets["wrong-server"]')" -ge $((W0 + 10)) ]; }
wait_for 10 refused || { tell status; fail "a rogue router was accepted"; }
[ "$(fetch)" = hello ] && [ "$(sessions)" = "$S0" ] || fail "the session did not survive"
ok "ARP, neighbour and router discovery, redirects, DHCP: the lease is renewed, and traffic cannot be diverted"

# ---- tasks ----
for to in "tcp 127.0.0.1 80" "tcp 127.0.0.1 81" "tcp $D4 80" "tcp $D4 81" "tcp $G4 22" "tcp $G4 53" "tcp $G6 22" "tcp $N4 80"; do
    [ "$(tell "$to")" = failed ] || fail "a task could: $to"
done
for to in "udp $G4 53" "udp 127.0.0.1 5353" "udp $D4 5353" "udp $N4 9" "ping $G4"; do
    [ "$(tell "$to")" = silent ] || fail "a task could: $to"
done
before=$(grep -c 'query.*other.test' "$TMP/dns.log")
[ "$(tell lookup other.test)" = nothing ] && [ "$(tell lookup gw.test)" = nothing ] || fail "a task can look up a name"
equal "$(grep -c 'query.*other.test' "$TMP/dns.log")" "$before" || fail "the query left"
[ "$(fetch)" = hello ] || fail "the proxy stopped working"
# A direct context serves only the tasks that it is declared for, identified by the first 15 characters of their names.
for _ in 1 2 3; do
    for task in mqtt_client_wit mqtt_client_with_a_long_name other; do
        [ "$(tell as $task fetch 127.0.0.1 1883)" = broker ] || { tell status; fail "$task does not reach its broker"; }
    done
    for task in mqtt_client othe others anyone; do
        [ "$(tell as $task fetch 127.0.0.1 1883)" = nothing ] && [ "$(tell as $task tcp 127.0.0.1 1883)" = failed ] || fail "$task reached a broker without being declared"
    done
done
[ "$(tell tcp $D4 1883)" = failed ] && [ "$(tell as other tcp $D4 1883)" = failed ] || fail "the listener can be reached at the device's address"
wait_for 10 grep -q 'refused: task mqtt_client may not connect' "$TMP/device.log" || fail "a refused task is not logged"
[ "$(status '.sessions_up > 0 and .relays_opened > 0')" = true ] || { tell status; fail "the application's hooks are not called"; }
ok "tasks reach no host and no other task and cannot look up names; the proxy continues"

# ---- changes ----
CAPTURE_AT=tap1 capture "$TMP/second.pcap" "ether src 02:00:00:00:07:07"
[ "$(tell netif tap1 10.77.0.6)" = added ] || fail "no second interface"
announced() { tcpdump -nn -r "$TMP/second.pcap" arp 2>/dev/null | grep -q 10.77.0.6; } # isolation permits these packets from the start
wait_for 10 announced || fail "a new interface does not announce its address"
stop_capture
[ "$(tcpdump -nn -r "$TMP/second.pcap" udp 2>/dev/null | wc -l)" = 0 ] || fail "the first datagram of a new interface passed"
MAC1=$DEVICE_MAC
DEVICE_MAC=02:00:00:00:07:07
scan nb 10.77.0.6
DEVICE_MAC=$MAC1
[ "$(tell tcp $N4 80)" = failed ] || fail "a connection over the second interface succeeds"
ok "an interface that appears later is closed as well"

stop "$DNS"
start_dns 10.77.0.2 || fail "dnsmasq does not start again"
stop "$SSHD_PID"
for p in $(in_ns gw ss -Htnp state established 'sport = :22' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u); do kill "$p"; done
sed -i 's/^ListenAddress .*/ListenAddress 10.77.0.2/' "$TMP/sshd_config"
bg gw /usr/sbin/sshd -D -e -f "$TMP/sshd_config" >>"$TMP/sshd.log" 2>&1
moved() { in_ns gw ss -Htn state established 'sport = :22' | grep -q 10.77.0.2 && is_up; }
wait_for 90 moved || { cat "$TMP/device.log" | tail -20; fail "does not connect to the gateway's new address"; }
only_open_flows() { [ "$(status .isolation.flows)" -le 2 ]; } # the session and the broker's listener
wait_for 20 only_open_flows || { tell status; fail "flows of ended connections remain"; }
ok "the gateway's new address is permitted; ended connections leave no flow"
[ "$(grep -c 'isolation: dropped' "$TMP/device.log")" -lt 300 ] || fail "the log of drops is not bounded"
wait_for 10 grep -q 'isolation: dropped in: no-flow' "$TMP/device.log" || fail "drops are not logged"
end_device
