#!/usr/bin/env bash
# The virtual board on lwIP over a TAP device, in a network namespace of its own: proxy, services and several connections over
# the stack that an ESP32 has; the machine's kernel is only the network's other end.
if [ -z "${CMX_IN_NETNS:-}" ]; then
    [ "$(id -u)" = 0 ] && [ -e /dev/net/tun ] || { echo "SKIPPED: a network namespace with a TAP device needs root and /dev/net/tun" >&2; exit 77; }
    exec env CMX_IN_NETNS=1 unshare -n bash "$0"
fi
. "$(dirname "$0")/lib.sh"
BOARD=$BIN/cmxsafe-board

ip link set lo up
ip tuntap add dev cmx0 mode tap
ip addr add 10.77.0.1/24 dev cmx0
ip -6 addr add fd77::1/64 dev cmx0 nodad
ip link set cmx0 up

SSHD_ADDRESS=0.0.0.0
SSHD_PORT=2222
start_sshd <<<'ListenAddress ::
GatewayPorts clientspecified'

BOARD_PID=
start_board() { # start_board [option ...]
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
    ! grep -qE 'ERROR: (Address|Leak|Thread)Sanitizer|runtime error|Assertion' "$TMP/board.log" || fail "the board complains"
}
through() { curl -fsS --max-time 60 "http://127.0.0.1:81$1"; }

"$BOARD" create "$TMP/board" >/dev/null || fail "create"
start_board
wait_for 30 through /frame.jpg || fail "the stream does not come through the gateway"
ss -Htn state established "sport = :$SSHD_PORT" | grep -q '10.77.0.2' || fail "the session is not lwIP's"
! ss -Htlnp | grep -q "pid=$BOARD_PID," || fail "the board listens in the kernel"
ok "proxied: service, relay and session are lwIP's"

for n in 0 7 4294967294; do
    curl -fsS --max-time 20 "http://10.77.0.2:81/frame.jpg?n=$n" >"$TMP/direct.jpg" || fail "the board's own address"
    through "/frame.jpg?n=$n" | cmp - "$TMP/direct.jpg" || fail "frame $n differs"
done
ok "frames are the same byte for byte"

curl -fsS --max-time 20 http://10.77.0.2/ | grep -q '<h1>Camera</h1>' || fail "no page at the board's address"
curl -fsS --max-time 20 'http://[fd77::2]:80/' >/dev/null 2>&1 && fail "the page listens on IPv6, which it does not say"
ping -c 2 -W 5 10.77.0.2 >/dev/null || fail "no answer to ping"
ping -c 2 -W 5 fd77::2 >/dev/null || fail "no answer to ping over IPv6"
ok "page, ping, IPv6"

through "/stream?frames=20" >"$TMP/stream" || fail "stream"
[ "$(grep -ac '^--cmxsafe-frame' "$TMP/stream")" = 20 ] || fail "not twenty frames"
pids=()
for i in 1 2 3 4 5 6; do through "/stream?frames=15" >"$TMP/stream.$i" & pids+=($!); done
for p in "${pids[@]}"; do wait "$p" || fail "one of six viewers fails"; done
for i in 1 2 3 4 5 6; do [ "$(grep -ac '^--cmxsafe-frame' "$TMP/stream.$i")" = 15 ] || fail "viewer $i misses frames"; done
ok "MJPEG, six viewers at once"

for i in $(seq 100); do through "/frame.jpg?n=$i" >"$TMP/one.jpg" && head -c 2 "$TMP/one.jpg" | xxd -p | grep -qx ffd8 || fail "request $i"; done
ok "100 connections one after the other"

# Half-close: the request's side ends, and the answer still comes.
python3 - <<'PY' || fail "half-close"
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

# Upwards too: what is refused only at its end is read whole, and the answer comes instead of a reset.
head -c 3000000 /dev/urandom >"$TMP/garbage"
code=$(curl -s --max-time 60 -o "$TMP/answer" -w '%{http_code}' -F "update=@$TMP/garbage" http://127.0.0.1:8989/update)
[[ $code == 4* ]] || fail "3 MB that are no image are answered with $code"
ok "3 MB upwards"

# A viewer that does not read stops its own relay, no other.
python3 - <<'PY' & slow=$!
import socket, time
s = socket.create_connection(("127.0.0.1", 81), 20)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.sendall(b"GET /stream HTTP/1.1\r\nHost: d\r\n\r\n")
time.sleep(6)
PY
through "/stream?frames=30" | grep -ac '^--cmxsafe-frame' | grep -qx 30 || fail "a slow viewer stops another"
wait "$slow"
ok "a slow viewer stops itself alone"

ip link set cmx0 down
sleep 2
ip link set cmx0 up
ip -6 addr add fd77::1/64 dev cmx0 nodad 2>/dev/null
wait_for 60 through /frame.jpg || fail "does not recover from a cut link"
ok "recovers from a cut link"
end_board

# With the security module, as a board runs by default: the proxy works, and the device shows the network nothing else.
start_board --set net.isolation=yes
wait_for 30 through /frame.jpg || fail "isolated: the stream does not come through the gateway"
for n in 1 2 3; do through "/frame.jpg?n=$n" >"$TMP/isolated.jpg" || fail "isolated: frame $n"; done
curl -s --max-time 3 http://10.77.0.2/ >/dev/null && fail "isolated: the page answers the network"
curl -s --max-time 3 http://10.77.0.2:81/frame.jpg >/dev/null && fail "isolated: the stream answers the network"
ping -c 2 -W 2 10.77.0.2 >/dev/null && fail "isolated: answers ping"
ping -c 2 -W 2 fd77::2 >/dev/null && fail "isolated: answers ping over IPv6"
through /frame.jpg >/dev/null || fail "isolated: the stream is gone"
end_board
ok "isolated: reachable through its session alone"

# Over IPv6.
start_board --gateway "[fd77::1]:$SSHD_PORT"
wait_for 30 through /frame.jpg || fail "no session over IPv6"
ss -Htn state established "sport = :$SSHD_PORT" | grep -q 'fd77::2' || fail "the session is not over IPv6"
end_board
ok "session over IPv6"

# By name: asked of a server on the network, by lwIP.
if command -v dnsmasq >/dev/null; then
    dnsmasq --no-daemon --no-resolv --no-hosts --bind-interfaces --listen-address=10.77.0.1 --address=/gw.example/10.77.0.1 \
        --user="$(id -un)" --pid-file= --log-queries 2>"$TMP/dns.log" &
    PIDS+=("$!")
    wait_for 10 grep -q started "$TMP/dns.log" || fail "dnsmasq does not start"
    start_board --gateway "gw.example:$SSHD_PORT" --set net.dns=10.77.0.1
    wait_for 30 through /frame.jpg || fail "no session by name"
    grep -q 'query\[A\] gw.example from 10.77.0.2' "$TMP/dns.log" || fail "the name was not asked by the board"
    end_board
    start_board --gateway "none.invalid:$SSHD_PORT" --set net.dns=10.77.0.1
    wait_for 30 grep -q 'name' "$TMP/board.log" || fail "an unknown name is not said"
    end_board
    ok "session by name"
fi

"$BOARD" run "$TMP/board" --net tap:cmx0 --set net.address=dhcp 2>&1 | grep -q "not ADDRESS/BITS" || fail "dhcp is not refused"
"$BOARD" run "$TMP/board" --net tun:cmx0 2>&1 | grep -q "neither kernel nor tap:NAME" || fail "tun is not refused"
"$BOARD" run "$TMP/board" --net tap: --set net.address=10.77.0.2/24 2>&1 | grep -q "TAP device" || fail "no name is not refused"
ok "bad networks are refused"
