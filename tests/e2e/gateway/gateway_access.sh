#!/usr/bin/env bash
# The access log has the connections that were open when the gateway was stopped or killed.
. "$(dirname "$0")/../gateway_system_lib.sh"
system_gateway
web one
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null && gw grant user:1234 cam-17:81 >/dev/null || fail "enroll"
A=$(address_of cam-17)
keep_client a -N -R "[$A]:81:127.0.0.1:$WEB"
# connection: opens a connection that lasts until the gateway ends. The device's service waits for the rest of the request.
connection() {
    closed=$(lines close)
    wait_for 20 connected cam-17 && wait_for 20 gets 1234 "http://[$A]:81/" one || fail "the device can't be reached"
    wait_for 10 all_closed || fail "the end of a request is not logged: $(cat "$GW/run/access/log")"
    opened=$(lines open)
    as 1234 bash -c "exec 3<>'/dev/tcp/$A/81' && echo 'GET / HTTP/1.0' >&3 && sleep 600" & PIDS+=("$!")
    wait_for 10 has_more || fail "the connection is not opened: $(cat "$GW/run/access/log")"
}
lines() { grep -c "\"$1\"" "$GW/run/access/log"; }
# A connection is logged a moment after it begins or ends. True once the log has all lines of the earlier connections.
all_closed() { [ "$(lines close)" -gt "$closed" ] && [ "$(lines open)" = $(($(lines close) + $(lines cut))) ]; }
has_more() { [ "$(lines open)" -gt "$opened" ]; }
ends() { gw access --json --device cam-17 | jq -s --arg e "$1" '[.[] | select(.event == $e and .consumer == "user:1234" and .port == 81)] | length'; }
serve_system
connection
stop "$GW_PID"
serve_system
equal 2 "$(ends close)" && equal 0 "$(ends cut)" || fail "after a stop: $(gw access)"
ok "a gateway that was stopped"

connection
kill -KILL "$(server_pid)"; wait "$GW_PID"
serve_system
equal 3 "$(ends close)" && equal 1 "$(ends cut)" || fail "after a kill: $(gw access)"
gw access | grep -q 'cut  *user:1234 -> cam-17:81  since .*; its end was not logged' || fail "access: $(gw access)"
connection
stop "$GW_PID"
serve_system
equal 5 "$(ends close)" && equal 1 "$(ends cut)" || fail "the connection is logged again: $(gw access)"
ok "a gateway that was killed"
stop_gateway
