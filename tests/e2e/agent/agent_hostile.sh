#!/usr/bin/env bash
# The agent with a hostile gateway: tiny maximum packet sizes, and random messages of the connection protocol. The agent's memory
# stays small, it uses little processor time, and it can be reached through another gateway afterwards.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
command -v jq >/dev/null || skip "no jq"
PYTHON=$(python_with asyncssh==2.24.1) || fail "asyncssh cannot be installed"
S=$(free_port) R=$(free_port)
start_sshd </dev/null
REAL=$SSHD_PORT
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"

hostile() { # hostile WHAT: starts the gateway and an agent for it
    SSHD_PORT=$(free_port)
    "$PYTHON" "$ROOT/tests/e2e/hostile.py" "$SSHD_PORT" "$TMP/host_ed25519" "$TMP/authorized_keys" "$1" >"$TMP/hostile.out" 2>"$TMP/hostile.log" &
    HOSTILE=$!; PIDS+=("$HOSTILE")
    wait_for 20 listening "$SSHD_PORT" || fail "hostile $1"
    : >"$AGENT_LOG"
    { gateway_section; reverse echo "$S" "$R"; } >"$CONF"
    start_agent
}
# survived WHAT: expects that the agent used little memory and time, and that after a reload it serves the real gateway.
survived() {
    local peak ticks
    if lacks __asan_init "$BIN/cmxsafed"; then
        peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$AGENT/status")
        ticks=$(awk '{ print $14 + $15 }' "/proc/$AGENT/stat")
        [ "$peak" -lt 60000 ] || fail "$1: the agent's memory grew to $peak KB"
        [ "$ticks" -lt $((20 * $(getconf CLK_TCK))) ] || fail "$1: the agent used $ticks ticks of processor time"
    fi
    lacks $'\e' "$AGENT_LOG" || fail "$1: the gateway can write control characters to the log"
    lacks '^forged' "$AGENT_LOG" || fail "$1: the gateway can forge a line of the log"
    sed -i "s/^port = $SSHD_PORT/port = $REAL/" "$CONF"
    kill -HUP "$AGENT"
    wait_for 30 context_is echo .state up && wait_for 30 python3 "$ROOT/tests/e2e/client.py" "$R" sink 100000 ||
        { json; fail "$1: the service cannot be reached through another gateway"; }
    end_agent
    stop "$HOSTILE"
}

for size in 1 9 11; do
    hostile packets-$size
    wait_for 30 grep -q '^got 100000' "$TMP/hostile.out" || { json; fail "not all bytes arrive with packets of $size bytes"; }
    survived "packets of $size bytes"
done
# libssh 0.10 takes off 10 bytes for the header, and never ends a write in packets of the 0 bytes that remain. The limit of
# the heap's blocks (wipe_free.c) ends it, and the session with it. Sanitizers have their own heap.
if lacks __asan_init "$BIN/cmxsafed"; then
    hostile packets-10
    another() { grep -q '^got' "$TMP/hostile.out" || [ "$(context echo .sessions)" -gt 2 ]; }
    wait_for 60 another || { json; fail "packets of 10 bytes: the session hangs"; }
    survived "packets of 10 bytes"
fi
ok "tiny packets"

for seed in 1 2 3; do
    hostile "chaos-$seed"
    ended() { [ "$(grep -c '^chaos' "$TMP/hostile.out")" -ge 3 ]; }
    wait_for 60 ended || { json; cat "$TMP/hostile.log"; fail "chaos $seed: no new session"; }
    survived "chaos $seed"
done
ok "random messages"
