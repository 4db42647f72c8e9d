#!/usr/bin/env bash
# Tests the packaged unit under a real systemd. If the restart hook is not permitted to reboot the machine, the update
# returns to `ready` and shows the hook's message. With the packaged cmxsafed-reboot.path the confined agent can reboot
# the machine. In this scenario's copy of the machine, reboot.target only creates a file.
. "$(dirname "$0")/../systemd_lib.sh"
systemd_package cmxsafe-agent agent
cat >"$TMP/out/inside.sh" <<'INSIDE'
cd /run/out || exit 1
fail() { echo "FAILED: $*"; systemctl status --no-pager cmxsafed cmxsafed-reboot.path cmxsafed-reboot.service; journalctl --no-pager -u cmxsafed -u cmxsafed-reboot.service; exit 1; }
get() { curl -sS -m 10 http://127.0.0.1:8989/update | jq -r "$1"; }
is() { [ "$(get "$1")" = "$2" ]; }
restart_hook() {
    cat >/etc/cmxsafe/cmxsafed.conf <<C
[gateway]
host = 127.0.0.1
port = 9
user = device
host_key = SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
key_file = /etc/cmxsafe/key
[ota]
allow_unsigned = yes
install = cat >/var/lib/cmxsafed/installed
version = cat /var/lib/cmxsafed/version || echo 1.0
restart = $1
[context ota]
local_port = 8989
remote_port = 8989
C
    systemctl --no-block restart cmxsafed
    wait_for 60 is .running.version 1.0 || fail "the update service does not start"
}
cat >/etc/systemd/system/reboot.target <<U
[Unit]
DefaultDependencies=no
Wants=reboot-mark.service
U
cat >/etc/systemd/system/reboot-mark.service <<U
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/touch /run/rebooting
U
dpkg -i agent.deb || fail "installing"
ssh-keygen -q -t ed25519 -N '' -f /etc/cmxsafe/key && chown cmxsafed: /etc/cmxsafe/key
systemctl is-enabled cmxsafed-reboot.path && fail "the package enabled the path unit"

restart_hook "systemctl reboot"
echo update >update
curl -sS -m 30 --data-binary @update http://127.0.0.1:8989/update | grep '^OK ' || fail "the upload"
refused() { get .error | grep -q '^the restart hook failed: .'; }
wait_for 60 refused || { get .; fail "the refusal is not shown"; }
is .state ready || { get .; fail "the update is not ready after a refusal"; }
[ ! -e /run/rebooting ] || fail "the sandbox permits a reboot"
boot=$(get .boot)
echo "ok: refused: $(get .error)"

systemctl enable --now cmxsafed-reboot.path || fail "enabling the path unit"
restart_hook "touch /run/cmxsafe/reboot"
is .state ready && is .boot "$boot" || { get .; fail "an agent that starts again has lost the update"; }
curl -sS -m 30 -X POST http://127.0.0.1:8989/restart | grep '^OK ' || fail "POST /restart"
wait_for 60 test -e /run/rebooting || fail "no reboot"
wait_for 10 sh -c '! test -e /run/cmxsafe/reboot' || fail "the request stays"
is .state restarting || { get .; fail "wrong state"; }
echo "ok: the packaged path unit reboots"
# The agent cannot start in a new system. It requests the reboot before it ends, and systemd then removes /run/cmxsafe.
systemctl stop cmxsafed
rm -f /run/rebooting
systemctl stop reboot.target reboot-mark.service
printf 'phase installed\nboot another\nold 0.9\nboots 0\nstuck 0\nsince 0\nend\n' >/var/lib/cmxsafed/update.state
chown cmxsafed: /var/lib/cmxsafed/update.state
mv /etc/cmxsafe/key /etc/cmxsafe/key.away
sed -i 's/^restart = .*/&\nconfirm_within = 4s/' /etc/cmxsafe/cmxsafed.conf
systemctl --no-block restart cmxsafed
wait_for 60 test -e /run/rebooting || { cat /var/lib/cmxsafed/update.state; fail "no reboot although the agent cannot start in the new system"; }
grep -qx "why the agent can't start" /var/lib/cmxsafed/update.state || { cat /var/lib/cmxsafed/update.state; fail "wrong record"; }
echo "ok: an agent that cannot start rolls back"
systemctl stop cmxsafed-reboot.path cmxsafed || fail "stop"
dpkg -P cmxsafe-agent || fail "purging"
[ ! -e /etc/systemd/system/multi-user.target.wants/cmxsafed-reboot.path ] || fail "the path unit stays enabled"
echo DONE
INSIDE
boot_systemd 450
