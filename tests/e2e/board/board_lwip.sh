#!/usr/bin/env bash
# Tests the virtual board with lwIP, the IP stack of an ESP32, over a TAP device in its own network namespace: the
# proxy, services and several connections. The machine's kernel is only the peer on the link.
if [ -z "${CMX_IN_NETNS:-}" ]; then
    [ "$(id -u)" = 0 ] && [ -e /dev/net/tun ] || { echo "SKIPPED: a network namespace with a TAP device needs root and /dev/net/tun" >&2; exit 77; }
    exec env CMX_IN_NETNS=1 unshare -n bash "$0"
fi
. "$(dirname "$0")/../lib.sh"
BOARD=$BIN/cmxsafe-board

ip link set lo up
make_device() {
    ip tuntap add dev cmx0 mode tap
    ip addr add 10.77.0.1/24 dev cmx0
    ip -6 addr add fd77::1/64 dev cmx0 nodad
    ip link set cmx0 up
}
make_device

SSHD_ADDRESS=0.0.0.0
SSHD_PORT=2222
start_sshd <<<'ListenAddress ::
GatewayPorts clientspecified'

BOARD_PID=
start_board() { # start_board [OPTION...]: starts the board with lwIP on the TAP device
    : >"$TMP/board.log"
    "$BOARD" run "$TMP/board" --net tap:cmx0 --set net.address=10.77.0.2/24 --set net.address6=fd77::2/64 \
        --set net.gateway=10.77.0.1 --set net.isolation=no --gateway "10.77.0.1:$SSHD_PORT" --set "gateway.user=$SSHD_USER" \
        --set "gateway.key_file=$KEY" --set "gateway.host_key=$PIN" "$@" 2>>"$TMP/board.log" &
    BOARD_PID=$!
    PIDS+=("$BOARD_PID")
}
end_board() {
    kill "$BOARD_PID"
    wait "$BOARD_PID" || fail "the board ended with $?"
    no_sanitizer_report "$TMP/board.log" || fail "the board complains"
}
through() { curl -fsS --max-time 60 "http://127.0.0.1:81$1"; }

"$BOARD" create "$TMP/board" >/dev/null || fail "create"
start_board
wait_for 30 through /frame.jpg || fail "the stream does not come through the gateway"
ss -Htn state established "sport = :$SSHD_PORT" | grep -q '10.77.0.2' || fail "the session is not lwIP's"
prints_no "pid=$BOARD_PID," ss -Htlnp || fail "the board listens in the kernel"
ok "proxied: service, relay and session are lwIP's"

for n in 0 7 4294967294; do
    curl -fsS --max-time 20 "http://10.77.0.2:81/frame.jpg?n=$n" >"$TMP/direct.jpg" || fail "the page does not answer at the board's own address"
    through "/frame.jpg?n=$n" | cmp - "$TMP/direct.jpg" || fail "frame $n differs"
done
ok "frames are the same byte for byte"

curl -fsS --max-time 20 http://10.77.0.2/ | grep -q '<h1>Camera</h1>' || fail "no page at the board's address"
curl -fsS --max-time 20 'http://[fd77::2]:80/' >/dev/null 2>&1 && fail "the page listens on IPv6, which the board does not report"
ping -c 2 -W 5 10.77.0.2 >/dev/null || fail "no answer to ping"
ping -c 2 -W 5 fd77::2 >/dev/null || fail "no answer to ping over IPv6"
ok "page, ping, IPv6"

through "/stream?frames=20" >"$TMP/stream" || fail "stream"
[ "$(grep -ac '^--cmxsafe-frame' "$TMP/stream")" = 20 ] || fail "the stream does not have twenty frames"
pids=()
for i in 1 2 3 4; do through "/stream?frames=15" >"$TMP/stream.$i" & pids+=($!); done
for p in "${pids[@]}"; do wait "$p" || fail "one of four viewers fails"; done
for i in 1 2 3 4; do [ "$(grep -ac '^--cmxsafe-frame' "$TMP/stream.$i")" = 15 ] || fail "viewer $i did not get all frames"; done
ok "MJPEG, four simultaneous viewers"

for i in $(seq 100); do through "/frame.jpg?n=$i" >"$TMP/one.jpg" && head -c 2 "$TMP/one.jpg" | xxd -p | grep -qx ffd8 || fail "request $i"; done
ok "100 connections one after the other"

# The client half-closes the connection: it closes its sending direction and still receives the answer.
python3 - <<'PY' || fail "a half-closed connection fails"
import socket
s = socket.create_connection(("127.0.0.1", 81), 20)
s.sendall(b"GET /stream?frames=10 HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
s.shutdown(socket.SHUT_WR)
got = b""
while True:
    d = s.recv(65536)
    if not d:
        break
    got += d
assert got.count(b"--cmxsafe-frame") == 10, got[:200]
assert got.endswith(b"0\r\n\r\n"), got[-50:]
PY
ok "half-close"

# The board reads the body of a refused upload to its end, so that the client gets the answer instead of a reset.
head -c 3000000 /dev/urandom >"$TMP/garbage"
code=$(curl -s --max-time 60 -o "$TMP/answer" -w '%{http_code}' -F "update=@$TMP/garbage" http://127.0.0.1:8989/update)
[[ $code == 4* ]] || fail "3 MB that are not an image are answered with $code"
ok "3 MB upwards"
head -c 10000 "$TMP/garbage" >"$TMP/small"
# The client connects from an address that only the gateway sees: inside the board, the service's peer is the loopback
# address. The update service must nevertheless report the client's address.
curl -s --max-time 60 --interface 127.0.0.9 -o "$TMP/answer" -F "update=@$TMP/small" http://127.0.0.1:8989/update || fail "a small upload fails"
from=$(curl -s --max-time 60 http://127.0.0.1:8989/update | jq -r .from)
[ "$from" = 127.0.0.9 ] || fail "the state names '$from' as the client of the upload"
ok "the board's lwIP socket leads to the client that the gateway reports"

# A viewer that does not read stalls only its own relay.
python3 - <<'PY' & slow=$!
import socket, time
s = socket.create_connection(("127.0.0.1", 81), 20)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.sendall(b"GET /stream HTTP/1.1\r\nHost: d\r\n\r\n")
time.sleep(6)
PY
through "/stream?frames=30" | grep -ac '^--cmxsafe-frame' | grep -qx 30 || fail "a slow viewer delays another viewer"
wait "$slow"
ok "a slow viewer stalls only itself"

ip link set cmx0 down
sleep 2
ip link set cmx0 up
ip -6 addr add fd77::1/64 dev cmx0 nodad 2>/dev/null
wait_for 60 through /frame.jpg || fail "does not recover from a cut link"
ok "recovers from a cut link"

ip link delete cmx0
wait_for 10 grep -q 'no network until cmx0 exists again' "$TMP/board.log" || fail "a removed TAP device is not reported"
make_device
wait_for 60 through /frame.jpg || fail "does not use a TAP device that was removed and created again"
ok "recovers from a removed TAP device"
end_board

# Contexts of the board forward to an nginx on the same link. nginx reads the header of the PROXY protocol, in versions
# 1 and 2.
if command -v nginx >/dev/null; then
    start_nginx 'peer=$proxy_protocol_addr from=$remote_addr' 10.77.0.1:81 10.77.0.1:8989
    start_board --set 'context one.local_port=81' --set 'context one.local_host=10.77.0.1' --set 'context one.remote_port=8091' --set 'context one.peer=proxy-v1' \
        --set 'context two.local_port=8989' --set 'context two.local_host=10.77.0.1' --set 'context two.remote_port=8092' --set 'context two.peer=proxy-v2'
    seen() { curl -s --max-time 20 --interface 127.0.0.9 "http://127.0.0.1:809$1/"; }
    sees() { [ "$(seen "$1")" = "peer=127.0.0.9 from=10.77.0.2" ]; }
    for v in 1 2; do wait_for 30 sees "$v" || fail "proxy-v$v: nginx sees '$(seen "$v")'"; done
    end_board
    stop "$NGINX"
    ok "nginx reads the client from the board's PROXY header, versions 1 and 2"
else
    skip_part "PROXY protocol: no nginx"
fi

# With isolation, the board's default, the proxy works, and the device answers nothing else on the network.
start_board --set net.isolation=yes
wait_for 30 through /frame.jpg || fail "isolated: the stream does not come through the gateway"
for n in 1 2 3; do through "/frame.jpg?n=$n" >"$TMP/isolated.jpg" || fail "isolated: frame $n"; done
curl -s --max-time 3 http://10.77.0.2/ >/dev/null && fail "isolated: the page answers the network"
curl -s --max-time 3 http://10.77.0.2:81/frame.jpg >/dev/null && fail "isolated: the stream answers the network"
ping -c 2 -W 2 10.77.0.2 >/dev/null && fail "isolated: answers ping"
ping -c 2 -W 2 fd77::2 >/dev/null && fail "isolated: answers ping over IPv6"
through /frame.jpg >/dev/null || fail "isolated: the stream is no longer available"
end_board
ok "isolated: reachable through its session alone"

# The gateway is reached over IPv6.
start_board --gateway "[fd77::1]:$SSHD_PORT"
wait_for 30 through /frame.jpg || fail "no session over IPv6"
ss -Htn state established "sport = :$SSHD_PORT" | grep -q 'fd77::2' || fail "the session is not over IPv6"
end_board
ok "session over IPv6"

# The gateway is given by name: lwIP queries a name server on the network.
if command -v dnsmasq >/dev/null; then
    dnsmasq --no-daemon --no-resolv --no-hosts --bind-interfaces --listen-address=10.77.0.1 --address=/gw.example/10.77.0.1 \
        --user="$(id -un)" --pid-file= --log-queries 2>"$TMP/dns.log" &
    PIDS+=("$!")
    wait_for 10 grep -q started "$TMP/dns.log" || fail "dnsmasq does not start"
    start_board --gateway "gw.example:$SSHD_PORT" --set net.dns=10.77.0.1
    wait_for 30 through /frame.jpg || fail "no session with a gateway that is given by name"
    grep -q 'query\[A\] gw.example from 10.77.0.2' "$TMP/dns.log" || fail "the board did not query the name"
    end_board
    start_board --gateway "none.invalid:$SSHD_PORT" --set net.dns=10.77.0.1
    wait_for 30 grep -q 'name' "$TMP/board.log" || fail "an unknown name is not reported"
    end_board
    ok "session by name"
else
    skip_part "names: no dnsmasq"
fi

# The first of two gateways accepts no new sessions, but one session survives there: all sessions move to the second gateway.
FIRST=$SSHD_PID FIRST_PORT=$SSHD_PORT
SSHD_PORT=2223
start_sshd <<<'ListenAddress ::
GatewayPorts clientspecified'
start_board --gateway "10.77.0.1:$FIRST_PORT > 10.77.0.1:$SSHD_PORT"
sessions_at() { ss -Htn state established "sport = :$1" | grep -c '10.77.0.2'; }
several_at_first() { [ "$(sessions_at "$FIRST_PORT")" -ge 2 ]; }
wait_for 60 through /frame.jpg && wait_for 30 several_at_first || fail "the board is not at the first gateway"
N=$(sessions_at "$FIRST_PORT")
LOST=$(pgrep -P "$FIRST" | head -n 1)
kill -KILL "$FIRST" "$LOST" $(descendants "$LOST"); wait "$FIRST" 2>/dev/null
all_at_second() { [ "$(sessions_at "$SSHD_PORT")" -ge "$N" ] && [ "$(sessions_at "$FIRST_PORT")" = 0 ]; }
wait_for 120 all_at_second || fail "a session that survives keeps the others down: $(ss -Htn)"
wait_for 30 through /frame.jpg || fail "no stream through the second gateway"
end_board
ok "all sessions leave a gateway that accepts no new sessions"

"$BOARD" run "$TMP/board" --net tap:cmx0 --set net.address=dhcp 2>&1 | grep -q "not ADDRESS/BITS; give one, such as" || fail "dhcp is not refused"
# wrong KEY VALUE REASON: expects that the board refuses the value of [net] KEY, and says why.
wrong() { "$BOARD" run "$TMP/board" --net tap:cmx0 --set net.address=10.77.0.2/24 --set "net.$1=$2" 2>&1 | grep -qF "[net] $1: '$2' is not $3" || fail "$1 = $2"; }
for address in 10.77.0.2 10.77.0.2/ 10.77.0.2/0 10.77.0.2/33 fd00::2/24; do
    wrong address "$address" ADDRESS/BITS
done
wrong gateway router "an IPv4 address"
wrong dns ns.example "an IPv4 address"
wrong address6 fd00::2 ADDRESS/64
wrong address6 fd00::2/48 ADDRESS/64
for mac in 02:00:00:00:00 02:00:00:00:00:01:02 02:00:00:00:00:0g 01:00:00:00:00:01 ' 2:00:00:00:00:01'; do
    wrong mac "$mac" "a unicast MAC address"
done
"$BOARD" run "$TMP/board" --net tun:cmx0 2>&1 | grep -q "must be kernel or tap:NAME" || fail "tun is not refused"
"$BOARD" run "$TMP/board" --net tap: --set net.address=10.77.0.2/24 2>&1 | grep -q "TAP device" || fail "no name is not refused"
ok "bad networks are refused"
