#!/usr/bin/env bash
# As soon as `gateway net up` ends, the fleet's network lets packets through, even if the link also has an address of
# another network. The doctor reports a network that lets no packets through. If a network is removed while its guard
# runs, the guard ends and does not change the network that replaces it. If another program changes the network while
# the guard sets it up, the guard repairs that change too and does not take it for the expected state.
. "$(dirname "$0")/../gateway_system_lib.sh"
# Duplicate address detection takes minutes here, so the scenario fails if 'net up' adds an address that has to wait for it.
sysctl -q -w net.ipv6.conf.default.dad_transmits=200 || skip "no sysctl of IPv6 here"
system_gateway
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null && gw grant user:1234 cam-17:81 >/dev/null || fail "enroll, grant"
A=$(address_of cam-17)
LINK=$(ip -6 -o address show dev cmxsafe0 scope global | awk '{sub("1/64", "", $4); print $4}')
[ -n "$LINK" ] || fail "the link has no address"
# The device is not connected. If the packets of the permitted user pass, the namespace therefore refuses the connection.
# Otherwise there is no answer.
answered() { as 1234 curl -sv -m 20 "http://[$A]:81/" 2>&1 | grep -q 'Connection refused'; }
answered || fail "no answer after the first 'net up'"
ip link delete cmxsafe0 && gw net up || fail "net up without a link"
answered || fail "no answer after the link was created again"
ok "packets pass as soon as the network is up"

# The other network's address is more similar to the fleet's addresses (longer common prefix) than the link's own address.
# By default the kernel would therefore choose the other network's address as the packets' source.
ip -6 address add fd12:3456:789b::1/64 dev cmxsafe0 nodad && gw net up || fail "'net up' fails if the link also has an address of another network"
answered || fail "no answer while the link also has an address of another network"
ip -6 address delete fd12:3456:789b::1/64 dev cmxsafe0 || fail "the address can't be removed"
ok "the source of local users' packets is the link's address"

# finds TEXT COMMAND...: checks that the doctor reports TEXT as bad after the command, and no longer after 'net up'.
reports() { gw doctor 2>/dev/null | grep -q "^bad .*$1"; }
finds() {
    local text=$1
    shift
    ! reports "$text" || fail "the doctor reports '$text' too early"
    "$@" || fail "$*"
    reports "$text" || fail "the doctor does not report '$text': $(gw doctor | grep -v '^ok')"
    gw net up || fail "net up after: $*"
    ! reports "$text" || fail "after 'net up', the doctor still reports '$text'"
}
finds "the fleet's route leads into the namespace" ip -n cmxsafe -6 address delete "${LINK}2/64" dev cmxsafe1
finds "the host has the fleet's route" ip -6 route replace "$FLEET" via "${LINK}2" dev cmxsafe0
finds "each end of the link can find the other" ip -6 address flush dev cmxsafe0 scope link
finds "each end of the link can find the other" ip -n cmxsafe -6 address flush dev cmxsafe1 scope link
finds "the namespace has the fleet's routes" ip -n cmxsafe -6 route delete "$FLEET" table 1129143
finds "the namespace has the fleet's routing rules" ip -n cmxsafe -6 rule delete pref 1130
ok "the doctor notices a network that lets no packets through"

# ---- the guard ----
# This wrapper of `ip` records the commands that the guard runs. If $TMP/tamper exists, the wrapper runs it once while
# the guard sets up the network: after the guard has loaded the rules and set the addresses.
mkdir "$TMP/path" && cat >"$TMP/path/ip" <<IP && chmod 755 "$TMP/path/ip" || fail "ip"
#!/bin/sh
echo "\$*" >>"$TMP/ip.log"
case "\$*" in *"dev cmxsafe0 src"*) mv "$TMP/tamper" "$TMP/tampered" 2>/dev/null && sh "$TMP/tampered" ;; esac
exec $(command -v ip) "\$@"
IP
# start_watch: starts the guard. watch: also waits until the guard reports that it is ready, as it reports to systemd.
start_watch() {
    rm -f "$TMP/notify"
    timeout 60 python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); s.recv(100)' "$TMP/notify" & local ready=$!; PIDS+=("$ready")
    wait_for 20 test -S "$TMP/notify" || fail "the socket for the guard's notice is not created"
    NOTIFY_SOCKET=$TMP/notify PATH=$TMP/path:$PATH "$BIN/cmxsafe" gateway net watch 2>>"$TMP/watch.log" 9>&- & GUARD=$!; PIDS+=("$GUARD")
    READY=$ready
}
watch() {
    start_watch
    wait "$READY" || fail "the guard does not start: $(cat "$TMP/watch.log")"
}
prints() { local text=$1; shift; "$@" | grep -q "$text"; }
ended() { ! kill -0 "$GUARD" 2>/dev/null; }
# repairs N: succeeds if the guard has reported exactly N repairs of the network. No gateway is running, so the guard
# reports them on standard error.
repairs() { [ "$(grep -c "repaired: the fleet's link, routes or routing rules were changed" "$TMP/watch.log")" = "$1" ]; }
ip -6 rule delete pref 1129 || fail "the routing rule can't be removed"
watch
prints '^1129:' ip -6 rule && repairs 0 || fail "the guard does not complete the network silently when it starts: $(cat "$TMP/watch.log")"
ok "what the guard sets up when it starts is no repair"
ip -6 address flush dev cmxsafe0 scope link || fail "the link-local address can't be removed"
wait_for 20 repairs 1 && ip -6 address show dev cmxsafe0 | grep -q fe80::1/ || fail "the guard does not restore the link-local address: $(cat "$TMP/watch.log")"
ok "the guard restores the link-local address"

rules() { nsenter --net=/run/netns/cmxsafe nft -s list table inet cmxsafe; }
rules_are() { equal "$(rules)" "$1"; }
# tamper COMMAND N: makes the guard repair the network for the Nth time, and runs the shell command meanwhile.
tamper() {
    echo "$1" >"$TMP/tamper" && ip -6 address flush dev cmxsafe0 scope link || fail "the link-local address can't be removed"
    wait_for 20 repairs "$2" && [ ! -e "$TMP/tamper" ] || fail "the guard does not restore the link-local address: $(cat "$TMP/watch.log")"
}
before=$(rules)
tamper "nsenter --net=/run/netns/cmxsafe nft insert rule inet cmxsafe output accept" 2
wait_for 20 rules_are "$before" || fail "the guard keeps a rule that was added while it set up the link: $(diff <(echo "$before") <(rules))"
ok "the guard removes a rule that another program adds while the guard sets up the network"
tamper "ip -6 address flush dev cmxsafe0 scope link" 3
ip -6 address show dev cmxsafe0 | grep -q fe80::1/ && lacks -q additions "$TMP/watch.log" || fail "the guard reports additions that are none: $(cat "$TMP/watch.log")"
ok "the guard restores what another program removes while the guard sets up the network"

pause "$GUARD" || fail "the guard can't be stopped"
CLEANUP+=("kill -CONT $GUARD 2>/dev/null")
gw net down && gw net up || fail "another network while the guard does not run"
kill -CONT "$GUARD"
wait_for 20 ended || fail "the guard does not notice that the namespace was replaced"
answered || fail "the guard of the former network has removed the current one: $(ip -6 -o address; cat "$TMP/ip.log")"
ok "the guard of a former network does not change the current network"

# To repair the network, the guard waits for the folder's lock. Meanwhile the namespace is removed.
watch
exec 9>>"$GW/apply.lock" && flock 9 || fail "the folder can't be locked"
: >"$TMP/ip.log"
ip -6 rule delete pref 1129 || fail "the routing rule can't be removed"
# waits PID: succeeds if the process waits for the folder's lock, which this shell holds.
waits() { prints apply.lock ls -l "/proc/$1/fd"; }
wait_for 20 waits "$GUARD" || fail "the guard does not wait for the lock to repair the network"
ip netns delete cmxsafe || fail "the namespace can't be removed"
flock -u 9 && exec 9>&-
wait_for 20 ended || fail "the guard does not notice that the namespace is gone"
lacks -q 'netns add' "$TMP/ip.log" || fail "the guard sets up a network again that was removed: $(cat "$TMP/ip.log")"
prints_no cmxsafe0 ip link || fail "the guard leaves the link without a namespace in place"
ok "the guard does not set up a network again that was removed"

# The guard starts while 'net up' runs: a part of the network is missing, and the folder is locked.
gw net up || fail "net up"
exec 9>>"$GW/apply.lock" && flock 9 || fail "the folder can't be locked"
rule=$(ip -6 rule | sed -n 's/^1129:[[:space:]]*//p')
[ -n "$rule" ] && ip -6 rule delete pref 1129 || fail "the routing rule can't be removed"
: >"$TMP/watch.log"
start_watch
wait_for 20 waits "$GUARD" || fail "the guard does not wait for 'net up'"
ip -6 rule add pref 1129 $rule || fail "the routing rule can't be added"
flock -u 9 && exec 9>&-
wait "$READY" || fail "the guard does not start: $(cat "$TMP/watch.log")"
ip -6 address flush dev cmxsafe0 scope link || fail "the link-local address can't be removed"
wait_for 20 repairs 1 || fail "the guard does not report the repair: $(cat "$TMP/watch.log")"
lacks -q additions "$TMP/watch.log" || fail "the guard reports additions that are none: $(cat "$TMP/watch.log")"
stop "$GUARD"
ok "a guard that starts while 'net up' runs waits for its end"

exec 9>>"$GW/apply.lock" && flock 9 || fail "the folder can't be locked"
"$BIN/cmxsafe" gateway net down 9>&- & DOWN=$!; PIDS+=("$DOWN")
wait_for 20 waits "$DOWN" || fail "'net down' does not wait for a command that changes the network"
sleep 0.5
waits "$DOWN" && [ -e /run/netns/cmxsafe ] || fail "'net down' removes the network without the lock"
flock -u 9 && exec 9>&-
wait "$DOWN" || fail "net down"
prints_no cmxsafe0 ip link && [ ! -e /run/netns/cmxsafe ] || fail "'net down' leaves the network in place"
ok "'net down' waits for other commands"
