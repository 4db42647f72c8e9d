# systemd_lib.sh - for scenarios under a real systemd. They boot a copy-on-write copy of this machine in its own process
# namespace and control group; systemd is process 1 there and runs checks.sh and inside.sh from $TMP/out (/run/out in
# the copy). The machine itself does not change. Source this file instead of lib.sh: it executes the scenario again in a
# network namespace of its own.
[ -n "${CMX_INNER:-}" ] || { unshare -n true 2>/dev/null && CMX_INNER=1 exec unshare -n bash "$0"; }
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# systemd_package PACKAGE NAME: skips the scenario where it cannot run; otherwise builds PACKAGE as $TMP/out/NAME.deb.
systemd_package() {
    [ "$(id -u)" = 0 ] || skip "not root"
    [ -x /lib/systemd/systemd ] || skip "no systemd"
    [ -n "${CMX_INNER:-}" ] || skip "no network namespace can be made here"
    command -v dpkg-shlibdeps >/dev/null && command -v jq >/dev/null || skip "no dpkg-dev or jq"
    "$ROOT/scripts/package.sh" "$TMP/packages" >"$TMP/package.log" 2>&1 || fail "scripts/package.sh"
    mkdir "$TMP/out"
    cp "$TMP/packages/$1"_*.deb "$TMP/out/$2.deb" || fail "no package $1"
    ip link set lo up
}

# gateway_machine: creates the network namespace of a second machine, 10.99.0.1, and a cable to this machine, 10.99.0.2.
# in_gateway COMMAND... runs COMMAND there.
gateway_machine() {
    unshare -n sleep 600 &
    GATEWAY_NS=$!
    PIDS+=("$GATEWAY_NS")
    wait_for 10 sh -c "[ \"\$(readlink /proc/$GATEWAY_NS/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]" || fail "the gateway's network"
    ip link add cmx0 type veth peer name gw0 netns "$GATEWAY_NS" || skip "no veth here"
    ip addr add 10.99.0.2/24 dev cmx0 && ip link set cmx0 up || fail "the cable to the gateway"
    in_gateway sh -c 'ip link set lo up && ip addr add 10.99.0.1/24 dev gw0 && ip link set gw0 up' || fail "the gateway's addresses"
}
in_gateway() { nsenter -t "$GATEWAY_NS" -n "$@"; }

# boot_systemd SECONDS [NAME=VALUE ...]: boots the copy, which runs inside.sh with these variables, and kills it after
# SECONDS. The output is $TMP/out/log; its last line must be DONE.
boot_systemd() {
    local seconds=$1
    shift
    write_boot "$*"
    cp "$ROOT/tests/e2e/checks.sh" "$TMP/out/"
    # A control group for this run, removed at the end.
    CGROUPS=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    [ -n "$CGROUPS" ] && mkdir "$CGROUPS/cmx-e2e.$$" || skip "no control group (v2) can be made here"
    CLEANUP+=('end_cgroup "$CGROUPS/cmx-e2e.$$"')
    timeout -s KILL "$seconds" bash -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' - "$CGROUPS/cmx-e2e.$$" \
        unshare --kill-child --pid --fork --mount --cgroup --ipc --uts bash "$TMP/boot.sh" "$TMP" >"$TMP/boot.log" 2>&1
    [ -e "$TMP/out/booting" ] || skip "no copy of this machine can be made here"
    [ -s "$TMP/out/log" ] || skip "systemd does not boot here"
    grep '^ok: ' "$TMP/out/log"
    grep -q '^DONE$' "$TMP/out/log" || { cat "$TMP/out/log"; fail "the part under systemd fails"; }
}

write_boot() { # write_boot VARIABLES: writes boot.sh, which boots the copy
    mkdir -p "$TMP/copy"
    sed "s|@VARIABLES@|$1|" >"$TMP/boot.sh" <<'BOOT'
set -eu
mount -t tmpfs tmpfs "$1/copy"
mkdir "$1/copy/u" "$1/copy/w" "$1/copy/m"
mount -t overlay -o "lowerdir=/,upperdir=$1/copy/u,workdir=$1/copy/w" overlay "$1/copy/m"
cd "$1/copy/m"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net # the settings of the scenario's network stay writable
mount -o remount,ro,bind proc/sys # the machine's other settings become read-only
mount -t sysfs sysfs sys
mount -o remount,ro,bind sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs var/log
mount --rbind /dev dev
mkdir run/out
mount --bind "$1/out" run/out
# The copy starts none of the machine's services.
rm -f usr/sbin/policy-rc.d # it would prevent packages from stopping their units
rm -rf {etc,lib,usr/lib}/systemd/system/{sysinit,basic,sockets,timers,local-fs,multi-user,graphical}.target.wants
cat >etc/systemd/system/scenario.service <<UNIT
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service dbus.socket systemd-journald.socket
After=basic.target systemd-journald.service
[Service]
Type=oneshot
Environment=@VARIABLES@
StandardOutput=append:/run/out/log
StandardError=append:/run/out/log
ExecStart=/bin/bash -c '. /run/out/checks.sh; . /run/out/inside.sh'
ExecStopPost=/bin/systemctl --force --force poweroff
UNIT
[ ! -e run/out/prepare.sh ] || chroot . /bin/bash /run/out/prepare.sh >run/out/prepare.log 2>&1
touch run/out/booting
# pivot_root instead of chroot: the unit uses user namespaces, which the kernel forbids after a chroot.
mkdir old
pivot_root . old
umount -l old
container=cmxsafe exec /lib/systemd/systemd --unit=scenario.service --show-status=0
BOOT
}
