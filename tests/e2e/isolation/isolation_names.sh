#!/usr/bin/env bash
# Names in the configuration. localhost is 127.0.0.1, even if /etc/hosts also has ::1 for it. Then the users that a direct context
# and the forwarder name are removed, as when their packages are removed. The device must stay reachable if another program
# flushes the rules, and if the agent starts again. The context is then closed to all users.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../isolation_lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
for tool in nft jq setpriv; do command -v $tool >/dev/null || skip "no $tool"; done

make_link
new_host dev $D4 $D6
SSHD_PORT=22 SSHD_ADDRESS=$G4 SSHD_PREFIX="ip netns exec $NS-gw"
start_sshd </dev/null
bg gw python3 -m http.server --bind 127.0.0.1 8083 >/dev/null 2>&1
wait_for 20 in_ns gw bash -c "ss -Hltn 'sport = :22 or sport = :8083' | grep -c . | grep -q 2" || fail "the gateway does not start"
bg dev python3 -m http.server --bind 127.0.0.1 8081 >/dev/null 2>&1
wait_for 20 in_ns dev bash -c "ss -Hltn 'sport = :8081' | grep -q ." || fail "the service does not start"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$TMP/hosts"
cp /etc/passwd "$TMP/passwd"
printf 'cmxcamera:x:4711:4711::/:/bin/false\ncmxdns:x:4712:4712::/:/bin/false\n' >>"$TMP/passwd"
{
    gateway_section | sed "s/^host = .*/host = $G4/"
    printf '[isolation]\nenabled = yes\nresolvers = 127.0.0.1\nforwarder = cmxdns\n'
    printf '[context broker]\ndirection = direct\nlocal_port = 9083\nremote_host = 127.0.0.1\nremote_port = 8083\nusers = cmxcamera\nlocal_host = localhost\n'
    reverse web 8081 9081
    echo 'local_host = localhost'
} >"$CONF"
# Runs the agent in the device's namespace, with our files as /etc/passwd and /etc/hosts.
AGENT_PREFIX=(ip netns exec "$NS-dev" unshare -m bash -c 'mount --bind "$1/passwd" /etc/passwd; mount --bind "$1/hosts" /etc/hosts; shift; exec "$@"' _ "$TMP")
start() {
    : >"$AGENT_LOG"
    start_agent
    wait_up
}
code_as() { in_ns dev setpriv --reuid="$1" --regid="$1" --clear-groups curl -s -o "$TMP/page" -m 3 -w '%{http_code}' http://127.0.0.1:9083/; }

start
in_ns gw curl -sS -m 30 -o "$TMP/page" http://127.0.0.1:9081/ || fail "the service on localhost is not reachable"
field_is .modules.isolation.packets.denied_loopback null || field_is .modules.isolation.packets.denied_loopback 0 || { json; fail "the agent connects to ::1, which the rules deny"; }
# Not before: the rules deny the last packet of a user's connection if it is sent after the program has ended.
[ "$(code_as 4711)" = 200 ] || fail "the user cannot use the context"
ok "localhost"
sed '/^cmx/d' /etc/passwd >"$TMP/passwd" # written in place: the bind mount shows this file
in_ns dev nft flush ruleset
wait_for 30 logged "[isolation] forwarder: there is no user cmxdns; the rules were installed without this user" || fail "the removed user is not reported"
wait_for 30 field_is .modules.isolation.in_force true || { json; fail "isolation is not restored"; }
wait_up
for uid in 4711 4712 4713; do [ "$(code_as $uid)" = 000 ] || fail "uid $uid may use the context of a removed user"; done
ok "the rules are flushed after a user was removed"

: >"$AGENT_LOG"
kill -HUP "$AGENT"
wait_for 20 logged "old configuration stays in force" || fail "a reload with a removed user"
logged "[isolation] forwarder: there is no user cmxdns" || fail "the reload does not name the user"
field_is .all_up true || fail "a refused reload ended the sessions"
"${AGENT_PREFIX[@]}" "$BIN/cmxsafed" -c "$CONF" --check >"$TMP/out" 2>&1 && fail "--check accepts a removed user"
grep -q 'there is no user cmxdns' "$TMP/out" || { cat "$TMP/out"; fail "--check does not name the user"; }
sed -i '/^forwarder/d' "$CONF"
"${AGENT_PREFIX[@]}" "$BIN/cmxsafed" -c "$CONF" --check >"$TMP/out" 2>&1 && fail "--check accepts a removed user of a context"
grep -qF '[context broker] users: there is no user cmxcamera' "$TMP/out" || { cat "$TMP/out"; fail "--check does not name the user of the context"; }
end_agent
start
logged "[context broker] users: there is no user cmxcamera; the rules were installed without this user" || fail "the start does not report the user"
for uid in 4711 4713; do [ "$(code_as $uid)" = 000 ] || fail "after the start uid $uid may use the context"; done
end_agent
ok "the agent starts without the removed user"
