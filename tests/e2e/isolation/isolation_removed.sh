#!/usr/bin/env bash
# Another program changes or removes the rules of isolation. The agent notices this, reports it in its log, status and
# evidence, and installs the rules again. A session to a gateway that is configured by name reconnects. If the rules
# cannot be installed, all sessions end.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../isolation_lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
for tool in nft dnsmasq setpriv jq; do command -v $tool >/dev/null || skip "no $tool"; done

make_link
new_host dev $D4 $D6
AGENT_UID=65534 # the user nobody
SSHD_PORT=22 SSHD_ADDRESS=$G4 SSHD_PREFIX="ip netns exec $NS-gw"
start_sshd </dev/null
wait_for 10 in_ns gw bash -c "ss -Hltn 'sport = :22' | grep -q ." || fail "sshd does not listen"
bg gw dnsmasq -k -C /dev/null --no-resolv --no-hosts --address="/gw.test/$G4" --bind-interfaces --interface=eth0 --pid-file= >/dev/null 2>&1
wait_for 10 in_ns gw bash -c "ss -Hlun 'sport = :53' | grep -q ." || fail "dnsmasq does not start"
mkdir "$TMP/www" "$TMP/state"; echo hello >"$TMP/www/index.html"
bg dev python3 -m http.server -d "$TMP/www" --bind 127.0.0.1 8081 >/dev/null 2>&1
bg dev python3 -c '
import socket, threading, time
def stream(c):
    while True:
        c.sendall(b"x" * 1000)
        time.sleep(0.05)
s = socket.create_server(("127.0.0.1", 8084))
while True:
    threading.Thread(target=stream, args=(s.accept()[0],), daemon=True).start()' 2>/dev/null
bg nb python3 -m http.server -d "$TMP/www" --bind "$N4" 80 >/dev/null 2>&1
wait_for 20 in_ns dev bash -c "ss -Hltn 'sport = :8081' | grep -q ." || fail "the service does not start"
echo "nameserver $G4" >"$TMP/resolv.conf"
head -c 32 /dev/urandom >"$TMP/hwkey"
chmod 600 "$TMP/hwkey"
chown -R $AGENT_UID "$RUN" "$KEY" "$TMP/state" "$TMP/hwkey"
{
    AGENT_LINES='confine = required' gateway_section | sed 's/^host = .*/host = gw.test/'
    printf '[isolation]\nenabled = yes\ntime_servers = 192.0.2.123\n[identity]\nkey_file = %s\n[attest]\nenabled = yes\nport = 8888\n' "$TMP/hwkey"
    reverse web 8081 9081
    reverse stream 8084 9082
    reverse attest 8888 9888
} >"$CONF"
chmod 644 "$CONF"; chmod o+rx "$TMP"
start_isolated() {
    ip netns exec "$NS-dev" unshare -m bash -c 'mount --bind "$1" /etc/resolv.conf; shift; exec "$@"' _ "$TMP/resolv.conf" \
        env STATE_DIRECTORY="$TMP/state" setpriv --reuid=$AGENT_UID --regid=65534 --clear-groups --inh-caps=+net_admin --ambient-caps=+net_admin \
        "$BIN/cmxsafed" -c "$CONF" >>"$AGENT_LOG" 2>&1 &
    AGENT=$!; PIDS+=("$AGENT")
    wait_up
}
start_isolated
fetch() { in_ns gw curl -s -m 10 http://localhost:9081/; }
fetches() { [ "$(fetch)" = hello ]; }
# claims TRUE-OR-FALSE: checks the isolation claim of the evidence, which the agent's user requests.
claims() {
    in_ns dev setpriv --reuid=$AGENT_UID --clear-groups curl -s -m 10 -H 'Accept: application/json' "http://127.0.0.1:8888/evidence?nonce=0011223344556677" >"$TMP/evidence"
    [ "$(jq -r .isolation "$TMP/evidence")" = "$1" ]
}
fetches || fail "the proxied service is not reachable"
claims true || { cat "$TMP/evidence"; fail "the evidence does not claim isolation"; }

rules() { in_ns dev nft -s -t list table inet cmxsafe; in_ns dev nft -s -t list table arp cmxsafe; }
RULES=$(rules)
statics() { for s in agent services4 time_servers4 resolvers4; do in_ns dev nft list set inet cmxsafe $s; done; }
STATICS=$(statics)
repairs() { field .modules.isolation.repairs; }
restored() { [ "$(repairs)" = "$1" ] && [ "$(rules 2>/dev/null)" = "$RULES" ] && [ "$(statics 2>/dev/null)" = "$STATICS" ]; }
n=0
# attack WORDS COMMAND...: runs COMMAND, which changes the rules, and checks that they are restored, that
# this is reported, and that the service is reachable. WORDS name the change.
attack() {
    local words=$1 lines
    shift
    lines=$(grep -c 'NOT IN FORCE' "$AGENT_LOG")
    in_ns dev "$@" || fail "$words: the command fails"
    n=$((n + 1))
    wait_for 5 restored $n || { rules 2>&1 | diff <(echo "$RULES") - | head -20; tail -3 "$AGENT_LOG"; fail "$words: not restored (repairs $(repairs), expected $n)"; }
    [ "$n" -gt 10 ] || [ "$(grep -c 'NOT IN FORCE' "$AGENT_LOG")" -gt "$lines" ] || fail "$words: not logged"
    [ "$(field .modules.isolation.in_force)" = true ] || fail "$words: the status does not say that it is in force again"
    wait_for 30 fetches || { json; fail "$words: the service is not reachable again"; }
    ok "$words"
}
attack "nft flush ruleset" nft flush ruleset
logged "nft changed or removed the rules" || fail "the log does not name the program"

# Another user connects to a service while there are no rules. The connection must end when the rules are restored.
received() { stat -c %s "$TMP/stolen"; }
grows() { local before; before=$(received); sleep 2; [ "$(received)" -gt "$before" ]; }
kill -STOP "$AGENT"
in_ns dev nft flush ruleset
bg dev setpriv --reuid=12345 --clear-groups nc 127.0.0.1 8084 >"$TMP/stolen"
wait_for 10 grows || fail "without rules the stream is not open to another user"
kill -CONT "$AGENT"
n=$((n + 1))
wait_for 5 restored $n || fail "the rules are not restored"
wait_for 60 fetches || fail "the service is not reachable again"
sleep 2
! grows || fail "a connection that another user opened while there were no rules still receives the service's data"
[ "$(in_ns gw timeout 60 nc localhost 9082 | head -c 10001 | wc -c)" = 10001 ] || fail "the stream does not arrive at the gateway"
ok "a connection that another user opened while there were no rules ends"

attack "nft delete table inet" nft delete table inet cmxsafe
attack "nft delete table arp" nft delete table arp cmxsafe
attack "nft flush chain" nft flush chain inet cmxsafe output
attack "nft insert rule accept" nft insert rule inet cmxsafe output accept
attack "nft policy accept" nft add chain inet cmxsafe input '{ policy accept; }'
attack "a dormant table" nft add table inet cmxsafe '{ flags dormant; }'
attack "nft add element services4" nft add element inet cmxsafe services4 '{ 127.0.0.1 . 8082 }'
attack "nft add element sessions4" nft add element inet cmxsafe sessions4 '{ 10.77.0.5 . 8082 . 10.77.0.66 . 5555 }'
attack "nft flush set resolvers4" nft flush set inet cmxsafe resolvers4
attack "the gateway's element removed" nft flush set inet cmxsafe gateways4
attack "cmxsafed isolation --remove" "$BIN/cmxsafed" isolation -c "$CONF" --remove
attack "cmxsafed isolation --apply" "$BIN/cmxsafed" isolation -c "$CONF" --apply

# Changes to other tables are ignored.
in_ns dev nft add table inet other
in_ns dev nft add chain inet other c '{ type filter hook input priority -20; policy accept; }'
in_ns dev nft delete table inet other
sleep 1.5 # longer than the agent's polling interval
[ "$(repairs)" = "$n" ] || fail "a change to another table counts as a repair"
[ "$(field .modules.isolation.in_force)" = true ] || fail "after a change to another table, isolation is not in force"
ok "another table's changes do not matter"

# The rules cannot be installed again, because another program owns a table of the same name. All sessions end, and the
# evidence does not claim isolation. When the other program has released the table, rules and sessions are restored.
mkfifo "$TMP/owner"
in_ns dev nft -i <"$TMP/owner" >"$TMP/owner.out" 2>&1 &
OWNER=$!; PIDS+=("$OWNER")
exec {OWNER_IN}>"$TMP/owner"
printf 'delete table inet cmxsafe; add table inet cmxsafe { flags owner; }\n' >&"$OWNER_IN"
no_session() { prints_no . in_ns gw ss -Htn state established 'sport = :22'; }
wait_for 15 no_session || { tail -5 "$AGENT_LOG"; cat "$TMP/owner.out"; fail "sessions stay up without isolation"; }
[ "$(field .modules.isolation.in_force)" = false ] || fail "the status claims isolation"
claims false || { cat "$TMP/evidence"; fail "the evidence claims isolation"; }
"$BIN/cmxsafed" status --socket "$RUN/s" | grep -q 'NOT IN FORCE' || fail "the status table does not say that isolation is not in force"
logged "all sessions stay closed" || fail "the log does not say that the sessions end"
! fetches || fail "the service is reachable without isolation"
exec {OWNER_IN}>&-
wait_for 30 fetches || { tail -5 "$AGENT_LOG"; json; fail "the service is not reachable again"; }
[ "$(field .modules.isolation.in_force)" = true ] && claims true || fail "the rules are not in force again"
[ "$(rules)" = "$RULES" ] || fail "the rules differ from those before"
ok "while the rules cannot be restored the sessions end"

# If the rules are removed while the agent is stopped, the agent installs them when it starts.
end_agent
in_ns dev nft flush ruleset
start_isolated
[ "$(rules)" = "$RULES" ] || fail "the restarted agent does not install the rules"
ok "a restart installs the removed rules"

# Once the configuration disables isolation, the agent does not restore rules that the administrator removes.
sed -i '/^\[isolation\]/,/^\[identity\]/s/^enabled = yes/enabled = no/' "$CONF"
kill -HUP "$AGENT"
wait_for 10 logged "no longer enabled" || fail "the reload has no effect"
# Until then the device stays reachable, although its gateway's name has to be looked up.
before=$(context web .sessions)
for pid in $(sshd_children); do kill "$pid" 2>/dev/null; done
wait_for 30 context_is web .sessions $((before + 1)) || { json; fail "the rules that were left cut off the device"; }
# The same without a reload: the agent is restarted instead.
end_agent
sed -i '/^\[isolation\]/,/^\[identity\]/s/^enabled = no/enabled = yes/' "$CONF"
start_isolated
end_agent
sed -i '/^\[isolation\]/,/^\[identity\]/s/^enabled = yes/enabled = no/' "$CONF"
# A service of another host, which isolation does not permit, must not prevent the rules from being changed.
printf 'local_host = %s\n' "$N4" >>"$CONF" # in the last section, [context attest]
start_isolated
rules >/dev/null 2>&1 || fail "the restart removed the rules"
in_ns dev "$BIN/cmxsafed" isolation -c "$CONF" --remove || fail "--remove"
: >"$AGENT_LOG"
kill -HUP "$AGENT"
wait_for 10 logged "read again" || fail "a second reload"
sleep 1.5
! rules >/dev/null 2>&1 || fail "installed again although not enabled"
[ ! -e "$TMP/state/isolation.nft" ] || fail "the saved rules for the next boot still exist"
ticks() { local f; read -r -a f <"/proc/$AGENT/stat" && echo $((f[13] + f[14])); }
before=$(ticks)
in_ns dev nft 'add table inet other; delete table inet other' || fail "nft"
sleep 3
[ $(($(ticks) - before)) -lt $(getconf CLK_TCK) ] || fail "the agent does not rest after another program has changed tables: $(($(ticks) - before)) ticks"
ok "rules are not restored when isolation is no longer enabled"
end_agent
