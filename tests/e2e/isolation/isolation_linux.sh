#!/usr/bin/env bash
# The agent with nftables isolation, on a link with a hostile neighbour: only the proxies work.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../isolation_lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
for tool in nft nmap tcpdump dnsmasq setpriv; do command -v $tool >/dev/null || skip "no $tool"; done

make_link
new_host dev $D4 $D6
DEVICE_MAC=$(mac_of dev)
AGENT_UID=65534 # the user nobody

# ---- the gateway: sshd, and a name server ----
SSHD_PORT=22 SSHD_ADDRESS=$G4 SSHD_PREFIX="ip netns exec $NS-gw"
start_sshd <<<"ListenAddress $G6"
wait_for 10 in_ns gw bash -c "ss -Hltn 'sport = :22' | grep -q ." || fail "sshd does not listen"
start_dns() { # start_dns ADDRESS: starts a name server that resolves gw.test to ADDRESS
    bg gw dnsmasq -k -C /dev/null --no-resolv --no-hosts --log-queries --log-facility="$TMP/dns.log" --address="/gw.test/$1" \
        --bind-interfaces --interface=eth0 --pid-file= >/dev/null 2>&1
    DNS=$!
    wait_for 10 in_ns gw bash -c "ss -Hlun 'sport = :53' | grep -q ." || fail "dnsmasq does not listen"
}
start_dns $G4 || fail "dnsmasq does not start"

# ---- the device: a proxied service, another service, and the agent under its own user ----
mkdir "$TMP/www"; echo hello >"$TMP/www/index.html"
bg dev python3 -m http.server -d "$TMP/www" --bind 127.0.0.1 8081 >/dev/null 2>&1
bg dev python3 -m http.server -d "$TMP/www" --bind :: 8082 >/dev/null 2>&1
bg gw python3 -m http.server -d "$TMP/www" --bind 127.0.0.1 8083 >/dev/null 2>&1
wait_for 20 in_ns dev bash -c "ss -Hltn 'sport = :8081 or sport = :8082' | grep -c . | grep -q 2" || fail "services do not start"
echo "nameserver $G4" >"$TMP/resolv.conf"
chown -R $AGENT_UID "$RUN" "$KEY"
{
    AGENT_LINES='confine = required' gateway_section | sed 's/^host = .*/host = gw.test/'
    printf '[isolation]\nenabled = yes\nresolvers = %s\n' $G4
    reverse web 8081 9081
    reverse idle 8085 9085 # a context whose service does not run
    reverse chained 9083 9086 # leads to the listener of the context broker
    printf '[context broker]\ndirection = direct\nlocal_port = 9083\nremote_host = 127.0.0.1\nremote_port = 8083\nusers = daemon\n'
} >"$CONF"
chmod 644 "$CONF"; chmod o+rx "$TMP"

# Without the capability CAP_NET_ADMIN, the agent must refuse to start: failing to install isolation is an error.
as_agent() { # as_agent CAPABILITY-OPTIONS... -- COMMAND: runs COMMAND as the agent's user
    local o=()
    while [ "$1" != -- ]; do o+=("$1"); shift; done
    shift
    ${EXEC:-} ip netns exec "$NS-dev" unshare -m bash -c 'mount --bind "$1" /etc/resolv.conf; shift; exec "$@"' _ "$TMP/resolv.conf" \
        setpriv --reuid=$AGENT_UID --regid=65534 --clear-groups "${o[@]}" "$@"
}
as_agent --inh-caps=-all -- "$BIN/cmxsafed" -c "$CONF" >"$TMP/refused.out" 2>&1 && fail "started without being able to isolate"
grep -q CAP_NET_ADMIN "$TMP/refused.out" && lacks 'must be root' "$TMP/refused.out" || { cat "$TMP/refused.out"; fail "does not say what is missing"; }
prints_no . in_ns gw ss -Htn state established 'sport = :22' || fail "a session is open without isolation"
ok "an agent that cannot install isolation does not start"

EXEC=exec as_agent --inh-caps=+net_admin --ambient-caps=+net_admin -- "$BIN/cmxsafed" -c "$CONF" >>"$AGENT_LOG" 2>&1 &
AGENT=$!; PIDS+=("$AGENT")
wait_up
fetch() { in_ns gw curl -s -m 10 http://localhost:9081/; }
[ "$(fetch)" = hello ] || fail "the proxied service is not reachable"
ok "the proxy works, with the gateway found by name"

# ---- ARP and neighbour discovery: unsolicited replies arrive soon after the answer to the device's request ----
for _ in 1 2 3; do
    in_ns dev ip neigh flush dev eth0
    [ "$(fetch)" = hello ] || fail "the service is not reachable with an empty neighbour table"
    sleep 1.2 # the kernel ignores further replies for a second (locktime)
    hostile arp $G4 $D4
    hostile advertise $G6 $D6
    in_ns dev ip neigh show $G4 | grep -q "$(mac_of gw)" || { in_ns dev ip neigh; fail "an unsolicited reply replaced the gateway's hardware address"; }
done
prints_no "$(mac_of nb)" in_ns dev nft list set arp cmxsafe peers || fail "the neighbour's hardware address was learned as the gateway's"
ok "a second answer to the same request is dropped"

# ---- attacks from outside ----
sessions() { context web .sessions; }
S0=$(sessions)
attack_from_outside 8082

# ---- attacks on the link's own protocols ----
in_ns dev ip neigh show $G4 | grep -q "$(mac_of gw)" || fail "no neighbour entry for the gateway"
hostile arp $G4 $D4
in_ns dev ip neigh show $G4 | grep -q "$(mac_of gw)" || { in_ns dev ip neigh; fail "ARP was poisoned"; }
prints_no 'lladdr 02:01' in_ns dev ip neigh || fail "an ARP flood fills the table"
hostile redirect $G4 $D4
hostile redirect $G6 $D6
hostile offer $D4 0x1234
prints_no via in_ns dev ip route get $G4 || fail "a redirect was followed"
[ "$(fetch)" = hello ] && [ "$(sessions)" = "$S0" ] || fail "the session did not survive"
# The device does not answer ARP or neighbour discovery from a host that it does not need.
in_ns nb ip neigh del $D4 dev eth0; in_ns nb ip neigh del $D6 dev eth0
! in_ns nb bash -c "ip neigh flush dev eth0; ping -c1 -W1 $D4 || ping -c1 -W1 $D6" >/dev/null 2>&1 || fail "ping is answered"
in_ns gw ip neigh del $D4 dev eth0; in_ns gw ip neigh del $D6 dev eth0
prints_no lladdr in_ns nb ip neigh show $D4 || fail "ARP is answered"
prints_no lladdr in_ns nb ip neigh show $D6 || fail "neighbour discovery is answered"
# The device keeps its first router.
in_ns dev bash -c "echo 2 >/proc/sys/net/ipv6/conf/eth0/accept_ra"
R_LL=$(in_ns gw ip -6 -o addr show dev eth0 scope link | awk '{print $4}' | cut -d/ -f1)
bg gw dnsmasq -k -C /dev/null --port=0 --enable-ra --dhcp-range=fd77::,ra-only,64,600 --interface=eth0 --bind-interfaces \
    --ra-param=eth0,4,600 --pid-file= --log-facility="$TMP/ra.log" >/dev/null 2>&1
wait_for 20 in_ns dev bash -c "ip -6 route | grep -q 'default via $R_LL'" || { in_ns dev ip -6 route; fail "the router is not learned"; }
hostile advert
hostile withdraw "$R_LL"
sleep 0.5
in_ns dev ip -6 route | grep -q "default via $R_LL" || fail "another host's advertisement removed the router"
[ "$(in_ns dev ip -6 route | grep -c '^default')" = 1 ] || { in_ns dev ip -6 route; fail "a rogue router was accepted"; }
prints_no 2001:db8:bad in_ns dev ip -6 addr || fail "a rogue prefix was accepted"
ok "ARP, neighbour and router discovery, redirects, DHCP offers: traffic cannot be diverted"

# A reload installs a new ruleset that keeps the addresses that the old one learned; the session continues.
knows() { # knows FAMILY SET: prints the elements of the set, without their timeouts
    in_ns dev nft list set "$1" cmxsafe "$2" | tr -d '\n' | grep -o 'elements = {.*' | sed -E 's/ (timeout|expires) [0-9a-z]+//g; s/[[:space:]]+/ /g'
}
B_ROUTERS=$(knows inet routers) B_PEERS=$(knows inet nd_peers) B_ARP=$(knows arp peers)
[ -n "$B_ROUTERS" ] && [ -n "$B_PEERS" ] && [ -n "$B_ARP" ] || fail "the ruleset's sets are empty"
BEFORE=$(in_ns dev nft -a list table inet cmxsafe | head -1)
kill -HUP "$AGENT"
replaced() { differ "$(in_ns dev nft -a list table inet cmxsafe | head -1)" "$BEFORE"; }
wait_for 20 replaced || fail "the reload installs no new ruleset"
[ "$(knows inet routers)" = "$B_ROUTERS" ] || { in_ns dev nft list set inet cmxsafe routers; echo "was: $B_ROUTERS"; fail "the reload lost the router"; }
[ "$(knows inet nd_peers)" = "$B_PEERS" ] && [ "$(knows arp peers)" = "$B_ARP" ] || fail "the reload lost the neighbours"
port=$(in_ns dev ss -Htn state established 'dport = :22' | awk '{print $3}' | sed 's/.*://' | head -1)
knows inet sessions4 | grep -q "$D4 . $port . $G4 . 22" || { in_ns dev nft list set inet cmxsafe sessions4; fail "the reload lost the session"; }
[ "$(fetch)" = hello ] && [ "$(sessions)" = "$S0" ] || fail "the session did not survive the reload"
ok "after a reload the router, the neighbours and the session are still known"

# ---- from inside: other users try to reach the network ----
quiet() { "$@" >/dev/null 2>&1; }
! quiet in_ns dev curl -s -m 2 http://127.0.0.1:8081/ || fail "another user reached a context's service"
! quiet in_ns dev curl -s -m 2 http://127.0.0.1:8082/ || fail "a program reached another over loopback"
! quiet in_ns dev curl -s -m 2 "http://$D4:8082/" || fail "a program reached another at the machine's own address"
! quiet in_ns dev curl -s -m 2 "http://[::1]:8082/" || fail "a program reached another over loopback, IPv6"
! quiet in_ns dev nc -w 2 $G4 22 </dev/null || fail "another user reached the gateway"
! quiet in_ns dev timeout 2 bash -c "exec 3<>/dev/tcp/$N4/80" || fail "a program opened a TCP connection to the network"
! in_ns dev bash -c "echo x >/dev/udp/$N4/9999" 2>/dev/null || fail "a program sent a datagram to the network"
in_ns dev python3 - $G4 <<'P' && fail "a raw name look-up was sent"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
s.sendto(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\2gw\4test\0\0\1\0\1", (sys.argv[1], 53)); s.recv(512)
P
! quiet in_ns dev ping -c1 -W1 $G4 || fail "ping was sent"
in_ns dev python3 - 2>/dev/null <<'P' && fail "a connection from a service's own port succeeds"
import socket
s = socket.socket(); s.bind(("127.0.0.1", 8085)); s.settimeout(2); s.connect(("127.0.0.1", 8082))
P
! quiet in_ns dev curl -s -m 2 http://127.0.0.1:9083/ || fail "a direct context serves a user that it is not declared for"
[ "$(in_ns dev setpriv --reuid=daemon --clear-groups curl -s -m 5 http://127.0.0.1:9083/)" = hello ] || fail "the direct context does not serve its user"
ok "other users reach no host, no other user and no context's service; the direct context serves its user"

# ---- interfaces and addresses change ----
# A second interface appears, with the same neighbour behind it.
ip -n "$NS-sw" link add p-dev2 type veth peer name eth1 netns "$NS-dev"
ip -n "$NS-sw" link set p-dev2 master br0 up
in_ns dev ip addr add 10.77.0.6/24 dev eth1
in_ns dev ip link set eth1 up
scan nb 10.77.0.6
in_ns dev ip link del eth1
ok "an interface that appears later is closed as well"

# The gateway gets a new address in DNS: the agent connects to this address.
in_ns gw ip addr add 10.77.0.2/24 dev eth0
stop "$DNS"
start_dns 10.77.0.2 || fail "dnsmasq does not start again"
stop "$SSHD_PID" # the next line ends the sessions' processes, which sshd does not end
for p in $(in_ns gw ss -Htnp state established 'sport = :22' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u); do kill "$p"; done
sed -i 's/^ListenAddress .*/ListenAddress 10.77.0.2/' "$TMP/sshd_config"
bg gw /usr/sbin/sshd -D -e -f "$TMP/sshd_config" >>"$TMP/sshd.log" 2>&1
moved() { in_ns gw ss -Htn state established 'sport = :22' | grep -q 10.77.0.2 && [ "$(fetch)" = hello ]; }
wait_for 60 moved || { json; in_ns dev nft list set inet cmxsafe gateways4; fail "does not connect to the gateway's new address"; }
in_ns dev nft list set inet cmxsafe gateways4 | grep -q '10.77.0.2 . 22' || fail "the new address is not in the set"
wait_for 60 prints_no "$G4 [.] 22" in_ns dev nft list set inet cmxsafe gateways4 || fail "the old address stays permitted"
ok "the gateway's new address is permitted and the old one is not"

[ "$(field .modules.isolation.in_force)" = true ] || { json; fail "the status does not say that isolation is in force"; }
[ "$(field .modules.isolation.packets.denied_in)" -gt 1000 ] || fail "nothing was counted"

# ---- isolation stays after the agent's end; --remove removes it ----
end_agent
in_ns dev nft list table inet cmxsafe >/dev/null 2>&1 || fail "isolation ended with the agent"
! quiet in_ns dev timeout 2 bash -c "exec 3<>/dev/tcp/$N4/80" || fail "after the agent's end a program opened a TCP connection to the network"
in_ns dev nft add table inet other
in_ns dev "$BIN/cmxsafed" isolation --remove || fail "--remove"
prints_no cmxsafe in_ns dev nft list tables || fail "tables are left"
in_ns dev nft list table inet other >/dev/null || fail "the table of another program was changed"
quiet in_ns dev ping -c1 -W2 $N4 || fail "--remove does not open the machine again"
ok "isolation stays in force when the agent ends, and an explicit command removes it"
