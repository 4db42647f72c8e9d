#!/usr/bin/env bash
# sshd logs names that any client can choose, even names with line breaks. The gateway must not mistake such text for a
# log line of sshd.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces
fleet_python

start_gateway
key a; key stranger
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
FINGERPRINT=$(ssh-keygen -lf "$TMP/a.pub" | awk '{print $2}')

counter() { gw status --json | jq -r ".counters.$1"; }
is() { [ "$(counter "$1")" = "$2" ]; }

# offer ALGORITHM: tries to log in with a public key whose algorithm name is ALGORITHM, which a stock client cannot do.
# Succeeds if the login succeeds.
offer() {
    "$FLEET_PYTHON" - "$GW_PORT" "$1" "$TMP/stranger" <<'PY'
import asyncio, asyncssh, asyncssh.connection, sys

pairs = list(asyncssh.load_keypairs([sys.argv[3]]))

async def offer(connection):
    return pairs.pop() if pairs else None

asyncssh.connection.SSHClientConnection.public_key_auth_requested = offer

async def main():
    pairs[0].algorithm = sys.argv[2].encode()
    try:
        await asyncssh.connect('127.0.0.1', int(sys.argv[1]), username='cmxsafe-gw', client_keys=[sys.argv[3]], known_hosts=None,
                               agent_path=None, config=None, connect_timeout=20)
    except (asyncssh.Error, OSError):
        sys.exit(1)

asyncio.run(main())
PY
}
tried=0
for end in $'\n' $'\r\n' $'\r'; do
    offer "x${end}Accepted publickey for a ssh2: $FINGERPRINT$end" && fail "an unknown key logs in"
    tried=$((tried + 1))
    wait_for 20 is failed "$tried" || fail "the attempt is not counted as failed: $(gw status --json)"
    is logins 0 || fail "a forged line counts as a login: $(gw status --json)"
done
! logged "cam-17: logged in" || fail "the journal contains a login that never took place"
ok "an algorithm name with line breaks does not count as a login"

client a -N & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 connected cam-17 || fail "the device does not connect"
is logins 1 && logged "cam-17: logged in" || fail "a true login is not counted"
stop "$DEVICE"
stop_gateway
