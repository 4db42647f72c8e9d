#!/usr/bin/env bash
# Tests the key exchange of a session: status names it, and require_pq accepts only post-quantum key exchanges. If
# libssh supports no post-quantum key exchange, a configuration with require_pq is refused.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
PQ='mlkem768x25519-sha256|sntrup761x25519-sha512@openssh.com'
configure() { { gateway_section; printf '%s\n' "$@"; reverse web "$web" "$remote"; } >"$CONF"; }
web=$(free_port) remote=$(free_port)

start_sshd <<<"KexAlgorithms curve25519-sha256"
configure
start_agent
wait_up
context_is web .key_exchange curve25519-sha256 || fail "the status names $(context web .key_exchange)"
end_agent
ok "the status names the key exchange"

# The virtual board has the same setting.
board_says() { # board_says TEXT: starts a board and waits until its log has TEXT
    "$BIN/cmxsafe-board" run "$TMP/board" --gateway "127.0.0.1:$SSHD_PORT" --set "gateway.user=$SSHD_USER" --set "gateway.host_key=$PIN" \
        --set "gateway.key_file=$KEY" --set gateway.require_pq=yes --set "board.port_offset=$(free_offset)" >"$TMP/board.log" 2>&1 & BOARD=$!; PIDS+=("$BOARD")
    wait_for 30 grep -qE "$1" "$TMP/board.log" || fail "the board does not say: $1"
    stop "$BOARD"
}
"$BIN/cmxsafe-board" create "$TMP/board" >/dev/null || fail "create a board"

configure "require_pq = yes"
if ! "$BIN/cmxsafed" -c "$CONF" --check >"$TMP/check.log" 2>&1; then
    grep -q "require_pq: this libssh has no post-quantum key exchange" "$TMP/check.log" || fail "wrong message: $(cat "$TMP/check.log")"
    "$BIN/cmxsafed" -c "$CONF" 2>>"$AGENT_LOG" && fail "starts in spite of require_pq"
    board_says "libssh refuses option .*kex algos"
    ok "a libssh without post-quantum key exchange refuses require_pq"
    skip_part "libssh before 0.12 has no post-quantum key exchange"
    exit 0
fi
start_agent
wait_for 20 field_is '.contexts[0].last_error | . != null' true || fail "no error against a gateway without a post-quantum key exchange"
[ "$(field .all_up)" = false ] || fail "in spite of require_pq the session is up with $(context web .key_exchange)"
stop_sshd
start_sshd </dev/null
wait_up
context web .key_exchange | grep -qxE "$PQ" || fail "the key exchange is not post-quantum but $(context web .key_exchange)"
end_agent
board_says "session with 127.0.0.1 up"
configure
start_agent
wait_up
context web .key_exchange | grep -qxE "$PQ" || fail "a post-quantum key exchange is not first: $(context web .key_exchange)"
first=$(context web .key_exchange)
end_agent
ok "post-quantum key exchanges come first ($first), and are required where the configuration says so"
