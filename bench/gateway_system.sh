#!/usr/bin/env bash
# Measures the cost of identities and of the packet filter that enforces grants. Relative to a stock sshd in a network
# namespace without them, in the same run: the time of a new connection through the gateway, the rate of bulk data, and the
# memory of a session. In seconds: the time until a revocation cuts a live connection, and the time to load 5,000 grants.
# Prints one line per figure, with the value of each round. gateway.sh runs it. CMX_SHORT=1: fewer rounds. Needs root.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=${CMX_BIN:-$CMX_ROOT/build/bin}
install_packages libssh-dev gcc socat jq python3-venv nftables iproute2 >/dev/null
NEED_PYTHON=asyncssh==2.24.1
. "$here/../tests/e2e/gateway_system_lib.sh"
. "$here/gateway_lib.sh"
. "$here/lib.sh"
ROUNDS=7 PAIRS=60 MB=256 MANY=200
[ -z "${CMX_SHORT:-}" ] || { ROUNDS=3 PAIRS=20 MB=32 MANY=40; }
ulimit -n "$(ulimit -Hn)"

# The service reads lines that each contain a number, and answers each line with that many bytes.
cat >"$TMP/give.py" <<'PY'
import socketserver, sys
chunk = bytes(1 << 20)
class H(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    def handle(self):
        for line in self.rfile:
            left = int(line)
            while left:
                self.wfile.write(chunk[:min(left, len(chunk))])
                left -= min(left, len(chunk))
class S(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
S(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
PY
GIVE=$(free_port)
python3 "$TMP/give.py" "$GIVE" 2>/dev/null & PIDS+=("$!")
wait_for 10 listening "$GIVE" || fail "no service"

system_gateway
key a; key p
gw enroll cam-17 --key "$TMP/a.pub" --ports 81,9000 >/dev/null && gw platform vms --key "$TMP/p.pub" >/dev/null || fail "enroll"
gw grant vms cam-17:81 >/dev/null && gw grant user:1234 cam-17:9000 >/dev/null || fail "grant"
enrol_fleet "$MANY"
A=$(address_of cam-17)
serve_system

# The control is an sshd with the same configuration, but with keys in a file, in a namespace where every address of the fleet is local.
mkdir /var/lib/plain && cat "$TMP/a.pub" "$TMP/p.pub" >/var/lib/plain/keys && sed -E '1d; s/^[^,]*,([^,]*),.*/\1/' "$TMP/fleet.csv" >>/var/lib/plain/keys
{ grep -v '^AuthorizedKeys' "$GW/sshd_config"; printf 'AuthorizedKeysFile /var/lib/plain/keys\nStrictModes no\n'; } >/var/lib/plain/sshd_config
ip netns add plain && ip netns exec plain sh -c "ip link set lo up && ip -6 route add local $FLEET dev lo &&
    echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind && echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start" || fail "the control's namespace"
CLEANUP+=("ip netns del plain")
PLAIN=$(free_port)
socat "TCP-LISTEN:$PLAIN,bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=128" \
    "EXEC:nsenter --net=/run/netns/plain setpriv --reuid=$(id -u cmxsafe-gw) --regid=$(id -g cmxsafe-gw) --clear-groups --no-new-privs /usr/sbin/sshd -i -e -f /var/lib/plain/sshd_config,nofork" \
    2>>"$TMP/plain.log" & SOCAT=$!; PIDS+=("$SOCAT")
wait_for 10 listening "$PLAIN" || fail "no control"
WITH=$(free_port) WITHOUT=$(free_port)
at() { GW_PORT=$1; shift; client "$@"; }
at "$GW_PORT" a -N -R "[$A]:81:127.0.0.1:$GIVE" -R "[$A]:9000:127.0.0.1:$GIVE" & PIDS+=("$!")
at "$PLAIN" a -N -R "[$A]:81:127.0.0.1:$GIVE" & PIDS+=("$!")
wait_for 20 connected cam-17 || fail "the device does not connect"
wait_for 20 ip netns exec plain sh -c "ss -Hltn 'sport = :81' | grep -q ." || fail "the device does not connect to the control"
at "$GW_PORT" p -N -L "127.0.0.1:$WITH:cam-17.cmx:81" & PIDS+=("$!")
at "$PLAIN" p -N -L "127.0.0.1:$WITHOUT:cam-17.cmx:81" & PIDS+=("$!")
wait_for 20 listening "$WITH" && wait_for 20 listening "$WITHOUT" || fail "the platform does not connect"

cat >"$TMP/ask.py" <<'PY'
# ask.py {connect PAIRS | bulk MB} PORT_WITH PORT_WITHOUT: measures both ports alternately and prints the ratio of their
# medians.
import socket, statistics, sys, time
def take(port, n):
    start = time.perf_counter()
    s = socket.create_connection(("127.0.0.1", port), 30)
    s.sendall(b"%d\n" % n)
    view = bytearray(1 << 20)
    while n:
        got = s.recv_into(view)
        assert got, "closed"
        n -= got
    took = time.perf_counter() - start
    s.close()
    return took
what, n, *ports = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
took = [[], []]
for i in range(n if what == "connect" else 2):
    for side in (0, 1) if i % 2 else (1, 0):
        took[side].append(take(ports[side], 1 if what == "connect" else n << 20))
with_, without = map(statistics.median, took)
print("%.4f" % (with_ / without if what == "connect" else without / with_))
PY
python3 "$TMP/ask.py" connect 5 "$WITH" "$WITHOUT" >/dev/null || fail "no connection through a gateway: $(tail -n 3 "$TMP/gateway.log" "$TMP/plain.log")"
: >"$TMP/connect"; : >"$TMP/bulk"
for _ in $(seq "$ROUNDS"); do
    python3 "$TMP/ask.py" connect "$PAIRS" "$WITH" "$WITHOUT" >>"$TMP/connect" && python3 "$TMP/ask.py" bulk "$MB" "$WITH" "$WITHOUT" >>"$TMP/bulk" || fail "a round"
done
figure_of gateway_identity_connect_ratio "$TMP/connect" "<=" 1.15
figure_of gateway_judge_bulk_ratio "$TMP/bulk" ">=" 0.97

# Measures the time from the start of the command that removes the grant to the end of a live connection.
cat >/var/lib/live.py <<'PY'
import socket, sys, time
for _ in range(20):  # while the gateway loads its rules, a new connection may fail
    try:
        s = socket.create_connection((sys.argv[1], 9000), 5)
        s.sendall(b"1\n"); s.recv(1)
        break
    except OSError as e:
        why = e
        time.sleep(0.2)
else:
    sys.exit("no connection after a grant: %s" % why)
print("up", flush=True)
s.settimeout(20)
try:
    while True:
        if sys.argv[2] == "busy":
            s.sendall(b"1\n"); time.sleep(0.01)
        if not s.recv(4096): break
except OSError:
    pass
print("end", int(time.time() * 1000), flush=True)
PY
: >"$TMP/cuts"
for i in $(seq 20); do
    as 1234 /usr/bin/python3 /var/lib/live.py "$A" "$([ $((i % 2)) = 1 ] && echo busy || echo idle)" >"$TMP/live" & LIVE=$!; PIDS+=("$LIVE")
    wait_for 10 grep -q up "$TMP/live" || fail "no live connection"
    start=$(date +%s%3N)
    gw grant --remove user:1234 cam-17:9000 >/dev/null || fail "grant --remove"
    wait "$LIVE"
    awk -v s="$start" '$1 == "end" { printf "%.3f\n", ($2 - s) / 1000 }' "$TMP/live" >>"$TMP/cuts"
    gw grant user:1234 cam-17:9000 >/dev/null || fail "grant"
done
figure gateway_revocation_worst_of_20_s "$(sort -g "$TMP/cuts" | tail -n 1)" "<=" 1.0 "$(paste -sd, "$TMP/cuts")"

# Measures the memory of a session, including the growth of the gateway's server, relative to a session of the control.
server=$(server_pid)
for _ in 1 2 3; do
    mapfile -t before < <(gateway_pids)
    empty=$(pss "$server")
    start_sessions "$GW_PORT" 0 "$MANY"
    sleep 2
    mapfile -t new < <(gateway_pids | grep -vxFf <(printf '%s\n' "${before[@]}"))
    ours=$(($(pss "${new[@]}") + $(pss "$server") - empty))
    end_sessions
    mapfile -t before < <(descendants "$SOCAT")
    start_sessions "$PLAIN" 0 "$MANY"
    sleep 2
    mapfile -t new < <(descendants "$SOCAT" | grep -vxFf <(printf '%s\n' "${before[@]}"))
    ratio "$ours" "$(pss "${new[@]}")" >>"$TMP/memory"
    end_sessions
done
figure_of gateway_session_to_bare "$TMP/memory" "<=" 1.05

python3 - "$GW/registry.db" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=20)
device = db.execute("SELECT id FROM device WHERE name = 'cam-17'").fetchone()[0]
for i in range(5000):
    cur = db.execute("INSERT INTO consumer(kind, name) VALUES('user', ?)", (str(200000 + i),))
    db.execute("INSERT INTO grants(consumer, device, port) VALUES(?, ?, 81)", (cur.lastrowid, device))
db.commit()
PY
: >"$TMP/loads"
for _ in $(seq "$ROUNDS"); do
    start=$(date +%s%3N)
    gw net rules || fail "5,000 grants can't be loaded"
    awk -v a="$start" -v b="$(date +%s%3N)" 'BEGIN { printf "%.3f\n", (b - a) / 1000 }' >>"$TMP/loads"
done
figure_of gateway_load_5000_grants_s "$TMP/loads" "<=" 1
no_complaints
