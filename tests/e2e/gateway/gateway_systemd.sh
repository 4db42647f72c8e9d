#!/usr/bin/env bash
# The gateway's units under a real systemd, installed from the package as docs/GATEWAY.md describes: socket, account,
# namespace, sandbox. A grant to a unit's control group applies only to that unit, even after restarts of the unit and
# of the gateway. A device's service sees the identities of units. At the end the gateway is killed, joins a fleet and
# is stopped, and its package is purged.
. "$(dirname "$0")/../systemd_lib.sh"
[ -e /proc/net/if_inet6 ] || skip "no IPv6 here"
systemd_package cmxsafe cmxsafe
dpkg-deb -x "$TMP"/packages/cmxsafe-agent_*.deb "$TMP/out/agent" || fail "the agent's package"
ssh-keygen -q -t ed25519 -N '' -f "$TMP/out/key"
ssh-keygen -q -t ed25519 -N '' -f "$TMP/out/key2"
openssl rand -out "$TMP/out/hardware.bin" 32 && chmod 600 "$TMP/out/hardware.bin" && echo image >"$TMP/out/image.bin"
# A device's service. It reads the client's address from the header of the PROXY protocol, version 1, prints it and
# sends it back.
cat >"$TMP/out/peers.py" <<'PY'
import socketserver
class Peers(socketserver.StreamRequestHandler):
    def handle(self):
        head = self.rfile.readline().split()
        who = head[2].decode() if head[:2] == [b"PROXY", b"TCP6"] else "no header"
        while self.rfile.readline().strip():
            pass
        print(who, flush=True)
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + who.encode() + b"\n")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
Server(("127.0.0.1", 8001), Peers).serve_forever()
PY
awk '$0 == "<!-- test: gateway.sh -->" { on = 1; next } on && /^```/ { if (inside) exit; inside = 1; next } inside' "$ROOT/README.md" |
    sed 's/--host gw.example/--host 127.0.0.1 --fleet fd12:3456:789a::\/48/' >"$TMP/out/gateway.sh"
grep -q 'gateway enroll cam-17' "$TMP/out/gateway.sh" || fail "README.md has no gateway.sh"
awk '/^#/ && !code { found = /the address or the port$/ } /^```/ { code = !code; k += found && code; next } found && code && k == 2' "$ROOT/docs/GATEWAY.md" >"$TMP/out/port.sh"
grep -q 'init --listen 2223' "$TMP/out/port.sh" || fail "docs/GATEWAY.md has no commands for another port"
mkdir "$TMP/out/www" && echo hello >"$TMP/out/www/index.html"

cat >"$TMP/out/inside.sh" <<'INSIDE'
cd /run/out || exit 1
fail() { echo "FAILED: $*"; systemctl status --no-pager 'cmxsafe-gateway*' nvr; journalctl --no-pager -u 'cmxsafe-gateway*' -u nvr -u device2 -u attester | tail -n 60; exit 1; }
main_pid() { systemctl show -P MainPID cmxsafe-gateway; }
another() { differ "$(main_pid)" "$1" && [ "$(main_pid)" != 0 ] && cmxsafe gateway status; }
sudo() { "$@"; }

dpkg -i cmxsafe.deb || fail "installing"
useradd alice && cp key.pub cam-17.pub
(set -e; . ./gateway.sh) >readme 2>&1 || { cat readme; fail "README.md: gateway.sh"; }
grep -q 'added, reachable as cam-17.cmx' readme && grep -q '^0 connected' readme || { cat readme; fail "wrong output of README.md's commands"; }
cmxsafe gateway grant --json | json_is '.[0].consumer == "user:alice"' || fail "README.md's commands created no grant"
units=(/etc/systemd/system/cmxsafe-gateway*)
[ ${#units[@]} = 7 ] || fail "units: ${units[*]}"
systemd-analyze verify --man=no "${units[@]}" >verify 2>&1 && lacks cmxsafe verify || { cat verify; fail "systemd-analyze verify"; }
# systemd rates a unit's exposure from 10 (no protection) to 0 (full protection). The limit is 2.5, because a stock sshd
# needs everything that the unit still permits.
systemd-analyze security --offline=true --threshold=25 /etc/systemd/system/cmxsafe-gateway.service >security 2>&1 || { tail -n 3 security; fail "systemd-analyze security"; }
echo "ok: units: $(tail -n 1 security | sed 's/.*: //')"
for u in cmxsafe-gateway.socket cmxsafe-gateway.service cmxsafe-gateway-net.service; do [ "$(systemctl is-active $u)" = active ] || fail "$u is not active"; done
p=$(main_pid)
[ "$(ps -o user= -p "$p")" = cmxsafe-gw ] || fail "user: $(ps -o user= -p "$p")"
[ "$(awk '/^CapEff/ {print $2}' "/proc/$p/status")" = 0000000000000000 ] && [ "$(awk '/^NoNewPrivs/ {print $2}' "/proc/$p/status")" = 1 ] || fail "the gateway has capabilities, or may gain privileges"
differ "$(readlink "/proc/$p/ns/net")" "$(readlink /proc/self/ns/net)" || fail "the gateway is in the host's network"
cmxsafe gateway doctor >doctor || { grep ^bad doctor; fail "the doctor reports a fault"; }
systemctl restart cmxsafe-gateway && cmxsafe gateway doctor >doctor || { grep ^bad doctor; fail "the doctor does not wait for the first report of the rules' watch"; }
systemctl stop cmxsafe-gateway-guard || fail "stop of the guard"
unwatched() { cmxsafe gateway doctor | grep -q '^bad .*: no process is watching'; }
wait_for 20 unwatched || fail "the doctor does not see that nothing watches the rules"
systemctl start cmxsafe-gateway-guard && cmxsafe gateway doctor >doctor || { grep ^bad doctor; fail "the doctor reports a fault although the guard runs again"; }
echo "ok: started by its units, as its account, in the fleet's namespace"

su alice -s /bin/sh -c 'cmxsafe gateway status' 2>&1 | grep -q "use sudo for the system's" || fail "the message does not name the system's gateway"
cmxsafe gateway enroll cam-17 --key key.pub --ports 81 >enroll || fail "enroll"
A=$(cmxsafe gateway show cam-17 --json | jq -r .device.address)
python3 -m http.server -b 127.0.0.1 -d www 8000 >/dev/null 2>&1 &
cat >/etc/systemd/system/device.service <<UNIT
[Service]
ExecStart=/usr/bin/ssh -i /run/out/key -p 2222 -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes -o ExitOnForwardFailure=yes -l cmxsafe-gw -N -R [$A]:81:127.0.0.1:8000 127.0.0.1
Restart=always
RestartSec=300ms
[Unit]
StartLimitIntervalSec=0
UNIT
# A service of another user, which requests the page repeatedly and prints the answers.
cat >/etc/systemd/system/nvr.service <<'UNIT'
[Service]
User=nobody
ExecStartPre=+/usr/bin/cmxsafe gateway net rules
ExecStartPre=+/bin/rm -f /run/out/nvr
ExecStart=/bin/sh -c 'while :; do curl -s -m 3 http://cam-17.cmx:81/ && echo "as $$"; echo tried; sleep 0.2; done'
StandardOutput=append:/run/out/nvr
UNIT
sed 's/nvr/dvr/' /etc/systemd/system/nvr.service >/etc/systemd/system/dvr.service
systemctl daemon-reload
systemctl start device nvr dvr || fail "start of device, nvr, dvr"
connected() { cmxsafe gateway status --json | json_is '[.sessions[] | select(.name == $n)] | length > 0' --arg n "${1:-cam-17}"; }
reached() { grep -q hello "$1"; }
# tries UNIT N: waits until the unit, which has just been started, has completed N requests, successful or not.
tries() { wait_for 30 tried "$1" "$2"; }
tried() { [ "$(grep -c '^tried$' "$1")" -ge "$2" ]; }
wait_for 30 connected || fail "the device does not connect"
tries nvr 2 && ! reached nvr || fail "reached without a grant"
cmxsafe gateway grant cgroup:system.slice/nvr.service cam-17:81 || fail "grant"
wait_for 30 reached nvr || fail "a grant to the unit's control group does not work"
! reached dvr || fail "another unit of the same user reaches the device"
! setpriv --reuid 65534 --regid 65534 --clear-groups curl -s -m 3 http://cam-17.cmx:81/ || fail "the same user reaches the device outside the unit"
echo "ok: a grant to a unit's control group applies to that unit alone"
# The gateway gets another port, and devices that have the former one in their configuration still connect.
p=$(main_pid)
(set -e; . ./port.sh) >port 2>&1 || { cat port; fail "docs/GATEWAY.md: another port"; }
grep -q 'devices connect to new.example.org port 2223' port || { cat port; fail "init --listen"; }
wait_for 30 another "$p" || fail "the gateway is not restarted"
wait_for 30 connected || fail "the device does not come back at the former port"
timeout 10 ssh -i key -p 2223 -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes -l cmxsafe-gw 127.0.0.1 true 2>port.err
grep -q 'channel 0: open failed' port.err || { cat port.err; fail "no login at the new port"; }
cmxsafe gateway doctor >doctor || { grep ^bad doctor; fail "the doctor finds something bad after the change of the port"; }
p=$(main_pid)
rm -r /etc/systemd/system/cmxsafe-gateway.socket.d && cmxsafe gateway init --listen 2222 --host 127.0.0.1 >port && systemctl daemon-reload && systemctl restart cmxsafe-gateway-net cmxsafe-gateway.socket cmxsafe-gateway || fail "back"
wait_for 30 another "$p" && wait_for 30 connected || fail "the device does not come back: $(cat port)"
echo "ok: another port, with the former one kept for devices"
# The timer writes the metrics, and a socket serves them.
mkdir -p /var/lib/prometheus/node-exporter
prom=/var/lib/prometheus/node-exporter/cmxsafe.prom
systemctl enable --now cmxsafe-gateway-metrics.timer || fail "the timer of the metrics"
up_in_file() { grep -qx 'cmxsafe_device_up{name="cam-17"} 1' $prom && grep -qx 'cmxsafe_gateway_up 1' $prom && grep -qx 'cmxsafe_gateway_judge_ok 1' $prom; }
wait_for 40 up_in_file || fail "the timer writes no metrics: $(cat $prom; systemctl status --no-pager cmxsafe-gateway-metrics.timer cmxsafe-gateway-metrics)"
[ "$(stat -c '%a %U' $prom)" = '644 root' ] || fail "mode or owner of the metrics file: $(stat -c '%a %U' $prom)"
written=$(stat -c %y $prom)
again() { differ "$(stat -c %y $prom)" "$written"; }
wait_for 60 again && up_in_file || fail "the timer does not write again"
[ "$(systemctl show -P Result cmxsafe-gateway-metrics)" = success ] || fail "the metrics service failed"
systemd-run -q --unit=metrics-socket cmxsafe gateway metrics --listen /run/cmxsafe-metrics.sock || fail "metrics --listen can't be started as a service"
scraped() { curl -sS -m 10 --unix-socket /run/cmxsafe-metrics.sock http://localhost/metrics | grep -qx 'cmxsafe_device_up{name="cam-17"} 1'; }
wait_for 30 scraped || fail "metrics --listen does not answer under systemd"
systemctl stop metrics-socket && [ ! -e /run/cmxsafe-metrics.sock ] || fail "the socket outlives its service"
systemctl disable --now cmxsafe-gateway-metrics.timer || fail "disabling the timer"
echo "ok: the timer writes the metrics, and a service gives them at a socket"
systemctl restart nvr || fail "restart of nvr"
wait_for 30 reached nvr || fail "after its restart the unit has a new control group, and no longer its grant"
systemctl restart dvr && tries dvr 2 || fail "dvr does not try"
! reached dvr || fail "after a restart another unit reaches the device"
echo "ok: the grant still applies after the unit's restart"

# A service behind a device's agent sees each unit's identity, including that of a unit that runs 'gateway attest'. A
# unit of a user without a grant gets no answer.
cmxsafe gateway enroll cam-18 --key key2.pub --ports 82 >enroll || fail "enroll"
B=$(cmxsafe gateway show cam-18 --json | jq -r .device.address)
cat >device2.conf <<CONF
[gateway]
host = 127.0.0.1
port = 2222
user = cmxsafe-gw
host_key = $(ssh-keygen -lf /var/lib/cmxsafe/gateway/hostkey_ed25519 | cut -d' ' -f2)
key_file = /run/out/key2
[context peers]
local_port = 8001
remote_address = $B
remote_port = 82
peer = proxy-v1
CONF
printf '[Service]\nRuntimeDirectory=cmxsafe\nExecStart=/run/out/agent/usr/sbin/cmxsafed -c /run/out/device2.conf\n' >/etc/systemd/system/device2.service
printf '[Service]\nExecStart=/usr/bin/python3 /run/out/peers.py\nStandardOutput=append:/run/out/seen\n' >/etc/systemd/system/peers.service
for u in eye ear; do sed "s/nvr/$u/; s/cam-17.cmx:81/cam-18.cmx:82/" /etc/systemd/system/nvr.service >/etc/systemd/system/$u.service; done
sed -i 's/^User=.*/User=alice/' /etc/systemd/system/ear.service
printf '[Service]\nType=oneshot\nExecStart=/usr/bin/cmxsafe gateway attest cam-18 --port 82 -- --key /run/out/hardware.bin --image /run/out/image.bin --timeout 20\n' >/etc/systemd/system/attester.service
cmxsafe gateway grant cgroup:system.slice/eye.service cam-18:82 || fail "grant"
systemctl daemon-reload
systemctl start peers device2 || fail "start of peers and device2"
wait_for 60 connected cam-18 || fail "the device with the agent does not connect"
systemctl start eye ear || fail "start of eye and ear"
eye=$(cmxsafe gateway whois cgroup:system.slice/eye.service --json | jq -r .address)
wait_for 60 grep -qx "$eye" eye || { sort seen | uniq -c; fail "the service does not see the unit's identity $eye"; }
tries ear 3 && lacks -v '^tried$' ear || { cat ear; fail "a unit without a grant gets something"; }
systemctl start attester # the unit fails, because the device has no such service
attester=$(cmxsafe gateway whois cgroup:system.slice/attester.service --json | jq -r .address)
wait_for 30 grep -qx "$attester" seen || { sort seen | uniq -c; systemctl status --no-pager attester; fail "the service does not see the unit that attests as $attester"; }
equal "$(sort -u seen)" "$(printf '%s\n' "$eye" "$attester" | sort)" && differ "$eye" "$attester" || { sort seen | uniq -c; fail "the service sees other identities than those of the two units"; }
accessed() { cmxsafe gateway access --json --device cam-18 | jq -s . | json_is 'any(.[]; .event == $e and .consumer == $c)' --arg e "$1" --arg c "$2"; }
for u in eye attester; do wait_for 30 accessed close "cgroup:system.slice/$u.service" || { cmxsafe gateway access; fail "the access log does not name $u"; }; done
wait_for 30 accessed denied user:alice || { cmxsafe gateway access; fail "the access log does not name who was refused"; }
systemctl stop eye ear device2 peers
echo "ok: a device's service and the access log see each unit's identity"

# While the unit is stopped, its control group does not exist and cannot be in the rules. The gateway must start nevertheless.
systemctl stop nvr
systemctl restart cmxsafe-gateway-net cmxsafe-gateway.socket cmxsafe-gateway || fail "restart of the gateway"
wait_for 30 connected || fail "the device is not back"
! reached dvr || fail "while the unit is stopped, anybody can use its grant"
systemctl start nvr
wait_for 30 reached nvr || fail "the grant is lost with the gateway's restart"
echo "ok: restarted while the unit was stopped"

p=$(main_pid)
kill -KILL "$p"
wait_for 30 another "$p" || fail "the gateway is not restarted after SIGKILL"
wait_for 30 connected || fail "the device is not back after SIGKILL"
cmxsafe gateway grant --remove cgroup:system.slice/nvr.service cam-17:81 || fail "grant --remove"
systemctl restart nvr && tries nvr 2 || fail "nvr does not try"
! reached nvr || fail "a removed grant still works"
echo "ok: restarted after SIGKILL; a removed grant no longer works"

# The gateway joins a fleet of gateways: its registry moves to PostgreSQL, and its unit runs BIRD.
PG=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
if [ -x "$PG/initdb" ] && command -v bird birdc wg >/dev/null; then
    install -d -o postgres /var/tmp/registry
    cat >/etc/systemd/system/registry.service <<UNIT
[Service]
User=postgres
ExecStartPre=$PG/initdb -D /var/tmp/registry/data -U cmxsafe --auth=trust -E UTF8 --no-sync --no-locale
ExecStart=$PG/postgres -D /var/tmp/registry/data -p 5499 -c listen_addresses=127.0.0.1 -c unix_socket_directories=/var/tmp/registry -c fsync=off
UNIT
    systemctl daemon-reload && systemctl start registry || fail "start of PostgreSQL"
    answers() { "$PG/pg_isready" -q -h 127.0.0.1 -p 5499; }
    wait_for 60 answers || fail "PostgreSQL does not answer"
    ! systemctl is-active -q cmxsafe-gateway-bird || fail "BIRD runs at a gateway that is alone"
    cmxsafe gateway migrate postgresql://cmxsafe@127.0.0.1:5499/postgres || fail "migrate"
    (umask 077 && cmxsafe gateway join --give '192.0.2.2 1 192.0.2.1 22' --name gw1 >gift) || fail "join --give"
    bird_is_up() { birdc -s /var/lib/cmxsafe/gateway/bird/ctl show status | grep -q '^Daemon is up'; }
    wait_for 30 bird_is_up || fail "BIRD's unit is not started with the first join: $(systemctl status --no-pager cmxsafe-gateway-bird)"
    held() { birdc -s /var/lib/cmxsafe/gateway/bird/ctl show route table held | grep -q "$A/128"; }
    wait_for 60 held || fail "BIRD does not learn the identity that is connected"
    b=$(systemctl show -P MainPID cmxsafe-gateway-bird)
    differ "$(readlink "/proc/$b/ns/net")" "$(readlink /proc/self/ns/net)" && [ "$(ps -o user= -p "$b")" = bird ] && [ "$(awk '/^NoNewPrivs/ {print $2}' "/proc/$b/status")" = 1 ] || fail "BIRD is not in its own network, not the user bird, or may gain privileges"
    kill -KILL "$b"
    new_bird() { differ "$(systemctl show -P MainPID cmxsafe-gateway-bird)" "$b" && bird_is_up && held; }
    wait_for 30 new_bird || fail "BIRD is not started again"
    cmxsafe gateway nodes --json | json_is '[.nodes[] | [.name, .state]] == [["gw1", "here"]] and .registry_followed' || fail "nodes: $(cmxsafe gateway nodes --json)"
    systemctl restart cmxsafe-gateway-net cmxsafe-gateway.socket cmxsafe-gateway || fail "restart of the gateway"
    wait_for 60 connected && wait_for 60 held || fail "after a restart BIRD does not know the device"
    well() { cmxsafe gateway doctor >doctor; }
    wait_for 60 well || { grep ^bad doctor; fail "the doctor of a gateway in a fleet reports a fault"; }
    cmxsafe gateway leave && cmxsafe gateway migrate sqlite || fail "leave"
    systemctl stop registry
    echo "ok: in a fleet a unit runs BIRD, and starts it again when it is killed"
else
    echo "ok: SKIPPED PART: PostgreSQL's server, BIRD or wg is missing"
fi
systemctl stop cmxsafe-gateway.socket cmxsafe-gateway cmxsafe-gateway-net || fail "stop"
[ "$(systemctl show -P Result cmxsafe-gateway)" = success ] || fail "stop is not clean"
prints_no ':2222 ' ss -Hltn && [ ! -e /run/netns/cmxsafe ] && [ ! -e /sys/class/net/cmxsafe0 ] || fail "something is left"
echo "ok: stopped"
systemctl start cmxsafe-gateway.socket cmxsafe-gateway && dpkg -P cmxsafe || fail "purging"
! systemctl is-active cmxsafe-gateway.socket cmxsafe-gateway cmxsafe-gateway-net || fail "the gateway outlives its package"
! ls /etc/systemd/system/cmxsafe-gateway* /etc/systemd/system/*.wants/cmxsafe-gateway* 2>/dev/null || fail "units are left"
lacks cmxsafe /etc/hosts || fail "/etc/hosts still has the gateway's block"
[ -s /var/lib/cmxsafe/gateway/registry.db ] && [ -s /var/lib/cmxsafe/gateway/hostkey_ed25519 ] || fail "the registry and the host keys were deleted"
echo "ok: purged; the registry and the pinned host keys stay"
echo DONE
INSIDE
boot_systemd 600 A=b
