#!/usr/bin/env bash
# cmxsafed-isolation.service under a real systemd. Before the network comes up, the unit loads the rules that the agent
# saved. If no rules are saved, or if they are damaged, it denies everything. A broken configuration or a missing key
# does not change this. If the configuration does not enable isolation, the unit does nothing. The rules are loaded in
# this scenario's network namespace.
. "$(dirname "$0")/../systemd_lib.sh"
command -v nft >/dev/null || skip "no nft"
systemd_package cmxsafe-agent agent
ip link add cmx0 type veth peer name cmx1 && ip addr add 10.99.0.2/24 dev cmx0 && ip link set cmx0 up && ip link set cmx1 up || skip "no veth here"

# Installs the package and the drop-in. In this boot the configuration cannot be parsed, and no rules are saved.
# fakenet.service stands for the network manager: it starts after network-pre.target, as ifupdown, NetworkManager and
# systemd-networkd do.
cat >"$TMP/out/prepare.sh" <<'PREPARE'
set -e
dpkg -i /run/out/agent.deb
mkdir -p /etc/systemd/system/cmxsafed.service.d /etc/systemd/system/scenario.service.d
cp /usr/share/doc/cmxsafe-agent/examples/isolation.conf /etc/systemd/system/cmxsafed.service.d/
printf '[Service]\nRestartSec=100ms\n' >/etc/systemd/system/cmxsafed.service.d/quick.conf
printf '[Unit]\nWants=cmxsafed.service fakenet.service\n' >/etc/systemd/system/scenario.service.d/boot.conf
echo 'not a configuration' >/etc/cmxsafe/cmxsafed.conf
cat >/etc/systemd/system/fakenet.service <<'UNIT'
[Unit]
DefaultDependencies=no
After=network-pre.target
Wants=network-pre.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'nft list table inet cmxsafe >/run/out/at_network.part 2>&1; mv /run/out/at_network.part /run/out/at_network'
UNIT
PREPARE

cat >"$TMP/out/inside.sh" <<'INSIDE'
# One file offset for stdout and stderr: systemd opens the log twice, and with two offsets each would overwrite the
# other's text.
exec 2>&1
cd /run/out || exit 1
fail() { echo "FAILED: $*"; systemctl status --no-pager cmxsafed cmxsafed-isolation; journalctl --no-pager -u cmxsafed -u cmxsafed-isolation | tail -40; exit 1; }
rules() { nft -s -t list table inet cmxsafe && nft -s -t list table arp cmxsafe; }
has() { nft list set inet cmxsafe "$1" | grep -q "$2"; }

wait_for 20 test -e at_network || fail "the network did not come up"
grep -q 'policy drop' at_network || { cat at_network; fail "the machine was open when the network came up"; }
systemctl is-failed cmxsafed >/dev/null || wait_for 20 sh -c 'journalctl -u cmxsafed -o cat | grep -q "not usable"' || fail "the agent runs with a broken configuration"
! has agent elements && ! has services4 elements || fail "total deny has elements"
python3 -m http.server --bind 127.0.0.1 8099 >/dev/null 2>&1 & 
wait_for 20 sh -c "ss -Hltn 'sport = :8099' | grep -q ." || fail "the service does not start"
! curl -s -m 2 http://127.0.0.1:8099/ >/dev/null || fail "a loopback packet passes although the rules deny everything"
! timeout 2 bash -c 'echo x >/dev/udp/10.99.0.1/9' 2>/dev/null || fail "a packet leaves although the rules deny everything"
echo "ok: at boot with a broken configuration everything is denied before the network comes up"

ssh-keygen -q -t ed25519 -N '' -f /etc/cmxsafe/key && chown cmxsafed: /etc/cmxsafe/key
cat >/etc/cmxsafe/cmxsafed.conf <<CONF
[gateway]
host = 10.99.0.1
user = device
host_key = $(ssh-keygen -lf /etc/cmxsafe/key.pub | cut -d' ' -f2)
key_file = /etc/cmxsafe/key
[isolation]
enabled = yes
[context web]
local_port = 8099
remote_port = 8099
CONF
systemctl restart cmxsafed || fail "starting the agent"
has services4 127.0.0.1 && has gateways4 10.99.0.1 || fail "the agent did not install its rules"
[ "$(stat -c '%U %a' /var/lib/cmxsafed/isolation.nft)" = 'cmxsafed 600' ] || fail "the rules are not saved"
rules >agent.rules
systemctl stop cmxsafed

# reboot: simulates a reboot: removes the rules from the kernel, and runs the unit again.
reboot() { nft flush ruleset; systemctl restart cmxsafed-isolation; }
rm /etc/cmxsafe/key
reboot || fail "the unit fails to load the saved rules"
rules | cmp - agent.rules && has services4 127.0.0.1 || fail "the loaded rules are not those that the agent saved"
echo "ok: with a missing key the saved rules are loaded"

echo 'broken' >>/etc/cmxsafe/cmxsafed.conf
reboot || fail "the unit fails to load the saved rules"
rules | cmp - agent.rules && has services4 127.0.0.1 || fail "the loaded rules are not those that the agent saved"
echo "ok: with a broken configuration the saved rules are loaded"

echo 'table inet cmxsafe { nonsense' >/var/lib/cmxsafed/isolation.nft
reboot || fail "the unit fails with damaged saved rules"
grep -q 'policy drop' <(rules) && ! has services4 elements || fail "damaged saved rules leave the machine open"
journalctl -u cmxsafed-isolation -o cat | grep -q 'everything is denied' || fail "the journal does not say that everything is denied"
echo "ok: damaged saved rules mean total deny"

sed -i 's/^enabled = yes/enabled = no/; /^broken/d' /etc/cmxsafe/cmxsafed.conf
reboot || fail "the unit fails if isolation is not enabled"
! rules >/dev/null 2>&1 || fail "rules although isolation is not enabled"
echo "ok: without isolation in the configuration nothing is loaded"
echo DONE
INSIDE

boot_systemd 450
