# Tests the identity that is derived from private_key.bin: the device is enrolled before its first start and logs in to
# a real sshd, and curl reaches its attestation service through the tunnel.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
make_key
make_flash $((4 << 20))
start_sshd <<<'' # authorizes $KEY; the lines below authorize only the device's key instead
cmx identity public >"$TMP/identity" || fail "identity public"
head -n 1 "$TMP/identity" >"$TMP/authorized_keys"
ssh-keygen -lf "$TMP/authorized_keys" | grep -q ECDSA || fail "ssh-keygen does not accept the key"
remote=$(free_port)
start_board --keyfile private_key.bin --gateway "$SSHD_PORT" "$SSHD_USER" "$PIN" "$remote"
wait_for 30 listening "$remote" || fail "the device does not log in with its derived key"
grep -q "Accepted publickey.*ECDSA $(ssh-keygen -lf "$TMP/authorized_keys" | awk '{print $2}')" "$TMP/sshd.log" || fail "sshd accepted another key"
ok "login with the derived key"
value=$(curl -sf "http://127.0.0.1:$remote/hash?challenge=string_to_use_as_challenge") || fail "no answer through the tunnel"
[ "$value" = "$(cd "$TMP" && python3 "$ROOT/remote_attestation.py" string_to_use_as_challenge | sed -n 's/.*HMAC: //p')" ] || fail "/hash and remote_attestation.py give different values"
cmx attest --url "http://127.0.0.1:$remote" >/dev/null || fail "cmxsafe attest"
head -c $((0x80000)) "$TMP/firmware.bin" >"$TMP/app.bin"
cmx image manifest --end 0x90000 app.bin >"$TMP/manifest"
cmx attest --evidence --manifest manifest --url "http://127.0.0.1:$remote" --gateway "$PIN" >"$TMP/out" || { cat "$TMP/out"; fail "evidence through the tunnel is not trusted"; }
grep -q '^ok *gateway' "$TMP/out" || fail "the gateway is not checked"
cmx attest --evidence --manifest manifest --url "http://127.0.0.1:$remote" --gateway SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA >/dev/null && fail "another gateway is trusted"
ok "hash and evidence through the tunnel"
stop_board
openssl rand -out "$TMP/private_key.bin" 32 # the key of another device
start_board --keyfile private_key.bin --gateway "$SSHD_PORT" "$SSHD_USER" "$PIN" "$(free_port)"
wait_for 20 grep -q 'Failed publickey\|Connection closed by authenticating user\|maximum authentication' "$TMP/sshd.log" || fail "another device's key is not refused"
stop_board
ok "another device's key is refused"

# The session identifier in the evidence equals the one at the gateway's end of the session.
python=$(python_with asyncssh==2.24.1) || fail "no asyncssh"
port=$(free_port)
"$python" - "$port" "$TMP" >"$TMP/gateway.log" 2>&1 <<'PY' &
import asyncio, sys, asyncssh
port, folder = int(sys.argv[1]), sys.argv[2]
class Server(asyncssh.SSHServer):
    def connection_made(self, conn): self.conn = conn
    def begin_auth(self, user): return True
    def public_key_auth_supported(self): return True
    def validate_public_key(self, user, key): return True
    def server_requested(self, host, port):
        open(folder + "/session", "w").write(self.conn._session_id.hex())
        return True
async def main():
    await asyncssh.create_server(Server, "127.0.0.1", port, server_host_keys=[folder + "/host_ed25519"])
    await asyncio.sleep(600)
asyncio.run(main())
PY
PIDS+=($!)
wait_for 30 listening "$port" || fail "asyncssh does not listen"
remote=$(free_port)
start_board --keyfile private_key.bin --gateway "$port" device "$PIN" "$remote"
wait_for 30 listening "$remote" || fail "no session with asyncssh"
cmx attest --evidence --manifest manifest --url "http://127.0.0.1:$remote" --gateway "$PIN" --session "$(cat "$TMP/session")" >"$TMP/out" || { cat "$TMP/out"; fail "the session's identifier is not the gateway's"; }
grep -q '^ok *session' "$TMP/out" || fail "the session is not checked"
first=$(cat "$TMP/session")
stop_board
start_board --keyfile private_key.bin --gateway "$port" device "$PIN" "$remote"
wait_for 30 listening "$remote" || fail "no second session"
differ "$(cat "$TMP/session")" "$first" || fail "two sessions have the same identifier"
cmx attest --evidence --manifest manifest --url "http://127.0.0.1:$remote" --session "$first" >"$TMP/out" && fail "evidence from another session is trusted"
grep -q '^FAILED *session' "$TMP/out" || fail "does not report that the session differs"
stop_board
ok "evidence is bound to the SSH session that carries it"
