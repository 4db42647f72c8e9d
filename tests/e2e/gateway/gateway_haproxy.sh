#!/usr/bin/env bash
# HAProxy, as a TCP load balancer in front of the gateway, sends PROXY headers of version 2. The gateway knows the
# devices behind HAProxy by their own addresses: one source's failed logins do not count against another. Only the
# configured sources may send a header. If a connection from one of them has no valid header, the gateway closes it.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces
command -v haproxy >/dev/null || skip "no haproxy"

printf 'too, many words\n' >"$TMP/bad"
gw init --user --proxy-protocol "$(cat "$TMP/bad")" >/dev/null 2>"$TMP/bad.err" && fail "bad prefixes are accepted"
grep -q "load balancers' addresses or prefixes" "$TMP/bad.err" || fail "no clear error: $(cat "$TMP/bad.err")"

# A list is refused if it contains every source, or an address that no load balancer can have.
for all in 0.0.0.0/0 ::/0 10.0.0.1,0.0.0.0/1 0.0.0.0 :: 224.0.0.1 ff02::/16; do
    ! gw init --user --proxy-protocol "$all" >/dev/null 2>"$TMP/bad.err" && grep -q "may claim any source address; name only the load balancers" "$TMP/bad.err" || fail "$all: $(cat "$TMP/bad.err")"
done
for bits in 10.0.0.1/8 fd00::1/64; do
    ! gw init --user --proxy-protocol "$bits" >/dev/null 2>"$TMP/bad.err" && grep -q "the prefix has host bits; give one address" "$TMP/bad.err" || fail "$bits: $(cat "$TMP/bad.err")"
done
gw init --user --dry-run --proxy-protocol '10.0.0.0/8, fd00::/8' >/dev/null || fail "--proxy-protocol refuses private networks"

# Devices connect to 127.0.0.1:HA; HAProxy reaches the gateway from 127.0.0.9.
start_gateway --proxy-protocol 127.0.0.9,192.0.2.0/24
HA=$(free_port)
cat >"$TMP/haproxy.cfg" <<CONF
global
    stats socket $TMP/ha.sock
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend devices
    bind 127.0.0.1:$HA
    default_backend gateways
backend gateways
    source 127.0.0.9
    option tcp-check
    tcp-check expect string SSH-2.0
    server gw1 127.0.0.1:$GW_PORT send-proxy-v2 check check-send-proxy inter 500ms
CONF
haproxy -db -f "$TMP/haproxy.cfg" >"$TMP/haproxy.log" 2>&1 & PIDS+=($!)
wait_for 20 listening "$HA" || fail "haproxy: $(cat "$TMP/haproxy.log")"
healthy() { echo "show stat" | python3 -c "
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect('$TMP/ha.sock'); s.sendall(b'show stat\n'); out = b''
while (d := s.recv(65536)): out += d
sys.exit(b'gateways,gw1,' not in out or b',UP,' not in [l for l in out.splitlines() if l.startswith(b'gateways,gw1,')][0])"; }
wait_for 30 healthy || fail "the health check fails: $(cat "$TMP/haproxy.log" "$TMP/gateway.log")"
ok "HAProxy's health check, which is its own connection, gets sshd's banner"

key good; key stranger
gw enroll cam-1 --key "$TMP/good.pub" --ports 81 >/dev/null || fail "enroll"
direct_port=$GW_PORT
GW_PORT=$HA
client good -N -o BindAddress=127.0.0.21 & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 connected cam-1 || fail "no login through HAProxy: $(cat "$TMP/gateway.log")"
gw status --json | json_is '.sessions[0].from | startswith("127.0.0.21:")' || fail "the gateway does not know the device's address: $(gw status --json)"
ok "a device behind HAProxy is known by its own address"
stop "$DEVICE"
wait_for 10 gone cam-1 || fail "the session stays"

# A source whose logins all fail is refused. Another source behind the same load balancer is neither refused nor slowed.
fail_logins '127.0.0.22: many of its logins failed; its connections are refused for now' stranger -N -o BindAddress=127.0.0.22 || fail "the real source is not refused: $(cat "$TMP/gateway.log")"
lacks '127.0.0.9: many\|127.0.0.21: many' "$TMP/gateway.log" || fail "another source is refused: $(cat "$TMP/gateway.log")"
client good -N -o BindAddress=127.0.0.21 & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 connected cam-1 || fail "a good device is slowed or refused because of another one's failures"
stop "$DEVICE"
wait_for 10 gone cam-1 || fail "the session stays"
ok "failed logins count for the device's address, not for the load balancer's"

# raw FROM DATA: connects directly to the gateway from the address FROM and sends DATA (with Python's escapes). Prints
# the beginning of the answer, "closed", or, after 5 s without an answer, "silent".
raw() {
    python3 - "$direct_port" "$1" "$2" <<'PY'
import ast, socket, sys, time
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), source_address=(sys.argv[2], 0))
data = ast.literal_eval("b'" + sys.argv[3] + "'")
s.settimeout(5)
try:
    for i in range(0, len(data), 5): # sends the data in pieces
        s.sendall(data[i:i + 5]); time.sleep(0.01)
    print(s.recv(7).decode(errors='replace').strip() or 'closed')
except ConnectionError:
    print('closed')
except TimeoutError:
    print('silent')
PY
}
SIGNATURE='\r\n\r\n\0\r\nQUIT\n'
[[ $(raw 127.0.0.9 "$SIGNATURE"'\x21\x11\0\x0c\x7f\0\0\x17\x7f\0\0\1\xc3\x50\x08\xae') == SSH-2.0 ]] || fail "a right header in pieces is not read"
for bad in 'SSH-2.0-x\r\n' 'PROXY TCP4 127.0.0.23 127.0.0.1 1 2\r\n' "$SIGNATURE"'\x21\x12\0\x0c\x7f\0\0\x17\x7f\0\0\1\xc3\x50\x08\xae' \
    "$SIGNATURE"'\x21\x11\xff\xff\x7f\0' "$SIGNATURE"'\x21\x00\0\0'; do
    [ "$(raw 127.0.0.9 "$bad")" = closed ] || fail "from the load balancer, but not closed: $bad"
done
[ "$(raw 127.0.0.9 "$SIGNATURE"'\x21')" = closed ] || fail "a connection with an incomplete header stays open"
logged "127.0.0.9:.* closed a load balancer's connection, because it has no PROXY v2 header" || fail "the log does not say why"
ok "a load balancer's connection without a right header is closed, also if the header never becomes complete"
[[ $(raw 127.0.0.8 'SSH-2.0-x\r\n') == SSH-2.0 ]] || fail "another source cannot log in directly"
raw 127.0.0.8 "$SIGNATURE"'\x21\x11\0\x0c\x7f\0\0\x17\x7f\0\0\1\xc3\x50\x08\xae' >/dev/null # the gateway accepts the connection; sshd refuses the header
lacks 'from 127.0.0.23' "$TMP/gateway.log" || fail "a header of another source was believed"
ok "another source's header is not read"
stop_gateway

gw init --user --proxy-protocol none >/dev/null || fail "init"
serve_gateway
[[ $(raw 127.0.0.9 'SSH-2.0-x\r\n') == SSH-2.0 ]] || fail "the option cannot be removed"
ok "--proxy-protocol none removes the load balancer"
stop_gateway
