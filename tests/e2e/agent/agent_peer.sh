#!/usr/bin/env bash
# Tests what the services of an isolated agent learn about their clients. Uses the package's units for isolation and for
# mirrored addresses (cmxsafed-mirror@) under a real systemd, a context with peer = mirror, and a context with peer =
# proxy-v2. Nothing else on the device is reachable. The device is a copy-on-write copy of this machine with its own
# process and network namespaces.
. "$(dirname "$0")/../systemd_lib.sh"
[ -e /proc/net/if_inet6 ] || skip "no IPv6 here"
systemd_package cmxsafe-agent agent
# The gateway's machine has the addresses that identify the clients and the device.
gateway_machine
in_gateway sh -c 'for a in fd00:1::17 fd00:1::18 fd00:3::1 fd00:2::99; do ip -6 addr add $a/128 dev lo nodad || exit 1; done' || fail "the identities"
SSHD_ADDRESS=0.0.0.0 SSHD_PREFIX="nsenter -t $GATEWAY_NS -n" start_sshd <<<'GatewayPorts clientspecified'
wait_for 20 nc -z 10.99.0.1 "$SSHD_PORT" || fail "sshd does not listen"
cp "$KEY" "$TMP/out/key"
MIRROR=$(free_port) PROXY=$(free_port)

# This client runs on the gateway's machine. The device writes lines "SOURCE ADDRESS PORT" to the first FIFO. For each
# line the client connects from SOURCE to ADDRESS and PORT, and writes the service's answer to the second FIFO.
cat >"$TMP/client.py" <<'PY'
import socket, sys
asked, answered = sys.argv[1:]
while True:
    with open(asked) as f:
        source, address, port = f.readline().split()
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.settimeout(5)
    try:
        s.bind((source, 0))
        s.connect((address, int(port)))
        answer = s.recv(200).decode().strip()
    except OSError:
        answer = ""
    s.close()
    with open(answered, "w") as f:
        f.write(answer + "\n")
PY
mkfifo "$TMP/out/asked" "$TMP/out/answered"
in_gateway python3 "$TMP/client.py" "$TMP/out/asked" "$TMP/out/answered" & PIDS+=("$!")
# The service prints its peer's address or, with the argument "proxy", the source address in the header of the PROXY
# protocol, version 2.
cat >"$TMP/out/peers.py" <<'PY'
import socket, sys
s = socket.create_server(("::1" if sys.argv[2] == "mirror" else "127.0.0.1", int(sys.argv[1])), family=socket.AF_INET6 if sys.argv[2] == "mirror" else socket.AF_INET)
while True:
    c, a = s.accept()
    peer = a[0]
    if sys.argv[2] == "proxy":
        head = c.recv(16, socket.MSG_WAITALL)
        body = c.recv(int.from_bytes(head[14:16], "big"), socket.MSG_WAITALL)
        peer = socket.inet_ntop(socket.AF_INET6, body[:16]) if head[:13] == b"\r\n\r\n\0\r\nQUIT\n\x21" and head[13] == 0x21 else "no header"
    try:
        c.sendall(peer.encode() + b"\n")
    except OSError:
        pass
    c.close()
PY
cat >"$TMP/out/cmxsafed.conf" <<CONF
[gateway]
host = 10.99.0.1
port = $SSHD_PORT
user = $SSHD_USER
host_key = $PIN
key_file = /etc/cmxsafe/key
backoff_max = 1s
[isolation]
enabled = yes
dhcp = no
[context mirrored]
local_host = ::1
local_port = $MIRROR
remote_address = fd00:2::99
remote_port = $MIRROR
peer = mirror
[context announced]
local_port = $PROXY
remote_address = fd00:2::99
remote_port = $PROXY
peer = proxy-v2
CONF

cat >"$TMP/out/inside.sh" <<'INSIDE'
exec 2>&1 # systemd opens the log separately for stdout and stderr; one would overwrite the other
cd /run/out || exit 1
fail() { echo "FAILED: $*"; systemctl status --no-pager cmxsafed 'cmxsafed-*'; journalctl --no-pager -u cmxsafed -u 'cmxsafed-*' | tail -n 60; nft list ruleset; exit 1; }
# seen_by SOURCE PORT [ADDRESS]: prints the service's answer to a client on the gateway's machine that connects from
# SOURCE to ADDRESS (default: the device's identity). Prints nothing if the client cannot reach the service.
seen_by() { echo "$1 ${3:-fd00:2::99} $2" >asked && cat answered; }
unseen() { [ -z "$(seen_by "$@")" ]; }
sees() { equal "$(seen_by "$1" "$2")" "$1"; }
all_up() { cmxsafed status --json | json_is .all_up; }

dpkg -i agent.deb || fail "installing"
install -m 0600 -o cmxsafed -g cmxsafed key /etc/cmxsafe/key
cp cmxsafed.conf /etc/cmxsafe/cmxsafed.conf
mkdir -p /etc/systemd/system/cmxsafed.service.d
cp /usr/share/doc/cmxsafe-agent/examples/isolation.conf /etc/systemd/system/cmxsafed.service.d/
python3 peers.py "$MIRROR" mirror & python3 peers.py "$PROXY" proxy &
unit=$(systemd-escape --template=cmxsafed-mirror@.service fd00:1::/48)
systemd-analyze verify --man=no "/lib/systemd/system/cmxsafed-mirror@.service" >verify 2>&1; lacks cmxsafed-mirror verify || { cat verify; fail "systemd-analyze verify"; }
systemctl daemon-reload
systemctl enable --now "$unit" || fail "start of $unit"
equal "$(systemctl is-active "$unit")" active || fail "$unit is not active"
systemctl enable --now cmxsafed || fail "start of the agent"
wait_for 30 all_up || fail "the contexts do not come up with isolation"
cmxsafed status --json | json_is .modules.isolation || fail "isolation is not in force"
wait_for 10 sees fd00:1::17 "$MIRROR" || fail "a mirrored service sees '$(seen_by fd00:1::17 "$MIRROR")' instead of fd00:1::17"
sees fd00:1::18 "$MIRROR" || fail "a mirrored service sees '$(seen_by fd00:1::18 "$MIRROR")' instead of fd00:1::18"
sees fd00:1::17 "$PROXY" && sees fd00:3::1 "$PROXY" || fail "with proxy-v2 a service sees '$(seen_by fd00:1::17 "$PROXY")' and '$(seen_by fd00:3::1 "$PROXY")'"
echo "ok: isolated, a service sees each client's identity, mirrored and by the PROXY protocol"
unseen fd00:3::1 "$MIRROR" || fail "an address outside the unit's prefix is mirrored"
# Isolation is still in force: neither local users nor the gateway's machine can reach the services directly.
forge() { setpriv --reuid 65534 --clear-groups /usr/bin/python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET6); s.settimeout(2); s.setsockopt(socket.IPPROTO_IPV6, 78, 1)
if sys.argv[2]: s.bind((sys.argv[2], 0))
s.connect(("::1", int(sys.argv[1]))); print(s.recv(100).decode())' "$MIRROR" "$1" 2>/dev/null; }
! forge fd00:1::17 && ! forge "" || fail "another local user reaches the mirrored service"
unseen 10.99.0.1 "$PROXY" 10.99.0.2 || fail "the other machine reaches the service directly"
echo "ok: and no other process reaches the services"

systemctl stop "$unit" || fail "stop of $unit"
unseen fd00:1::17 "$MIRROR" || fail "without the unit a service is still reached"
sees fd00:1::17 "$PROXY" || fail "proxy-v2 does not work without the mirror unit"
prints_no 'fd00:1::/48' ip -6 route show table local && prints_no cmxsafe_mirror nft list tables || fail "the unit leaves something behind"
systemctl start "$unit" || fail "second start of $unit"
wait_for 10 sees fd00:1::17 "$MIRROR" || fail "the client's address is not mirrored again"
echo "ok: the unit removes what it set up, and starts again"
systemctl stop cmxsafed "$unit"
echo DONE
INSIDE
boot_systemd 450 "MIRROR=$MIRROR PROXY=$PROXY"
