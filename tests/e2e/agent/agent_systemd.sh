#!/usr/bin/env bash
# Tests the unit under a real systemd, in a copy-on-write copy of this machine with its own process and network
# namespaces. The package is installed and the service is set up as README.md describes; then the service is reloaded,
# frozen (SIGSTOP), killed, isolated and stopped. The machine itself is not changed.
. "$(dirname "$0")/../systemd_lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
systemd_package cmxsafe-agent agent
gateway_machine # isolation needs another machine as the gateway
SSHD_ADDRESS=0.0.0.0 SSHD_PREFIX="nsenter -t $GATEWAY_NS -n" start_sshd <<C
GatewayPorts yes
AuthorizedKeysFile $TMP/out/authorized_keys
C
wait_for 20 nc -z 10.99.0.1 "$SSHD_PORT" || fail "sshd does not listen"
WEB=$(free_port) GATE=$(free_port)
mkdir "$TMP/www"
echo hello >"$TMP/www/index.html"
serve_folder "$WEB" "$TMP/www"
# snippet NAME: prints the code block of README.md that follows the comment `test: NAME`.
snippet() { awk -v want="<!-- test: $1 -->" '$0 == want { on = 1; next } on && /^```/ { if (inside) exit; inside = 1; next } inside' "$ROOT/README.md"; }
for name in agent_key.sh agent.sh gateway_account.sh; do snippet $name >"$TMP/out/$name" && [ -s "$TMP/out/$name" ] || fail "README.md has no $name"; done
snippet authorized_keys | sed "s/localhost:8080/localhost:$GATE/" >"$TMP/out/authorized_keys.in"
snippet agent.conf | sed "s/^host = .*/host = 10.99.0.1\nport = $SSHD_PORT\nbackoff_max = 1s/; s/^user = .*/user = $SSHD_USER/; s|REPLACE-ME|${PIN#SHA256:}|
    s/^local_port = .*/local_port = $WEB/; s/^remote_port = .*/remote_port = $GATE/" >"$TMP/out/cmxsafed.conf"

cat >"$TMP/out/inside.sh" <<'INSIDE'
cd /run/out || exit 1
fail() { echo "FAILED: $*"; systemctl status --no-pager cmxsafed; journalctl --no-pager -u cmxsafed; exit 1; }
main_pid() { systemctl show -P MainPID cmxsafed; }
serves() { [ "$(curl -sS --max-time 5 "http://10.99.0.1:$GATE/")" = hello ]; }
another() { differ "$(main_pid)" "$1" && [ "$(systemctl is-active cmxsafed)" = active ]; }

dpkg -i agent.deb || fail "installing"
! systemctl is-enabled cmxsafed || fail "the package enabled the unit"
! systemctl is-active cmxsafed || fail "the package started the unit"
sudo() { "$@"; }
ssh-keygen -A >/dev/null
(set -e; . ./gateway_account.sh) | grep -q ' SHA256:.* (ED25519)$' || fail "README.md: gateway_account.sh"
equal "$(stat -c %U:%a /home/camera-17/.ssh)" camera-17:700 || fail "README.md's commands give the account's folder .ssh another owner or mode"
. ./agent_key.sh || fail "README.md: agent_key.sh"
sed "s|ssh-ed25519 AAAA[.]*|$(cut -d' ' -f1,2 /etc/cmxsafe/key.pub)|" authorized_keys.in >authorized_keys
cp cmxsafed.conf /etc/cmxsafe/cmxsafed.conf
mkdir -p /etc/systemd/system/cmxsafed.service.d
printf '[Service]\nWatchdogSec=4\nRestartSec=100ms\n' >/etc/systemd/system/cmxsafed.service.d/quick.conf
systemctl daemon-reload

chown root: /etc/cmxsafe/key
check_refuses() { # check_refuses MESSAGE: expects that `cmxsafed --check`, run by root, refuses the unit's configuration with MESSAGE
    ! cmxsafed --check >check.out 2>&1 && grep -qF "$1" check.out || { cat check.out; fail "root's check does not say: $1"; }
}
check_refuses "key_file /etc/cmxsafe/key: Permission denied; run: chown cmxsafed: /etc/cmxsafe/key"
install -m 0644 /etc/cmxsafe/key.pub /root/update.pub
printf '[ota]\ninstall = true\nkey_file = /root/update.pub\nspool = /srv/update\n' | cat cmxsafed.conf - >/etc/cmxsafe/cmxsafed.conf
chown cmxsafed: /etc/cmxsafe/key
chmod 0755 /root
openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout -out /root/update.pub 2>/dev/null
check_refuses "key_file /root/update.pub: cmxsafed.service cannot see files below /home, /root or /run/user (ProtectHome=yes)"
check_refuses "spool /srv/update: cmxsafed.service may not write there (ProtectSystem=strict)"
cp cmxsafed.conf /etc/cmxsafe/cmxsafed.conf
cmxsafed --check || fail "the check refuses what works"
chmod 0700 /root
chown root: /etc/cmxsafe/key
! systemctl start cmxsafed || fail "started with a key that only root can read"
wait_for 20 sh -c "journalctl -u cmxsafed -o cat | grep -q 'Permission denied; run: chown cmxsafed: /etc/cmxsafe/key'" || fail "the journal does not say what to do"
chown cmxsafed: /etc/cmxsafe/key
(set -e; . ./agent.sh) || fail "README.md: agent.sh"
systemctl is-enabled cmxsafed || fail "the unit is not enabled"
cmxsafed status --json | json_is .all_up || fail "started, but not up"
serves || fail "the service is not reached"
cmxsafed status --json | json_is '[.confinement[] | .applied or (.detail | test("kernel has no Landlock|any port"))] | all' || fail "the agent is not fully confined under the unit"
[ "$(ps -o user= -p "$(main_pid)")" = cmxsafed ] || fail "user"
[ "$(awk '/^CapEff/ {print $2}' "/proc/$(main_pid)/status")" = 0000000000000000 ] || fail "the agent has capabilities"
[ "$(awk '/^NoNewPrivs/ {print $2}' "/proc/$(main_pid)/status")" = 1 ] || fail "the agent may gain privileges"
equal "$(systemctl show -P MemoryMax cmxsafed)" $((512 << 20)) || fail "wrong MemoryMax"
[ "$(systemctl show -P TasksMax cmxsafed)" -ge 640 ] || fail "the unit permits too few threads for 512 contexts"
lacks '^Max data size *unlimited' "/proc/$(main_pid)/limits" || fail "the heap has no limit"
systemctl show -P StatusText cmxsafed | grep -q '1 of 1 contexts up' || fail "wrong StatusText"
[ "$(stat -c '%U:%G %a' /run/cmxsafe/cmxsafed.sock)" = 'cmxsafed:cmxsafed 660' ] || fail "the control socket has a wrong owner or mode"
echo "ok: started, confined, up"

journalctl -o json -u cmxsafed _COMM=cmxsafed | jq -r .PRIORITY | grep -qx 6 || fail "the journal's entries lack their priorities"
prints_no '^<' journalctl -u cmxsafed -o cat || fail "priorities are in the text"
echo "ok: journal"

first=$(main_pid)
systemctl reload cmxsafed || fail "reload"
wait_for 10 sh -c "journalctl -u cmxsafed -o cat | grep -q 'read again'" || fail "reload is not logged"
cp cmxsafed.conf broken.conf
echo 'colour = red' >>/etc/cmxsafe/cmxsafed.conf
! systemctl reload cmxsafed || fail "reload of a broken file succeeds"
serves || fail "a broken file stopped the service"
cp cmxsafed.conf /etc/cmxsafe/cmxsafed.conf
[ "$(main_pid)" = "$first" ] || fail "reload made another process"
echo "ok: reload"

kill -STOP "$first"
wait_for 30 another "$first" || fail "the watchdog does not restart a hung agent"
wait_for 30 serves || fail "the service is not reachable after the watchdog's restart"
echo "ok: watchdog"

second=$(main_pid)
kill -KILL "$second"
wait_for 30 another "$second" || fail "the agent is not restarted after SIGKILL"
wait_for 30 serves || fail "the service is not reachable after SIGKILL"
echo "ok: restart"

# The unit still works with isolation's drop-in.
cp -p /etc/cmxsafe/cmxsafed.conf plain.conf
printf '[isolation]\nenabled = yes\n' >>/etc/cmxsafe/cmxsafed.conf
! cmxsafed --check >check 2>&1 && grep -q 'enabled: .*/examples/isolation.conf' check || fail "isolation without the capability: $(cat check)"
cp -p plain.conf /etc/cmxsafe/cmxsafed.conf
cp /usr/share/doc/cmxsafe-agent/examples/isolation.conf /etc/systemd/system/cmxsafed.service.d/
systemctl daemon-reload && systemctl restart cmxsafed || fail "restart with isolation.conf"
[ "$(awk '/^CapEff/ {print $2}' "/proc/$(main_pid)/status")" = 0000000000001000 ] || fail "the agent has other capabilities than CAP_NET_ADMIN"
wait_for 30 serves || fail "the service is not reachable with isolation.conf"
printf '[isolation]\nenabled = yes\ndhcp = no\nresolvers = 192.0.2.53\n' >>/etc/cmxsafe/cmxsafed.conf
systemctl restart cmxsafed || fail "restart with isolation"
all_up() { cmxsafed status --json | json_is .all_up; }
wait_for 30 all_up || fail "the contexts are not up with isolation"
cmxsafed status --json | json_is .modules.isolation || fail "isolation is not in the status"
cmxsafed isolation --show >show 2>&1
grep -q 'table inet cmxsafe' show && grep -q 'table arp cmxsafe' show || { cat show; fail "isolation is not in force"; }
cmxsafed isolation --dry-run | grep -qx "add element inet cmxsafe agent { \"+$(id -u cmxsafed)\" }" || fail "with root's --dry-run the rules are for another user"
! serves || fail "isolated, but another user reaches the gateway"
sed -i '/^\[isolation\]/,$s/^enabled = yes/enabled = no/' /etc/cmxsafe/cmxsafed.conf
systemctl reload cmxsafed || fail "reload without isolation"
wait_for 10 sh -c "journalctl -u cmxsafed -o cat | grep -q 'no longer enabled'" || fail "isolation is not removed"
cmxsafed isolation --remove || fail "isolation --remove"
wait_for 30 serves || fail "the service is not reachable after isolation was removed"
echo "ok: isolation.conf"

# For a local port below 1024 the unit lacks a capability: --check reports this and names a drop-in. With this drop-in the agent opens
# the port.
printf '[context low]\ndirection = direct\nlocal_port = 81\nremote_host = 127.0.0.1\nremote_port = 9\n' >>/etc/cmxsafe/cmxsafed.conf
! cmxsafed --check >check 2>&1 && grep -q 'local_port 81: .*/examples/low-ports.conf' check || fail "--check accepts a port below 1024: $(cat check)"
cp /usr/share/doc/cmxsafe-agent/examples/low-ports.conf /etc/systemd/system/cmxsafed.service.d/
systemctl daemon-reload && cmxsafed --check && systemctl restart cmxsafed || fail "restart with low-ports.conf"
wait_for 30 all_up || fail "the contexts are not up with low-ports.conf"
echo "ok: low-ports.conf"

# An upgrade restarts the agent with the new package's unit.
unit=$(systemctl show -P FragmentPath cmxsafed) before=$(main_pid)
sed -i 's/^Description=.*/Description=the unit of an earlier package/' "$unit" && touch -d '1 day ago' "$unit" && systemctl daemon-reload
dpkg -i agent.deb || fail "upgrading"
differ "$(main_pid)" "$before" || fail "the upgrade did not restart the agent"
lacks 'earlier package' <(systemctl show -P Description cmxsafed) || fail "the upgraded agent runs with the unit of the earlier package"
wait_for 30 serves || fail "the service is not reachable after an upgrade"
echo "ok: upgrade"

systemctl stop cmxsafed || fail "stop"
[ "$(systemctl show -P Result cmxsafed)" = success ] || fail "stop is not clean"
[ ! -e /run/cmxsafe ] || fail "the runtime folder still exists"
systemctl start cmxsafed || fail "start"
before=$(main_pid)
dpkg -P cmxsafe-agent || fail "purging"
! kill -0 "$before" 2>/dev/null || fail "the agent still runs after its package was removed"
echo "ok: stopped, purged"
echo DONE
INSIDE

boot_systemd 450 "GATE=$GATE"
