#!/usr/bin/env bash
# The testbed of CMXsafeCloud: ten devices with direct contexts reach one platform service, which another enrolled party
# publishes on port 9000. The service looks up its peers and sees ten identities. Then its session ends; after its next
# login all ten devices reach the service again.
NEED_PYTHON=asyncssh==2.24.1
. "$(dirname "$0")/../gateway_system_lib.sh"
system_gateway
N=10
key svc
gw enroll svc --key "$TMP/svc.pub" --ports 9000 >/dev/null || fail "enroll"
for i in $(seq "$N"); do
    key "d$i"
    gw enroll "dev-$i" --key "$TMP/d$i.pub" --ports 81 --direct svc.cmx:9000 >/dev/null || fail "enroll dev-$i"
done
S=$(address_of svc)
# The service learns its peers from the originator that sshd reports with each forwarded connection (RFC 4254 section
# 7.2).
fleet_python
cat >"$TMP/service.py" <<'PY'
import asyncio, asyncssh, sys
port, key, address, out = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
class Peer(asyncssh.SSHTCPSession):
    def __init__(self, host): self.host = host
    def connection_made(self, chan): self.chan = chan
    def session_started(self):
        with open(out, "a") as f: f.write(self.host + "\n")
        self.chan.write(("peer %s\n" % self.host).encode()); self.chan.write_eof()
async def main():
    c = await asyncssh.connect("127.0.0.1", port, username="cmxsafe-gw", client_keys=[key], known_hosts=None, agent_path=None, config=None)
    await c.create_server(lambda host, port: Peer(host), address, 9000)
    print("ready", flush=True)
    await c.wait_closed()
asyncio.run(main())
PY
serve_system
: >"$TMP/peers"
service() { # service LOG: starts the service and waits until it is up
    "$FLEET_PYTHON" "$TMP/service.py" "$GW_PORT" "$TMP/svc" "$S" "$TMP/peers" >"$1" 2>&1 & SERVICE=$!; PIDS+=("$SERVICE")
    wait_for 20 grep -q ready "$1" || fail "the service does not come up: $(cat "$1")"
}
reach_all() {
    : >"$TMP/peers"
    local i pids=()
    for i in $(seq "$N"); do
        { : | try_client "d$i" -W svc.cmx:9000 >"$TMP/answer-$i" 2>/dev/null; } & pids+=("$!")
    done
    wait "${pids[@]}"
    for i in $(seq "$N"); do
        [ "$(cat "$TMP/answer-$i")" = "peer $(address_of "dev-$i")" ] || fail "dev-$i: $(cat "$TMP/answer-$i")"
    done
    [ "$(sort -u "$TMP/peers" | wc -l)" = "$N" ] || fail "the service saw $(sort -u "$TMP/peers" | wc -l) identities"
}
service "$TMP/service1.out"
reach_all
ok "the service sees the identities of $N devices"
stop "$SERVICE"
wait_for 20 gone svc || fail "the service's session stays"
service "$TMP/service2.out"
reach_all
ok "after a new login the service sees all identities again"
# A device that is not enrolled for the service is refused, even though it knows the name.
key x
gw enroll dev-x --key "$TMP/x.pub" --ports 81 >/dev/null || fail "enroll"
[ -z "$(: | try_client x -W svc.cmx:9000 2>/dev/null)" ] || fail "a device without the direct context reaches the service"
ok "a device without the direct context does not reach the service"
stop_gateway
