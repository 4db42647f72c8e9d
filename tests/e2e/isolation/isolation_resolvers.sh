#!/usr/bin/env bash
# The machine's name servers change while the agent runs with isolation: resolv.conf is empty or links to a folder that
# is created later, the machine moves to another network, and systemd-resolved or another forwarder is running on the
# machine.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../isolation_lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
for tool in nft dnsmasq setpriv jq; do command -v $tool >/dev/null || skip "no $tool"; done

make_link
new_host dev $D4 $D6
AGENT_UID=65534 # the user nobody
FORWARDER=daemon # the user of the forwarder
SSHD_PORT=22 SSHD_ADDRESS=$G4 SSHD_PREFIX="ip netns exec $NS-gw"
start_sshd </dev/null
wait_for 10 in_ns gw bash -c "ss -Hltn 'sport = :22' | grep -q ." || fail "sshd does not listen"
in_ns gw ip addr add 10.77.0.2/24 dev eth0
start_dns() { # start_dns ADDRESS [OPTION...]: starts a name server that resolves gw.test
    bg gw dnsmasq "${@:2}" -k -C /dev/null --no-resolv --no-hosts --address="/gw.test/$G4" --bind-interfaces --listen-address="$1" --except-interface=lo --pid-file= >/dev/null 2>&1
    DNS=$!
    wait_for 10 in_ns gw bash -c "ss -Hlun 'src $1:53' | grep -q ."
}
start_dns $G4 || fail "dnsmasq does not start"
mkdir "$TMP/www"; echo hello >"$TMP/www/index.html"
bg dev python3 -m http.server -d "$TMP/www" --bind 127.0.0.1 8081 >/dev/null 2>&1
wait_for 20 in_ns dev bash -c "ss -Hltn 'sport = :8081' | grep -q ." || fail "the service does not start"
chown -R $AGENT_UID "$RUN" "$KEY"
configure() { # configure [LINE...]: writes the configuration, with these lines in the section isolation
    {
        AGENT_LINES='confine = required' gateway_section | sed 's/^host = .*/host = gw.test/'
        printf '[isolation]\nenabled = %s\n' "${ENABLED:-yes}"
        printf '%s\n' "$@"
        reverse web 8081 9081
    } >"$CONF"
    chmod 644 "$CONF"
}
chmod o+rx "$TMP"

# The agent gets its own /etc and /run: bind mounts of single files would not follow a new link or folder.
mkdir "$TMP/etc" "$TMP/run-dir"
cp -a /etc/passwd /etc/group /etc/nsswitch.conf /etc/protocols /etc/ld.so.cache "$TMP/etc/" 2>/dev/null
chmod 755 "$TMP/etc" "$TMP/run-dir"
in_view() { ${EXEC:-} ip netns exec "$NS-dev" unshare -m bash -c 'mount --bind "$1" /etc; mount --bind "$2" /run; shift 2; exec "$@"' _ "$TMP/etc" "$TMP/run-dir" "$@"; }
start_viewed() {
    EXEC=exec in_view setpriv --reuid=$AGENT_UID --regid=65534 --clear-groups --inh-caps=+net_admin --ambient-caps=+net_admin "$BIN/cmxsafed" -c "$CONF" >>"$AGENT_LOG" 2>&1 &
    AGENT=$!; PIDS+=("$AGENT")
    wait_for 20 test -S "$RUN/s" || fail "the agent does not start"
}
down() { [ "$(field .all_up)" != true ]; }
fetches() { [ "$(in_ns gw curl -s -m 5 http://localhost:9081/)" = hello ]; }
comes_up() { wait_for 60 fetches || { json; in_ns dev nft list set inet cmxsafe resolvers4; fail "$1"; }; ok "$1"; }
# end_sessions: ends the sessions on the gateway, so that the agent looks up the gateway's name again.
end_sessions() { for p in $(in_ns gw ss -Htnp state established 'sport = :22' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u); do kill "$p"; done; }

for ENABLED in yes no; do
    with="isolation enabled = $ENABLED"
    # At boot, resolv.conf is a link into a folder of /run that a network manager creates later.
    rm -rf "$TMP"/run-dir/*
    ln -sfn /run/NetworkManager/resolv.conf "$TMP/etc/resolv.conf"
    configure
    start_viewed
    wait_for 10 down || fail "the agent does not report that it is down"
    mkdir "$TMP/run-dir/NetworkManager"; chmod 755 "$TMP/run-dir/NetworkManager"
    : >"$TMP/run-dir/NetworkManager/resolv.conf"
    sleep 1.5 # longer than the agent's polling interval, so that it reads the empty file
    echo "nameserver $G4" >"$TMP/run-dir/NetworkManager/resolv.conf.new"
    mv "$TMP/run-dir/NetworkManager/resolv.conf.new" "$TMP/run-dir/NetworkManager/resolv.conf"
    comes_up "$with: a folder that appears later, first with an empty file"

    # The device moves to another network, with another name server and another network manager.
    stop "$DNS"
    start_dns 10.77.0.2 || fail "dnsmasq does not start again"
    mkdir -p "$TMP/run-dir/netconfig"; chmod 755 "$TMP/run-dir/netconfig"
    echo "nameserver 10.77.0.2" >"$TMP/run-dir/netconfig/resolv.conf"
    ln -sfn /run/netconfig/resolv.conf "$TMP/etc/resolv.conf.new" && mv -T "$TMP/etc/resolv.conf.new" "$TMP/etc/resolv.conf"
    sleep 1.5 # longer than the agent's polling interval
    before=$(context web .sessions)
    end_sessions
    again() { [ "$(context web .sessions)" -gt "$before" ]; }
    wait_for 60 again || fail "$with: no new session"
    comes_up "$with: another network's name server"
    if [ $ENABLED = yes ]; then
        in_ns dev nft list set inet cmxsafe resolvers4 | grep -q 10.77.0.2 && prints_no "$G4" in_ns dev nft list set inet cmxsafe resolvers4 || fail "the old name server stays permitted"
        json | json_is '.modules.isolation.in_force' || fail "updating the name servers counts as another program's change"
    fi
    # resolv.conf is replaced by a file that the agent's user cannot read, and then its mode is corrected. The kernel refuses
    # the first changes of the rules.
    (umask 077; echo "nameserver 10.77.0.2" >"$TMP/run-dir/netconfig/resolv.conf.new")
    mv "$TMP/run-dir/netconfig/resolv.conf.new" "$TMP/run-dir/netconfig/resolv.conf"
    end_sessions
    wait_for 20 down || fail "the agent does not report that it is down"
    sleep 1.5 # longer than the agent's polling interval
    if [ $ENABLED = yes ] && command -v strace >/dev/null; then
        strace -f -p "$AGENT" -e trace=sendmsg -e inject=sendmsg:error=ENOBUFS -o "$TMP/trace" 2>"$TMP/strace.log" &
        STRACE=$!; PIDS+=("$STRACE")
        wait_for 10 grep -q attached "$TMP/strace.log" || fail "strace does not start"
    fi
    chmod 644 "$TMP/run-dir/netconfig/resolv.conf"
    if [ -n "${STRACE:-}" ]; then
        wait_for 20 logged "the new name servers cannot be permitted" || fail "a refused change is not reported"
        stop "$STRACE"
        STRACE=''
    fi
    comes_up "$with: a resolv.conf with a corrected mode"
    end_agent
    in_ns dev nft flush ruleset
    stop "$DNS"
    start_dns $G4 || fail "dnsmasq does not start again"
done
ENABLED=yes

# The answer has aliases and is longer than the 512 bytes of DNS without EDNS. Isolation permits no queries over TCP.
stop "$DNS"
label=$(printf 'a%.0s' $(seq 63))
start_dns $G4 --cname="long.test,$label.$label.$label.test" --cname="$label.$label.$label.test,b.$label.$label.$label.test" \
    --cname="b.$label.$label.$label.test,c.$label.$label.$label.test" --host-record="c.$label.$label.$label.test,$G4" || fail "dnsmasq does not start"
echo "nameserver $G4" >"$TMP/run-dir/netconfig/resolv.conf"
configure
sed -i 's/^host = .*/host = long.test/' "$CONF"
start_viewed
comes_up "a long answer"
end_agent
in_ns dev nft flush ruleset
stop "$DNS"
start_dns $G4 || fail "dnsmasq does not start again"

# The name server is a forwarder on this machine. If the configuration does not set resolvers, --check prints what to do.
rm "$TMP/etc/resolv.conf"; echo "nameserver 127.0.0.1" >"$TMP/etc/resolv.conf"
configure
in_view "$BIN/cmxsafed" --check -c "$CONF" >"$TMP/check" 2>&1 && fail "--check accepts a forwarder that isolation cuts off"
grep -q 'name server is on this machine.*set \[isolation\] resolvers.*forwarder' "$TMP/check" || { cat "$TMP/check"; fail "--check does not say what to do"; }
start_viewed
wait_for 10 logged "the name server is on this machine" || fail "the log does not say what to do"
end_agent
in_ns dev nft flush ruleset
forwarder() { # forwarder ADDRESS UPSTREAM: starts a forwarding name server on the device
    ip netns exec "$NS-dev" setpriv --reuid="$FORWARDER" --regid="$FORWARDER" --clear-groups --inh-caps=+net_bind_service --ambient-caps=+net_bind_service \
        dnsmasq -k -C /dev/null --no-resolv --no-hosts --server="$2" --bind-interfaces --listen-address="$1" --user= --group= --pid-file= --cache-size=0 >"$TMP/forwarder.log" 2>&1 &
    FORWARDER_PID=$!; PIDS+=("$FORWARDER_PID")
    wait_for 10 in_ns dev bash -c "ss -Hlun 'src $1:53' | grep -q ."
}
forwarder 127.0.0.1 $G4 || { cat "$TMP/forwarder.log"; fail "the forwarder does not start"; }
configure "resolvers = 127.0.0.1, $G4" "forwarder = root"
! in_view "$BIN/cmxsafed" --check -c "$CONF" >"$TMP/check" 2>&1 && grep -q 'forwarder: root may not query' "$TMP/check" || { cat "$TMP/check"; fail "--check does not refuse root as the forwarder"; }
configure "resolvers = 127.0.0.1, $G4" "forwarder = $FORWARDER"
in_view "$BIN/cmxsafed" --check -c "$CONF" >/dev/null || fail "--check refuses a forwarder that is configured"
start_viewed
comes_up "a forwarder that is configured"
! in_ns dev setpriv --reuid="$FORWARDER" --clear-groups bash -c "exec 3<>/dev/udp/$G4/53 && printf 'x' >&3" 2>/dev/null || fail "the forwarder may send queries outside a look-up"
end_agent
in_ns dev nft flush ruleset
stop "$FORWARDER_PID"

# The name server is systemd-resolved's stub: the agent finds the user and the upstream servers of systemd-resolved.
sed -i '/^systemd-resolve:/d' "$TMP/etc/passwd"
echo "systemd-resolve:x:$(id -u "$FORWARDER"):$(id -g "$FORWARDER")::/:/usr/sbin/nologin" >>"$TMP/etc/passwd"
rm -f "$TMP/etc/resolv.conf"; ln -s /run/systemd/resolve/stub-resolv.conf "$TMP/etc/resolv.conf"
mkdir -p "$TMP/run-dir/systemd/resolve"; chmod -R 755 "$TMP/run-dir/systemd"
echo "nameserver 127.0.0.53" >"$TMP/run-dir/systemd/resolve/stub-resolv.conf"
echo "nameserver $G4" >"$TMP/run-dir/systemd/resolve/resolv.conf"
forwarder 127.0.0.53 $G4 || { cat "$TMP/forwarder.log"; fail "the stub does not start"; }
configure
in_view "$BIN/cmxsafed" --check -c "$CONF" || fail "--check refuses systemd-resolved"
start_viewed
comes_up "systemd-resolved's stub"
end_agent
