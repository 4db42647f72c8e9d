#!/usr/bin/env bash
# The engine reports each connection when it is opened, when it is closed (with its bytes and the cause) and when it is
# refused (with the cause). It reports the end of a session's connections before the end of the session.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
command -v jq >/dev/null || skip "no jq"

S=$(free_port) R=$(free_port) FEW=$(free_port) NONE=$(free_port) D=$(free_port) NOWHERE=$(free_port) IDLE=$(free_port)
client() { python3 "$ROOT/tests/e2e/client.py" "$@"; }
told() { grep -qE "^event $*\$" "$TMP/proxy.log"; }
tells() { wait_for 20 told "$@" || { grep ^event "$TMP/proxy.log" >&2; fail "this event is not reported: $*"; }; }
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
start_proxy events=1 -- "echo,$S,$R,session=one" "few,$S,$FEW,session=one,max=1" "none,$NOWHERE,$NONE,session=one" \
    "idle,$S,$IDLE,session=one,idle=5" "back,$D,$S,session=one,direct=127.0.0.1"
up
tells "session one up ok gateway=127.0.0.1"

client "$R" sink 100000 || fail "sink"
tells "relay one echo reverse opened number=1 from=(127\.0\.0\.1|::1) in=0 out=0 cause=ok"
# The service receives 1 + 100000 bytes and sends a digest of 64 bytes.
tells "relay one echo reverse closed number=1 from=[^ ]+ in=100001 out=64 cause=ok"
client "$D" sink 1000 || fail "direct"
tells "relay one back direct opened number=1 from=127\.0\.0\.1 in=0 out=0 cause=ok"
tells "relay one back direct closed number=1 from=127\.0\.0\.1 in=64 out=1001 cause=ok"
ok "opened and closed in order, with the bytes of each way"

client "$FEW" over 1 || fail "a connection above the bound is not refused"
tells "relay one few reverse refused number=0 from=[^ ]+ in=0 out=0 cause=busy"
client "$NONE" refused || fail "a connection is not refused although no service runs"
tells "relay one none reverse refused number=0 from=[^ ]+ in=0 out=0 cause=refused"
lacks "^event relay one none reverse opened" "$TMP/proxy.log" || fail "opened without a service"
ok "refused, with the cause"

client "$IDLE" short 200 || fail "a busy connection failed in a context with an idle limit"
lacks "relay one idle .* cause=timeout" "$TMP/proxy.log" || fail "a busy connection was ended as idle"
client "$IDLE" idle || fail "idle"
tells "relay one idle reverse closed number=201 from=[^ ]+ in=1 out=1 cause=timeout"
client "$R" reset || fail "reset"
tells "relay one echo reverse closed number=2 from=[^ ]+ in=9 out=[0-9]+ cause=closed"
ok "idle and broken connections are distinguished"

client "$R" hold 60 2>/dev/null & HOLD=$!; PIDS+=($!)
tells "relay one echo reverse opened number=3 .*"
for p in $(sshd_children); do kill -KILL "$p"; done
tells "relay one echo reverse closed number=3 .* cause=closed"
tells "session one down closed gateway=127.0.0.1"
[ "$(grep -nE "^event relay one echo reverse closed number=3" "$TMP/proxy.log" | cut -d: -f1)" -lt "$(grep -n "^event session one down" "$TMP/proxy.log" | head -n 1 | cut -d: -f1)" ] ||
    fail "the end of the session was reported before that of the connection"
wait "$HOLD" && fail "a lost connection continued"
ok "the end of a lost session is reported after the ends of its connections"

up
client "$R" hold 60 2>/dev/null & HOLD=$!; PIDS+=($!)
tells "relay one echo reverse opened number=4 .*"
ask "set few,$S,$FEW,session=one,max=1" >/dev/null
tells "relay one echo reverse closed number=4 .* cause=not-found"
wait "$HOLD" && fail "a removed context's connection continued"
ok "the connections of a removed context end"
# The gateway refuses a port that is in use. Once the refused context is removed, all contexts are reachable.
FEW_ARGS="few,$S,$FEW,session=one,max=1" TWO=$(free_port) USED=$(free_port)
python3 -c "
import socket, time
s = socket.create_server(('::', $USED), family=socket.AF_INET6, dualstack_ipv6=True)
time.sleep(300)" & PIDS+=($!)
wait_for 10 listening "$USED" || fail "the other program does not listen on the port"
[ "$(ask set "$FEW_ARGS" "good,$S,$TWO,session=two" "taken,$S,$USED,session=two")" = "set ok" ] || fail "set"
wait_for 20 status_is good state up || fail "the good context: $(ask status)"
wait_for 20 status_is taken error forward-refused || fail "the refused context: $(ask status)"
lacks "^event session two up" "$TMP/proxy.log" || fail "reported as up although the gateway refused a forward"
[ "$(ask set "$FEW_ARGS" "good,$S,$TWO,session=two")" = "set ok" ] || fail "set"
tells "session two up ok gateway=127.0.0.1"
ok "a session is up when its refused context has been removed"
[ "$(grep -cE "^event relay .* opened" "$TMP/proxy.log")" -eq "$(grep -cE "^event relay .* closed" "$TMP/proxy.log")" ] || {
    grep ^event "$TMP/proxy.log" >&2; fail "an opened connection was never closed, or closed twice"; }
quit_proxy >/dev/null

# ---- the agent: in its log and status ----
AGENT_LINES='log_level = debug'
{ gateway_section; reverse echo "$S" "$R"; reverse none "$NOWHERE" "$NONE"; } >"$CONF"
start_agent
wait_up
[ "$(context echo .relays.last_refusal)" = null ] || fail "a refusal was counted before any took place"
client "$R" sink 1000 || fail "a transfer through the agent fails"
client "$NONE" refused || fail "a connection is not refused although no service runs"
wait_for 20 logged "proxy: echo: connection 1 from " || fail "the agent does not log the connection"
wait_for 20 logged " 1001 bytes in, 64 out: in order" || fail "the end of the connection is not logged"
wait_for 20 context_is none .relays.last_refusal.code refused || fail "wrong status: $(context none .relays)"
context_is echo .relays.refused 0 || fail "wrong status: $(context echo .relays)"
end_agent
ok "the agent's log and status"
