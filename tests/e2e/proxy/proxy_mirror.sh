#!/usr/bin/env bash
# peer = mirror: the service sees the client's address as the source of the connection, and the agent needs no
# privilege. A connection reaches the service only if root has added a local route for the client's address
# (cmxsafed-mirror@) and the client has an IPv6 identity. Runs in its own network namespace.
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root for a network namespace"

if [ -z "${CMX_MIRROR_NS:-}" ]; then
    CMX_MIRROR_NS=1 unshare --net -- bash "$0" || exit
    exit 0
fi
ip link set lo up
# As on a CMX-GW, the machine has the addresses that identify two clients and the device.
ip -6 addr add fd00:1::17/128 dev lo
ip -6 addr add fd00:1::18/128 dev lo
ip -6 addr add fd00:2::99/128 dev lo
S=$(free_port) R=$(free_port) R4=$(free_port)
cat >"$TMP/peername.py" <<'PY'
import socket, sys
s = socket.create_server(("::1", int(sys.argv[1])), family=socket.AF_INET6)
while True:
    c, a = s.accept()
    c.sendall(f"{a[0]}\n".encode())
    c.close()
PY
python3 "$TMP/peername.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
start_sshd <<<'GatewayPorts clientspecified'
start_proxy events=1 -- "web,$S,$R,peer=3,local=::1,address=fd00:2::99" "other,$S,$R4,peer=3,local=::1"
up
# seen_by SOURCE ADDRESS PORT: prints the service's answer to a client with the address SOURCE, or nothing if the client
# did not reach it.
seen_by() {
    python3 - "$@" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.settimeout(10)
s.bind((sys.argv[1], 0))
try:
    s.connect((sys.argv[2], int(sys.argv[3])))
    print(s.recv(100).decode().strip())
except OSError:
    print("")
PY
}
for client in fd00:1::17 fd00:1::18; do
    got=$(seen_by "$client" fd00:2::99 "$R")
    [ "$got" = "$client" ] || fail "the service saw '$got' instead of $client"
done
ok "the service sees each client's own address"
got=$(seen_by 127.0.0.1 127.0.0.1 "$R4"); [ "$got" = "" ] || fail "a client with an IPv4 address reached the service as '$got'"
got=$(seen_by ::1 ::1 "$R4"); [ "$got" = "" ] || fail "a client on the gateway's loopback reached the service as '$got'"
status_is other refused 2 || fail "the refusals are not counted: $(ask status)"
ok "a client without an IPv6 identity is refused"
ip -6 addr del fd00:1::18/128 dev lo
ip -6 addr add fd00:3::1/128 dev lo
quit_proxy

# Here the device has its own network namespace. In it, the kernel delivers the service's answers to the agent only
# after root has added the route.
ip netns add "cmx-mir-$$" && CLEANUP+=("ip netns del cmx-mir-$$")
ip link add mir0 type veth peer name mir1 netns "cmx-mir-$$"
ip link set mir0 up; ip addr add 10.9.9.1/30 dev mir0
dev() { ip netns exec "cmx-mir-$$" "$@"; }
dev ip link set lo up; dev ip link set mir1 up; dev ip addr add 10.9.9.2/30 dev mir1
stop_sshd; unset SSHD_PORT; SSHD_ADDRESS=10.9.9.1 start_sshd <<<'GatewayPorts clientspecified'
ip netns exec "cmx-mir-$$" python3 "$TMP/peername.py" "$S" & PIDS+=($!)
for _ in $(seq 100); do dev ss -Hltn "sport = :$S" | grep -q . && break; sleep 0.1; done
coproc DEVICE { exec ip netns exec "cmx-mir-$$" "$BIN/proxy_run" 10.9.9.1 "$SSHD_PORT" "$SSHD_USER" "$KEY" "$PIN" base=100 max=1000 -- "web,$S,$R,peer=3,local=::1,address=fd00:2::99" 2>>"$TMP/device.log"; }
PIDS+=("$DEVICE_PID")
exec {PROXY_OUT}<&"${DEVICE[0]}" {PROXY_IN}>&"${DEVICE[1]}"
answer >/dev/null || fail "proxy_run does not start in the device's namespace"
up
got=$(seen_by fd00:1::17 fd00:2::99 "$R"); [ "$got" = "" ] || fail "without a route the service was reached as '$got'"
grep -q 'no local route covers the client' "$TMP/device.log" || fail "the missing route is not reported"
# Runs the unit's own commands; the agent's user is root here.
unit=$ROOT/packaging/agent/cmxsafed-mirror@.service
unit_runs() { # unit_runs ExecStart|ExecStop: runs the unit's commands on the device
    local line
    while IFS= read -r line; do
        eval "dev ${line//%I/fd00:1::\/48}" || fail "the unit's command fails: $line"
    done < <(sed -n "s/^$1=//p" "$unit" | sed 's/!= cmxsafed/!= root/')
}
unit_runs ExecStart
got=$(seen_by fd00:1::17 fd00:2::99 "$R"); [ "$got" = fd00:1::17 ] || fail "with the route the service saw '$got'"
got=$(seen_by fd00:3::1 fd00:2::99 "$R"); [ "$got" = "" ] || fail "an address outside the prefix reached the service as '$got'"
ok "the route that root sets up decides which addresses can be mirrored"
got=$(dev setpriv --reuid 65534 --clear-groups /usr/bin/python3 - "$S" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6)
s.settimeout(2)
s.setsockopt(socket.IPPROTO_IPV6, 78, 1) # IPV6_FREEBIND
s.bind(("fd00:1::17", 0))
try:
    s.connect(("::1", int(sys.argv[1])))
    print(s.recv(100).decode().strip())
except OSError:
    print("refused")
PY
)
[ "$got" = refused ] || fail "another local user connected as '$got'"
unit_runs ExecStop
prints_no 'fd00:1::/48' dev ip -6 route show table local || fail "the route is left after the unit was stopped"
prints_no mirror dev nft list tables || fail "the table is left after the unit was stopped"
ok "the unit keeps other local users from those addresses, and removes what it made"
