#!/usr/bin/env bash
# A client that knows the public key of a device asks sshd again and again whether the key may log in, without a signature. sshd
# counts none of these questions as a failed login, and runs its helper for each. The gateway ends such a connection.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces
fleet_python

start_gateway
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
cat >"$TMP/ask.py" <<'PY'
import asyncio, sys, asyncssh
from asyncssh import auth
from asyncssh.packet import Boolean, String
answers = 0
async def again(self, pkttype, pktid, packet):
    global answers
    answers += 1
    await self.send_request(Boolean(False), String(self._keypair.algorithm), String(self._keypair.public_data))
auth._ClientPublicKeyAuth._packet_handlers = dict(auth._ClientPublicKeyAuth._packet_handlers)
auth._ClientPublicKeyAuth._packet_handlers[auth.MSG_USERAUTH_PK_OK] = again
auth._ClientPublicKeyAuth._process_public_key_ok = again
async def main():
    try:
        async with asyncssh.connect("127.0.0.1", int(sys.argv[1]), username="cmxsafe-gw", client_keys=[sys.argv[2]], known_hosts=None, config=None):
            print("logged in")
    except (OSError, asyncssh.Error):
        pass
try:
    asyncio.run(asyncio.wait_for(main(), 120))
except asyncio.TimeoutError:
    print("not ended")
print(answers)
PY
ANSWERS=$("$FLEET_PYTHON" "$TMP/ask.py" "$GW_PORT" "$TMP/a")
echo "answers to questions without a signature: $ANSWERS"
[ "$ANSWERS" -ge 1 ] && [ "$ANSWERS" -le 20 ] || fail "sshd answered $ANSWERS questions on one connection"
wait_for 10 logged 'ended: its client offered keys too often without logging in' || fail "the log does not name the cause"
client a -N & PIDS+=("$!")
wait_for 30 connected cam-17 || fail "the device cannot log in any more"
ok "the gateway ends a connection that only offers keys"
stop_gateway
