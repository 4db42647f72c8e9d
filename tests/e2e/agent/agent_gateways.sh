#!/usr/bin/env bash
# Runs the agent with several gateways. `status` names the gateway in use. The pins come from the known_hosts lines of
# each gateway. confine_ports = fixed permits the ports of all gateways. A reload with another list keeps the gateway in
# use, if the list contains it. A malformed list changes nothing.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
for tool in jq python3; do command -v "$tool" >/dev/null || skip "no $tool"; done

SSHD_ADDRESS=127.0.0.2
start_sshd </dev/null
TWO=127.0.0.2:$SSHD_PORT TWO_PORT=$SSHD_PORT
SSHD_ADDRESS=127.0.0.1 SSHD_PORT=$(free_port)
start_sshd </dev/null
ONE=127.0.0.1:$SSHD_PORT CLOSED=$(free_port)
WEB=$(free_port) REMOTE=$(free_port)
mkdir "$TMP/www"; echo hello >"$TMP/www/index.html"
serve_folder "$WEB" "$TMP/www"
echo "[127.0.0.1]:$SSHD_PORT,[127.0.0.2]:$TWO_PORT $(cut -d' ' -f1,2 "$TMP/host_ed25519.pub")" >"$TMP/known_hosts"
conf() { # conf HOSTS: replaces the configuration
    { AGENT_LINES='confine_ports = fixed' gateway_section; reverse web "$WEB" "$REMOTE"; } |
        sed "s/^host = .*/host = $1/; s/^port = .*/port = $CLOSED/; s#^host_key = .*#known_hosts_file = $TMP/known_hosts#" >"$TMP/new.conf" &&
        mv "$TMP/new.conf" "$CONF"
}
reload() { : >"$AGENT_LOG"; kill -HUP "$AGENT"; wait_for 20 logged "$1" || fail "reload does not report: $1"; }
uses() { field_is .gateway.host "${1%:*}" && field_is .gateway.port "${1#*:}" && field_is .all_up true; }

conf "127.0.0.4 > $TWO > $ONE" # the first entry names no port, and nothing listens on the default port
"$BIN/cmxsafed" -c "$CONF" --check >"$TMP/check" 2>&1 || fail "check: $(cat "$TMP/check")"
start_agent
wait_up
uses "$TWO" || fail "the agent is not at the first gateway that works: $(json)"
field_is .gateway.configured "127.0.0.4 > $TWO > $ONE" || fail "the status does not show the list"
"$BIN/cmxsafed" status --socket "$RUN/s" | grep -q "^gateway 127.0.0.2 port $TWO_PORT of 127.0.0.4 > " || fail "the table does not name the gateway in use"
[ "$(curl -sS --max-time 10 "http://127.0.0.1:$REMOTE/")" = hello ] || fail "no data"
logged "web: 127.0.0.4: gateway connection:" || fail "the log does not name the gateway that failed"
ok "the first gateway that works is used, and named by status and log"

conf "$ONE, $TWO"
reload "read again: 1 context"
wait_for 30 uses "$TWO" || fail "after a reload the device uses another gateway: $(json)"
conf "$ONE"
reload "read again: 1 context"
wait_for 30 uses "$ONE" || fail "a list without the gateway in use: $(json)"
conf "$ONE, bad host"
reload "the old configuration stays in force"
logged "is not a list of 1 to 8 gateways, each HOST" || fail "no clear error"
uses "$ONE" || fail "a broken list changed something"
conf "$ONE, 127.0.0.5:1"
reload "gateway port 1 is usable only after a restart, because confine_ports = fixed"
end_agent
ok "reload: the gateway in use stays; a broken list or a new port changes nothing"

# A gateway accepts no new sessions, but one session survives there: the agent moves all its sessions to the other
# gateway.
SECOND=$(free_port) LISTENER=$SSHD_PID
{ AGENT_LINES='confine_ports = fixed' gateway_section; reverse web "$WEB" "$REMOTE"; echo "session = a"; reverse more "$WEB" "$SECOND"; echo "session = b"; } |
    sed "s/^host = .*/host = $ONE > $TWO/; s/^port = .*/port = $CLOSED/; s#^host_key = .*#known_hosts_file = $TMP/known_hosts#" >"$CONF"
start_agent
wait_up
uses "$ONE" || fail "the agent is not at the first gateway: $(json)"
LOST=$(pgrep -P "$LISTENER" | head -n 1) LEFT=$(pgrep -P "$LISTENER" | tail -n 1)
[ -n "$LOST" ] && [ "$LOST" != "$LEFT" ] || fail "the gateway does not have two sessions"
kill -KILL "$LISTENER" "$LOST" $(descendants "$LOST"); wait "$LISTENER" 2>/dev/null
wait_for 60 uses "$TWO" || fail "a session that survives keeps the others down: $(json)"
for p in "$REMOTE" "$SECOND"; do [ "$(curl -sS --max-time 10 "http://127.0.0.2:$p/" 2>/dev/null || curl -sS --max-time 10 "http://127.0.0.1:$p/")" = hello ] || fail "no data"; done
logged "other sessions have moved to another gateway" || fail "the log does not say why a session ended"
end_agent
ok "all sessions leave a gateway that accepts no new sessions"

echo "[127.0.0.9]:22 $(cut -d' ' -f1,2 "$TMP/host_ed25519.pub")" >"$TMP/known_hosts"
conf "$TWO > $ONE"
"$BIN/cmxsafed" -c "$CONF" --check >"$TMP/check" 2>&1 && fail "--check accepts a gateway without a pin"
grep -q "no line for 127.0.0.2 port $TWO_PORT or another gateway" "$TMP/check" || fail "no clear error: $(cat "$TMP/check")"
ok "without a known_hosts line for any gateway the agent does not start"
