#!/usr/bin/env bash
# The gateway's units under a real systemd: set up from the package as docs/GATEWAY.md says; socket, account, namespace, sandbox; a
# grant to a unit's control group, which holds for that unit alone, over its restarts and the gateway's; killed, stopped.
[ -n "${CMX_INNER:-}" ] || { unshare -n true 2>/dev/null && CMX_INNER=1 exec unshare -n bash "$0"; }
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/systemd_lib.sh"
need_systemd
[ -n "${CMX_INNER:-}" ] || skip "no network namespace can be made here"
[ -e /proc/net/if_inet6 ] || skip "no IPv6 here"
command -v dpkg-shlibdeps >/dev/null && command -v jq >/dev/null || skip "no dpkg-dev or jq"
"$ROOT/scripts/package.sh" "$TMP/packages" >"$TMP/package.log" 2>&1 || fail "scripts/package.sh"
mkdir "$TMP/out"
cp "$TMP"/packages/cmxsafe_*.deb "$TMP/out/cmxsafe.deb"
ssh-keygen -q -t ed25519 -N '' -f "$TMP/out/key"
awk '$0 == "<!-- test: gateway.sh -->" { on = 1; next } on && /^```/ { if (inside) exit; inside = 1; next } inside' "$ROOT/README.md" |
    sed 's/--host gw.example/--host 127.0.0.1 --fleet fd12:3456:789a::\/48/' >"$TMP/out/gateway.sh"
grep -q 'gateway enroll cam-17' "$TMP/out/gateway.sh" || fail "README.md has no gateway.sh"
mkdir "$TMP/out/www" && echo hello >"$TMP/out/www/index.html"
ip link set lo up

cat >"$TMP/out/inside.sh" <<'INSIDE'
cd /run/out || exit 1
fail() { echo "FAILED: $*"; systemctl status --no-pager 'cmxsafe-gateway*' nvr; journalctl --no-pager -u 'cmxsafe-gateway*' -u nvr | tail -n 60; exit 1; }
wait_for() { local end=$((SECONDS + $1)); shift; until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done; }
main_pid() { systemctl show -P MainPID cmxsafe-gateway; }
another() { [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && cmxsafe gateway status; }
sudo() { "$@"; }

dpkg -i cmxsafe.deb || fail "installing"
useradd alice && cp key.pub cam-17.pub
(set -e; . ./gateway.sh) >readme 2>&1 || { cat readme; fail "README.md: gateway.sh"; }
grep -q 'added, reachable as cam-17.cmx' readme && grep -q '^0 connected' readme || { cat readme; fail "what README.md's lines say"; }
cmxsafe gateway grant --json | jq -e '.[0].consumer == "user:alice"' || fail "the grant of README.md"
units=(/etc/systemd/system/cmxsafe-gateway*)
[ ${#units[@]} = 3 ] || fail "units: ${units[*]}"
systemd-analyze verify --man=no "${units[@]}" >verify 2>&1 && ! grep -q cmxsafe verify || { cat verify; fail "systemd-analyze verify"; }
# 10 is no protection, 0 is all. What is left is what a stock sshd needs.
systemd-analyze security --offline=true --threshold=25 /etc/systemd/system/cmxsafe-gateway.service >security 2>&1 || { tail -n 3 security; fail "systemd-analyze security"; }
echo "ok: units: $(tail -n 1 security | sed 's/.*: //')"
for u in cmxsafe-gateway.socket cmxsafe-gateway.service cmxsafe-gateway-net.service; do [ "$(systemctl is-active $u)" = active ] || fail "$u is not active"; done
p=$(main_pid)
[ "$(ps -o user= -p "$p")" = cmxsafe-gw ] || fail "user: $(ps -o user= -p "$p")"
[ "$(awk '/^CapEff/ {print $2}' "/proc/$p/status")" = 0000000000000000 ] && [ "$(awk '/^NoNewPrivs/ {print $2}' "/proc/$p/status")" = 1 ] || fail "privileges"
[ "$(readlink "/proc/$p/ns/net")" != "$(readlink /proc/self/ns/net)" ] || fail "the gateway is in the host's network"
cmxsafe gateway doctor >doctor || { grep ^bad doctor; fail "the doctor finds something bad"; }
echo "ok: started by its units, as its account, in the fleet's namespace"

su alice -s /bin/sh -c 'cmxsafe gateway status' 2>&1 | grep -q "the system's gateway is root's: use sudo" || fail "a user is not told where the gateway is"
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
# Somebody else's service: asks again and again, and tells what it got.
cat >/etc/systemd/system/nvr.service <<'UNIT'
[Service]
User=nobody
ExecStartPre=+/usr/bin/cmxsafe gateway net rules
ExecStartPre=+/bin/rm -f /run/out/nvr
ExecStart=/bin/sh -c 'while :; do curl -s -m 3 http://cam-17.cmx:81/ && echo "as $$"; sleep 0.2; done'
StandardOutput=append:/run/out/nvr
UNIT
sed 's/nvr/dvr/' /etc/systemd/system/nvr.service >/etc/systemd/system/dvr.service
systemctl daemon-reload
systemctl start device nvr dvr || fail "start of device, nvr, dvr"
connected() { cmxsafe gateway status --json | jq -e '[.sessions[] | select(.name == "cam-17")] | length > 0'; }
reached() { grep -q hello "$1"; }
wait_for 30 connected || fail "the device does not connect"
! reached nvr || fail "reached without a grant"
cmxsafe gateway grant cgroup:system.slice/nvr.service cam-17:81 || fail "grant"
wait_for 30 reached nvr || fail "a grant to the unit's control group does not work"
! reached dvr || fail "another unit of the same user gets in"
! setpriv --reuid 65534 --regid 65534 --clear-groups curl -s -m 3 http://cam-17.cmx:81/ || fail "the same user gets in elsewhere"
echo "ok: a grant to a unit's control group is that unit's alone"
systemctl restart nvr || fail "restart of nvr"
wait_for 30 reached nvr || fail "after its restart the unit is another control group, and the grant is lost"
systemctl restart dvr && sleep 1
! reached dvr || fail "a restart brought in another unit"
echo "ok: and holds over its restart"

# With the unit away the rules can't name its group: the gateway must come up nevertheless.
systemctl stop nvr
systemctl restart cmxsafe-gateway-net cmxsafe-gateway.socket cmxsafe-gateway || fail "restart of the gateway"
wait_for 30 connected || fail "the device is not back"
! reached dvr || fail "without the unit its grant is anybody's"
systemctl start nvr
wait_for 30 reached nvr || fail "the grant is lost with the gateway's restart"
echo "ok: restarted while the unit was away"

p=$(main_pid)
kill -KILL "$p"
wait_for 30 another "$p" || fail "not restarted after SIGKILL"
wait_for 30 connected || fail "the device is not back after SIGKILL"
cmxsafe gateway grant --remove cgroup:system.slice/nvr.service cam-17:81 || fail "grant --remove"
: >nvr
sleep 1
: >nvr
sleep 1
! reached nvr || fail "a grant taken back works"
echo "ok: killed and back; a grant taken back ends"
systemctl stop cmxsafe-gateway.socket cmxsafe-gateway cmxsafe-gateway-net || fail "stop"
[ "$(systemctl show -P Result cmxsafe-gateway)" = success ] || fail "stop is not clean"
! ss -Hltn | grep -q ':2222 ' && [ ! -e /run/netns/cmxsafe ] && [ ! -e /sys/class/net/cmxsafe0 ] || fail "something is left"
echo "ok: stopped"
systemctl start cmxsafe-gateway.socket cmxsafe-gateway && dpkg -P cmxsafe || fail "purging"
! systemctl is-active cmxsafe-gateway.socket cmxsafe-gateway cmxsafe-gateway-net || fail "the gateway outlives its package"
! ls /etc/systemd/system/cmxsafe-gateway* /etc/systemd/system/*.wants/cmxsafe-gateway* 2>/dev/null || fail "units are left"
! grep -q cmxsafe /etc/hosts || fail "/etc/hosts"
[ -s /var/lib/cmxsafe/gateway/registry.db ] && [ -s /var/lib/cmxsafe/gateway/hostkey_ed25519 ] || fail "the registry and the host keys are gone"
echo "ok: purged; who is enrolled and what devices pin stay"
echo DONE
INSIDE
boot_systemd 200 A=b
