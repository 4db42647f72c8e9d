#!/usr/bin/env bash
# The gateway is dropbear, not OpenSSH: reverse and direct forwards, many connections, half-close, recovery.
. "$(dirname "$0")/../lib.sh"
command -v dropbear >/dev/null || skip "dropbear is not installed"

S=$(free_port) R=$(free_port) D=$(free_port)
client() { python3 "$ROOT/tests/e2e/client.py" "$@"; }
HOMEDIR=$(getent passwd "$(id -un)" | cut -d: -f6)
KEY=$TMP/client_key SSHD_PORT=$(free_port)
ssh-keygen -q -t ed25519 -N '' -f "$KEY"
dropbearkey -t ed25519 -f "$TMP/dropbear_key" >"$TMP/dropbear_key.txt" 2>&1 || fail "dropbearkey"
PIN=$(grep '^ssh-ed25519' "$TMP/dropbear_key.txt")
# dropbear reads only ~/.ssh/authorized_keys: a private mount namespace provides one without changing the real file.
start_dropbear() {
    unshare -m sh -c "mkdir -p '$TMP/home/.ssh' && cp '$KEY.pub' '$TMP/home/.ssh/authorized_keys' && chmod 700 '$TMP/home' '$TMP/home/.ssh' &&
        mount --bind '$TMP/home' '$HOMEDIR' && exec dropbear -F -E -s -r '$TMP/dropbear_key' -p 127.0.0.1:$SSHD_PORT -P '$TMP/dropbear.pid'" 2>>"$TMP/dropbear.log" &
    DROPBEAR=$!; PIDS+=("$DROPBEAR")
    wait_for 10 listening "$SSHD_PORT" || skip "dropbear does not start here: $(tail -n 1 "$TMP/dropbear.log")"
}
[ "$(id -u)" = 0 ] || skip "needs a mount namespace"
start_dropbear
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
start_proxy -- "echo,$S,$R,max=16" "back,$D,$S,direct=127.0.0.1,session=echo"
up
client "$R" sink 5000000 || fail "a transfer to the device fails"
client "$R" source 5000000 || fail "a transfer from the device fails"
client "$R" many 16 || fail "one of 16 simultaneous connections fails"
client "$D" sink 1000000 || fail "direct"
ok "dropbear as the gateway"
for p in $(pgrep -P "$DROPBEAR"); do kill -KILL "$p"; done
wait_for 30 client "$R" sink 1000 || fail "session killed: $(ask status)"
ok "dropbear works again after its session was killed"
quit_proxy
