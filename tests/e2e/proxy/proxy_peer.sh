#!/usr/bin/env bash
# A local service receives the client's address: nginx and HAProxy read the header of the PROXY protocol; a connection
# from a client that is not in allow_from never reaches the service.
. "$(dirname "$0")/../lib.sh"
command -v nginx >/dev/null && command -v haproxy >/dev/null || skip "nginx and haproxy are not installed"

N1=$(free_port) N2=$(free_port) H1=$(free_port) H2=$(free_port) S=$(free_port)
R1=$(free_port) R2=$(free_port) R3=$(free_port) R4=$(free_port) RD=$(free_port) RA=$(free_port) RM=$(free_port)
cat >"$TMP/haproxy.cfg" <<CONF
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend v1
    bind 127.0.0.1:$H1 accept-proxy
    http-request return status 200 content-type text/plain lf-string "peer=%[src] port=%[src_port] server=%[dst]:%[dst_port]\n"
CONF
start_nginx 'peer=$proxy_protocol_addr port=$proxy_protocol_port server=$proxy_protocol_server_addr:$proxy_protocol_server_port' "127.0.0.1:$N1"
haproxy -f "$TMP/haproxy.cfg" >"$TMP/haproxy.log" 2>&1 & PIDS+=($!)
wait_for 10 listening "$H1" || fail "haproxy"
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
start_proxy events=1 -- "n1,$N1,$R1,peer=1" "n2,$N1,$R2,peer=2" "h1,$H1,$R3,peer=1" "h2,$H1,$R4,peer=2" \
    "deny,$S,$RD,from=fd00::17" "allow,$S,$RA,from=127.0.0.0/8"
up
for port in "$R1" "$R2" "$R3" "$R4"; do
    got=$(curl -s -m 10 --local-port 20000-20999 "http://127.0.0.1:$port/") || fail "no answer through port $port"
    [[ $got =~ ^peer=127\.0\.0\.1\ port=20[0-9]{3}\ server=127\.0\.0\.1:$port$ ]] || fail "wrong answer through port $port: $got"
done
ok "nginx and HAProxy read the client's address and port and the gateway's listener from headers of versions 1 and 2"
# The client connects to ::1, but the device knows the listener's address as 127.0.0.1. Both addresses in a PROXY header
# must be of the same family, so the header must give ::1 as the listener's address.
if listening "$R1" && ss -Hltn6 "sport = :$R1" | grep -q .; then
    for port in "$R1" "$R2" "$R3" "$R4"; do
        got=$(curl -s -m 10 "http://[::1]:$port/") || fail "no answer through [::1]:$port"
        [[ $got =~ ^peer=::1\ port=[0-9]+\ server=(\[)?::1(\])?:$port$ ]] || fail "through [::1]:$port: $got"
    done
    ok "the same over IPv6"
fi
python3 - "$RD" <<'PY' || fail "a client that is not in allow_from got an answer"
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
try:
    s.sendall(b"sink 1\n")
    sys.exit(s.recv(1) != b"")
except ConnectionError:
    pass
PY
status_is deny refused 1 || fail "the refusal is not counted: $(ask status)"
status_is deny total 0 || fail "a refused connection counts as one: $(ask status)"
grep -q 'relay deny deny reverse refused.*from=127.0.0.1.*cause=not-permitted' "$TMP/proxy.log" || fail "no event of the refusal"
grep -q 'deny: connection from 127.0.0.1 refused by allow_from' "$TMP/proxy.log" || fail "the refusal is not logged"
python3 "$ROOT/tests/e2e/client.py" "$RA" sink 100000 || fail "a client in allow_from is not served"
status_is allow refused 0 || fail "an allowed client was refused"
ok "allow_from refuses before the service is touched, and lets others through"
quit_proxy
