#!/usr/bin/env bash
# A device without a hardware key creates an SSH key at its first start, logs its public half and keeps it. With
# remote_address "fleet:PREFIX" the device and the agent listen on the address that the gateway derives from the same
# key.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
BOARD=$BIN/cmxsafe-board

offset=$(free_offset)
BOARD_PID=
start_board() { # start_board [OPTION...]: starts the board with these options
    : >"$TMP/board.log"
    "$BOARD" run "$TMP/board" --set "board.port_offset=$offset" --set "context stream.local_port=81" \
        --set "context ota.local_port=8989" --set "context attest.local_port=8888" "$@" 2>>"$TMP/board.log" &
    BOARD_PID=$!
    PIDS+=("$BOARD_PID")
}
end_board() {
    kill "$BOARD_PID"
    wait "$BOARD_PID" || fail "the board ended with $?"
    no_sanitizer_report "$TMP/board.log" || fail "a sanitizer complains"
}
logged_key() { sed -n 's/.*SSH key: \(ecdsa-sha2-nistp256 .*\)/\1/p' "$TMP/board.log"; }

start_sshd </dev/null
stream=$(free_port)
to_sshd=(--gateway "127.0.0.1:$SSHD_PORT" --set "gateway.user=$SSHD_USER" --set "gateway.host_key=$PIN"
    --set "context stream.remote_port=$stream" --set "context ota.remote_port=$(free_port)" --set "context attest.remote_port=$(free_port)")
through() { curl -fsS --max-time 20 "http://127.0.0.1:$stream/frame.jpg" -o "$TMP/frame.jpg"; }

"$BOARD" create "$TMP/board" >/dev/null || fail "create"
start_board "${to_sshd[@]}"
wait_for 20 grep -q 'SSH key fingerprint: SHA256:.*made by this device' "$TMP/board.log" || fail "the key is not in the log"
logged_key >"$TMP/board.pub"
grep -qF "fingerprint: $(ssh-keygen -lf "$TMP/board.pub" | awk '{print $2}') " "$TMP/board.log" || fail "the fingerprint is not ssh-keygen's"
wait_for 20 grep -q 'the SSH key is stored unencrypted' "$TMP/board.log" || fail "the log does not warn about unencrypted storage"
[ "$(stat -c '%a %s' "$TMP/board/ssh_secret.bin")" = "600 32" ] || fail "the secret's file: $(stat -c '%a %s' "$TMP/board/ssh_secret.bin")"
wait_for 20 grep -q 'login: ' "$TMP/board.log" || fail "no login was tried"
! through 2>/dev/null || fail "an unknown key logs in"
end_board
ok "the first start makes a key and logs it"

cat "$TMP/board.pub" >>"$TMP/authorized_keys"
start_board "${to_sshd[@]}"
wait_for 30 through || fail "the key in the log does not log in"
equal "$(logged_key)" "$(cat "$TMP/board.pub")" || fail "the second start has another key"
end_board
ok "the key survives a restart and logs in"

# A board that cannot store its secret creates no key. Otherwise it would have a new key at each start, and the gateway
# would not accept this key.
mv "$TMP/board/ssh_secret.bin" "$TMP/secret"
mkdir "$TMP/board/ssh_secret.bin"
start_board "${to_sshd[@]}"
wait_for 20 grep -q "the device's own SSH key: storage or hardware failed" "$TMP/board.log" || fail "the log does not name the storage"
[ -z "$(logged_key)" ] || fail "a key that is not stored"
end_board
rmdir "$TMP/board/ssh_secret.bin"
mv "$TMP/secret" "$TMP/board/ssh_secret.bin"
ok "a key that cannot be stored is not used"

start_board "${to_sshd[@]}" --set "gateway.remote_address=fleet:fd12:3456:789a::1/48"
wait_for 20 grep -q "'fleet:fd12:3456:789a::1/48' is not a fleet's prefix" "$TMP/board.log" || fail "a wrong prefix is accepted"
end_board
ok "a wrong prefix is refused"

need_namespaces
start_gateway --fleet fd12:3456:789a::/48
gw enroll cam --key "$TMP/board.pub" --ports 81,8989,8888 >/dev/null || fail "enroll"
gw grant "user:$(id -un)" cam >/dev/null || fail "grant"
pin=$(sed -n 's/.*\(SHA256:[A-Za-z0-9+\/]*\).*/\1/p' "$TMP/init.out" | head -n 1)
start_board --gateway "127.0.0.1:$GW_PORT" --set gateway.user=cmxsafe-gw --set "gateway.host_key=$pin" \
    --set "gateway.remote_address=fleet:fd12:3456:789a::/48"
board_answers() { fetch -o "$TMP/frame.jpg" http://cam.cmx:81/frame.jpg 2>/dev/null && head -c 2 "$TMP/frame.jpg" | xxd -p | grep -qx ffd8; }
wait_for 60 board_answers || { tail -5 "$TMP/board.log"; fail "the board is not reachable at its address"; }
grep -qF "listen address in fd12:3456:789a::/48: $(address_of cam)" "$TMP/board.log" || fail "the board derives another address"
end_board
ok "the board listens at the address that the gateway derived"

key agent
gw enroll box --key "$TMP/agent.pub" --ports 80 >/dev/null || fail "enroll"
gw grant "user:$(id -un)" box >/dev/null || fail "grant"
web box
cat >"$TMP/cmxsafed.conf" <<CONF
[agent]
control_socket = $TMP/ctl.sock
confine = no
[gateway]
host = 127.0.0.1
port = $GW_PORT
user = cmxsafe-gw
host_key = $pin
key_file = $TMP/agent
[context web]
local_port = $WEB
remote_port = 80
remote_address = fleet:fd12:3456:789a::/48
CONF
"$BIN/cmxsafed" --check -c "$TMP/cmxsafed.conf" || fail "cmxsafed --check"
"$BIN/cmxsafed" -c "$TMP/cmxsafed.conf" 2>"$TMP/agent.log" & AGENT=$!; PIDS+=("$AGENT")
wait_for 60 answers http://box.cmx/ box || { tail -5 "$TMP/agent.log"; fail "the agent is not reachable at its address"; }
grep -qF "listen address in fd12:3456:789a::/48: $(address_of box)" "$TMP/agent.log" || fail "the agent derives another address"
kill "$AGENT"; wait "$AGENT"
no_sanitizer_report "$TMP/agent.log" || fail "a sanitizer complains"
sed -i 's|fleet:.*|fleet:fe80::/48|' "$TMP/cmxsafed.conf"
"$BIN/cmxsafed" --check -c "$TMP/cmxsafed.conf" 2>&1 | grep -q "is not a fleet's prefix" || fail "--check accepts a link-local prefix"
ok "the agent listens at the address that the gateway derived"
no_complaints
