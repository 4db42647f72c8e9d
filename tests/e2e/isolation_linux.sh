#!/usr/bin/env bash
# The agent with nftables isolation, on a link with a hostile neighbour: proxies work, and nothing else does.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/isolation_lib.sh"
. "$(dirname "$0")/agent_lib.sh"
for tool in nft nmap tcpdump dnsmasq setpriv; do command -v $tool >/dev/null || skip "no $tool"; done

make_link
new_host dev $D4 $D6
DEVICE_MAC=$(mac_of dev)
AGENT_UID=65534 # nobody

# ---- the gateway: sshd, and a name server ----
SSHD_PORT=22 SSHD_ADDRESS=$G4 SSHD_PREFIX="ip netns exec $NS-gw"
start_sshd <<<"ListenAddress $G6"
wait_for 10 in_ns gw bash -c "ss -Hltn 'sport = :22' | grep -q ." || fail "sshd does not listen"
start_dns() { # start_dns ADDRESS: gw.test is there
    bg gw dnsmasq -k -C /dev/null --no-resolv --no-hosts --log-queries --log-facility="$TMP/dns.log" --address="/gw.test/$1" \
        --bind-interfaces --interface=eth0 --pid-file= >/dev/null 2>&1
    DNS=$!
    wait_for 10 in_ns gw bash -c "ss -Hlun 'sport = :53' | grep -q ."
}
start_dns $G4 || fail "dnsmasq does not start"

# ---- the device: a proxied service, one that nobody proxies, and the agent as a user of its own ----
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
    reverse idle 8085 9085 # whose service does not run
    printf '[context broker]\ndirection = direct\nlocal_port = 9083\nremote_host = 127.0.0.1\nremote_port = 8083\nusers = daemon\n'
} >"$CONF"
chmod 644 "$CONF"; chmod o+rx "$TMP"

# As that user without the capability it must refuse to start: isolation that can't be installed is a failure.
as_agent() { # as_agent CAPABILITY-OPTIONS... -- COMMAND
    local o=()
    while [ "$1" != -- ]; do o+=("$1"); shift; done
    shift
    ${EXEC:-} ip netns exec "$NS-dev" unshare -m bash -c 'mount --bind "$1" /etc/resolv.conf; shift; exec "$@"' _ "$TMP/resolv.conf" \
        setpriv --reuid=$AGENT_UID --regid=65534 --clear-groups "${o[@]}" "$@"
}
as_agent --inh-caps=-all -- "$BIN/cmxsafed" -c "$CONF" >"$TMP/refused.out" 2>&1 && fail "started without being able to isolate"
grep -q CAP_NET_ADMIN "$TMP/refused.out" && ! grep -q 'must be root' "$TMP/refused.out" || { cat "$TMP/refused.out"; fail "does not say what is missing"; }
! in_ns gw bash -c "ss -Htn state established 'sport = :22' | grep -q ." || fail "a session without isolation"
ok "without isolation it does not start"

EXEC=exec as_agent --inh-caps=+net_admin --ambient-caps=+net_admin -- "$BIN/cmxsafed" -c "$CONF" >>"$AGENT_LOG" 2>&1 &
AGENT=$!; PIDS+=("$AGENT")
wait_up
fetch() { in_ns gw curl -s -m 10 http://localhost:9081/; }
[ "$(fetch)" = hello ] || fail "the proxied service is not reachable"
ok "the proxy works, with the gateway found by name"

# ---- from outside ----
sessions() { context web .sessions; }
S0=$(sessions)
attack_from_outside 8082

# ---- the link ----
in_ns dev ip neigh show $G4 | grep -q "$(mac_of gw)" || fail "no neighbour entry for the gateway"
hostile arp $G4 $D4
in_ns dev ip neigh show $G4 | grep -q "$(mac_of gw)" || { in_ns dev ip neigh; fail "ARP was poisoned"; }
[ "$(in_ns dev ip neigh | grep -c 'lladdr 02:01')" = 0 ] || fail "an ARP flood fills the table"
hostile redirect $G4 $D4
hostile redirect $G6 $D6
hostile offer $D4 0x1234
! in_ns dev ip route get $G4 | grep -q via || fail "a redirect was followed"
[ "$(fetch)" = hello ] && [ "$(sessions)" = "$S0" ] || fail "the session did not survive"
# No answer to who we don't need: neither ARP nor neighbour discovery.
in_ns nb ip neigh del $D4 dev eth0; in_ns nb ip neigh del $D6 dev eth0
! in_ns nb bash -c "ip neigh flush dev eth0; ping -c1 -W1 $D4 || ping -c1 -W1 $D6" >/dev/null 2>&1 || fail "ping is answered"
in_ns gw ip neigh del $D4 dev eth0; in_ns gw ip neigh del $D6 dev eth0
! in_ns nb ip neigh show $D4 | grep -q lladdr || fail "ARP is answered"
! in_ns nb ip neigh show $D6 | grep -q lladdr || fail "neighbour discovery is answered"
# The first router stays.
in_ns dev bash -c "echo 2 >/proc/sys/net/ipv6/conf/eth0/accept_ra"
R_LL=$(in_ns gw ip -6 -o addr show dev eth0 scope link | awk '{print $4}' | cut -d/ -f1)
bg gw dnsmasq -k -C /dev/null --port=0 --enable-ra --dhcp-range=fd77::,ra-only,64,600 --interface=eth0 --bind-interfaces \
    --ra-param=eth0,4,600 --pid-file= --log-facility="$TMP/ra.log" >/dev/null 2>&1
wait_for 20 in_ns dev bash -c "ip -6 route | grep -q 'default via $R_LL'" || { in_ns dev ip -6 route; fail "the router is not learned"; }
hostile advert
hostile withdraw "$R_LL"
sleep 0.5
in_ns dev ip -6 route | grep -q "default via $R_LL" || fail "the router was withdrawn by another"
[ "$(in_ns dev ip -6 route | grep -c '^default')" = 1 ] || { in_ns dev ip -6 route; fail "a rogue router was taken"; }
! in_ns dev ip -6 addr | grep -q 2001:db8:bad || fail "a rogue prefix was taken"
ok "ARP, neighbour and router discovery, redirects, DHCP offers: the link can't be turned"

# A reload is a new ruleset, which knows what the old one had learned; the session goes on.
knows() { # knows FAMILY SET: its elements, without their time
    in_ns dev nft list set "$1" cmxsafe "$2" | tr -d '\n' | grep -o 'elements = {.*' | sed -E 's/ (timeout|expires) [0-9a-z]+//g; s/[[:space:]]+/ /g'
}
B_ROUTERS=$(knows inet routers) B_PEERS=$(knows inet nd_peers) B_ARP=$(knows arp peers)
[ -n "$B_ROUTERS" ] && [ -n "$B_PEERS" ] && [ -n "$B_ARP" ] || fail "the ruleset has learned nothing"
BEFORE=$(in_ns dev nft -a list table inet cmxsafe | head -1)
kill -HUP "$AGENT"
replaced() { [ "$(in_ns dev nft -a list table inet cmxsafe | head -1)" != "$BEFORE" ]; }
wait_for 20 replaced || fail "the reload brings no new ruleset"
[ "$(knows inet routers)" = "$B_ROUTERS" ] || { in_ns dev nft list set inet cmxsafe routers; echo "was: $B_ROUTERS"; fail "the reload forgot the router"; }
[ "$(knows inet nd_peers)" = "$B_PEERS" ] && [ "$(knows arp peers)" = "$B_ARP" ] || fail "the reload forgot the neighbours"
port=$(in_ns dev ss -Htn state established 'dport = :22' | awk '{print $3}' | sed 's/.*://' | head -1)
knows inet sessions4 | grep -q "$D4 . $port . $G4 . 22" || { in_ns dev nft list set inet cmxsafe sessions4; fail "the reload forgot the session"; }
[ "$(fetch)" = hello ] && [ "$(sessions)" = "$S0" ] || fail "the session did not survive the reload"
ok "after a reload the router, the neighbours and the session are still known"

# ---- from inside: other users ----
quiet() { "$@" >/dev/null 2>&1; }
! quiet in_ns dev curl -s -m 2 http://127.0.0.1:8081/ || fail "another user reached a context's service"
! quiet in_ns dev curl -s -m 2 http://127.0.0.1:8082/ || fail "loopback between tasks"
! quiet in_ns dev curl -s -m 2 "http://$D4:8082/" || fail "the machine's own address"
! quiet in_ns dev curl -s -m 2 "http://[::1]:8082/" || fail "loopback between tasks, IPv6"
! quiet in_ns dev nc -w 2 $G4 22 </dev/null || fail "another user reached the gateway"
! quiet in_ns dev timeout 2 bash -c "exec 3<>/dev/tcp/$N4/80" || fail "TCP out"
! in_ns dev bash -c "echo x >/dev/udp/$N4/9999" 2>/dev/null || fail "UDP out"
in_ns dev python3 - $G4 <<'P' && fail "a raw name look-up left"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
s.sendto(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\2gw\4test\0\0\1\0\1", (sys.argv[1], 53)); s.recv(512)
P
! quiet in_ns dev ping -c1 -W1 $G4 || fail "ping out"
in_ns dev python3 - 2>/dev/null <<'P' && fail "from a service's own port something is reached"
import socket
s = socket.socket(); s.bind(("127.0.0.1", 8085)); s.settimeout(2); s.connect(("127.0.0.1", 8082))
P
! quiet in_ns dev curl -s -m 2 http://127.0.0.1:9083/ || fail "a direct context serves who it is not declared for"
[ "$(in_ns dev setpriv --reuid=daemon --clear-groups curl -s -m 5 http://127.0.0.1:9083/)" = hello ] || fail "the direct context does not serve its user"
ok "other users: no way out, not to each other, not to a context's service; the direct context serves its user"

# ---- changes ----
# A second interface appears, with the same neighbour behind it.
ip -n "$NS-sw" link add p-dev2 type veth peer name eth1 netns "$NS-dev"
ip -n "$NS-sw" link set p-dev2 master br0 up
in_ns dev ip addr add 10.77.0.6/24 dev eth1
in_ns dev ip link set eth1 up
scan nb 10.77.0.6
in_ns dev ip link del eth1
ok "an interface that appears later is closed as well"

# The gateway moves: a new address in DNS.
in_ns gw ip addr add 10.77.0.2/24 dev eth0
stop "$DNS"
start_dns 10.77.0.2 || fail "dnsmasq does not start again"
stop "$SSHD_PID" # and with it the sessions' processes, which are no longer its children
for p in $(in_ns gw ss -Htnp state established 'sport = :22' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u); do kill "$p"; done
sed -i 's/^ListenAddress .*/ListenAddress 10.77.0.2/' "$TMP/sshd_config"
bg gw /usr/sbin/sshd -D -e -f "$TMP/sshd_config" >>"$TMP/sshd.log" 2>&1
moved() { in_ns gw ss -Htn state established 'sport = :22' | grep -q 10.77.0.2 && [ "$(fetch)" = hello ]; }
wait_for 60 moved || { json; in_ns dev nft list set inet cmxsafe gateways4; fail "does not follow the gateway"; }
in_ns dev nft list set inet cmxsafe gateways4 | grep -q '10.77.0.2 . 22' || fail "the new address is not in the set"
wait_for 60 bash -c "! ip netns exec $NS-dev nft list set inet cmxsafe gateways4 | grep -q '$G4 . 22'" || fail "the old address stays permitted"
ok "the gateway's address is followed, and the old one forgotten"

[ "$(field .modules.isolation.in_force)" = true ] || { json; fail "the status does not tell"; }
[ "$(field .modules.isolation.packets.denied_in)" -gt 1000 ] || fail "nothing was counted"

# ---- the end ----
end_agent
in_ns dev nft list table inet cmxsafe >/dev/null 2>&1 || fail "isolation went with the agent"
! quiet in_ns dev timeout 2 bash -c "exec 3<>/dev/tcp/$N4/80" || fail "TCP out after the agent's end"
in_ns dev nft add table inet other
in_ns dev "$BIN/cmxsafed" isolation --remove || fail "--remove"
[ "$(in_ns dev nft list tables | grep -c cmxsafe)" = 0 ] || fail "tables are left"
in_ns dev nft list table inet other >/dev/null || fail "another's table was touched"
quiet in_ns dev ping -c1 -W2 $N4 || fail "--remove does not open the machine again"
ok "it stays in force when the agent ends, and goes by an explicit command"
