# systemd_lib.sh - for scenarios under a real systemd: a copy-on-write copy of this machine in its own process namespace, with a
# control group of its own, where systemd is process 1 and runs $TMP/out/inside.sh (there: /run/out). Nobody outside sees any of it.
# Source it after lib.sh, as root in a network namespace of the scenario's own.

need_systemd() {
    [ "$(id -u)" = 0 ] || skip "not root"
    [ -x /lib/systemd/systemd ] || skip "no systemd"
}

# boot_systemd SECONDS [NAME=VALUE ...]: the variables are inside.sh's. Its output is $TMP/out/log; it ends with a line DONE, or this fails.
boot_systemd() {
    local seconds=$1
    shift
    write_boot "$*"
    # A control group of its own, taken away at the end.
    CGROUPS=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    [ -n "$CGROUPS" ] && mkdir "$CGROUPS/cmx-e2e.$$" || skip "no control group (v2) can be made here"
    CLEANUP+=('find "$CGROUPS/cmx-e2e.$$" -depth -type d -exec rmdir {} \; 2>/dev/null')
    timeout -s KILL "$seconds" bash -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' - "$CGROUPS/cmx-e2e.$$" \
        unshare --kill-child --pid --fork --mount --cgroup --ipc --uts bash "$TMP/boot.sh" "$TMP" >"$TMP/boot.log" 2>&1
    [ -e "$TMP/out/booting" ] || skip "no copy of this machine can be made here"
    [ -s "$TMP/out/log" ] || skip "systemd does not boot here"
    grep '^ok: ' "$TMP/out/log"
    grep -q '^DONE$' "$TMP/out/log" || { cat "$TMP/out/log"; fail "under systemd"; }
}

write_boot() { # write_boot VARIABLES
    mkdir -p "$TMP/copy"
    sed "s|@VARIABLES@|$1|" >"$TMP/boot.sh" <<'BOOT'
set -eu
mount -t tmpfs tmpfs "$1/copy"
mkdir "$1/copy/u" "$1/copy/w" "$1/copy/m"
mount -t overlay -o "lowerdir=/,upperdir=$1/copy/u,workdir=$1/copy/w" overlay "$1/copy/m"
cd "$1/copy/m"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net # of the scenario's own network
mount -o remount,ro,bind proc/sys # the machine's own settings are none of ours
mount -t sysfs sysfs sys
mount -o remount,ro,bind sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs var/log
mount --rbind /dev dev
mkdir run/out
mount --bind "$1/out" run/out
# Nothing of what this machine starts is started there.
rm -rf {etc,lib,usr/lib}/systemd/system/{sysinit,basic,sockets,timers,local-fs,multi-user,graphical}.target.wants
cat >etc/systemd/system/scenario.service <<UNIT
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service dbus.socket systemd-journald.socket
After=basic.target systemd-journald.service
[Service]
Type=oneshot
Environment=@VARIABLES@
StandardOutput=file:/run/out/log
StandardError=file:/run/out/log
ExecStart=/bin/bash /run/out/inside.sh
ExecStopPost=/bin/systemctl --force --force poweroff
UNIT
touch run/out/booting
# A changed root by chroot alone forbids user namespaces, which the unit uses.
mkdir old
pivot_root . old
umount -l old
container=cmxsafe exec /lib/systemd/systemd --unit=scenario.service --show-status=0
BOOT
}
