#!/usr/bin/env bash
# Installs each Debian package alone on a fresh system without build tools and runs its main command, then installs it again and
# purges it: scripts/try_packages.sh [--upgrade-from COMMIT] [RELEASE]. RELEASE is a Debian release (default: this machine's).
# --upgrade-from: also runs a gateway and an agent from that commit's packages and upgrades them to the new packages. Needs root.
set -u
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/root_lib.sh"
former=''
[ "${1:-}" != --upgrade-from ] || { former=$(git -C "$CMX_ROOT" rev-parse --verify -q "${2:-}^{commit}") || die "--upgrade-from '${2:-}': no such commit"; shift 2; }
case ${1:-} in -*) sed -n '2,4s/^# //p' "$0"; exit 2 ;; esac
[ "$(id -u)" = 0 ] || die "try_packages.sh: needs root, for namespaces and debootstrap; run it with sudo"
this=$(. /etc/os-release && echo "$VERSION_CODENAME")
release=${1:-$this}
if [ -z "${CMX_IN_MOUNTS:-}" ]; then
    install_packages "${ROOT_TOOLS[@]}" openssh-client
    CMX_IN_MOUNTS=1 exec unshare --mount --propagation private bash "$0" ${former:+--upgrade-from "$former"} "$release"
fi
base=$(base_root "$release") || exit 1
work=$(mktemp -d "$ROOTS/packages.XXXXXX")
trap 'umount -l "$work"/*/root 2>/dev/null; rm -rf "$work"' EXIT
if [ "$release" = "$this" ]; then "$CMX_ROOT/scripts/package.sh" "$work" >"$work/log" 2>&1
else "$CMX_ROOT/scripts/package.sh" --arch "$(dpkg --print-architecture)" --release "$release" "$work" >"$work/log" 2>&1
fi || { cat "$work/log"; die "building the packages failed; see above"; }
ssh-keygen -q -t ed25519 -N '' -f "$work/key"

passed=0 failed=0
# check NAME MODE COMMANDS [OTHER]: in a fresh system, installs the package NAME, runs COMMANDS, installs the package again
# and purges it. MODE is `recommends` or `alone`: with or without the packages that NAME recommends. OTHER: a cmxsafe
# package that NAME depends on.
check() {
    local name=$1 mode=$2 other=${4:-} dir=$work/$1-$2 norecommends=--no-install-recommends
    [ "$mode" = alone ] || norecommends=
    mount_copy "$base" "$dir" || die "cannot mount a copy of $release"
    mkdir "$dir/root/packages"
    cp "$work"/"${name}"_[0-9]*.deb ${other:+"$work"/"${other}"_[0-9]*.deb} "$work/key" "$work/key.pub" "$dir/root/packages/"
    if in_root "$dir/root" bash -euc "
        export DEBIAN_FRONTEND=noninteractive
        cd /packages
        apt-get update -q && apt-get install -y -q $norecommends ./*.deb
        ! command -v cc || exit 1
        $3
        apt-get install -y -q --reinstall $norecommends ./*.deb
        apt-get purge -y -q $name" >"$work/log" 2>&1 </dev/null; then
        passed=$((passed + 1)); say "ok      $release $name, $mode"
    else
        failed=$((failed + 1)); say "FAILED  $release $name, $mode"; tail -n 20 "$work/log"
    fi
    umount -l "$dir/root"
}

agent='
    install -o cmxsafed -g cmxsafed -m 600 key /etc/cmxsafe/key
    { printf "gateway.example.org "; cut -d" " -f1,2 key.pub; } >/etc/cmxsafe/known_hosts
    cmxsafed --version
    cmxsafed --check -c /etc/cmxsafe/cmxsafed.conf
    printf "\n[agent]\ncontrol_socket = /run/cmxsafed.sock\n" >>/etc/cmxsafe/cmxsafed.conf
    cmxsafed -c /etc/cmxsafe/cmxsafed.conf & pid=$!
    for i in $(seq 100); do cmxsafed status --socket /run/cmxsafed.sock && break; sleep 0.1; done
    cmxsafed status --socket /run/cmxsafed.sock | grep stream
    kill $pid; wait $pid'
board='
    cmxsafe-board create /board
    head -c 32 /dev/urandom >/board/private_key.bin
    cmxsafe-board run /board >board.out 2>board.log & pid=$!
    for i in $(seq 100); do grep -qi "boot" board.log board.out && break; sleep 0.1; done
    sleep 2; cat board.log board.out; kill $pid; wait $pid || [ $? = 143 ]
    ! grep -i "not installed\|cannot load\|is not there\|no lib" board.log board.out || exit 1'
operator='
    cmxsafe --version
    cmxsafe identity public --help >/dev/null
    head -c 32 /dev/urandom >private_key.bin
    cmxsafe identity public --key private_key.bin | grep ^ecdsa-sha2-nistp256'
gateway='
    cmxsafe gateway init --host gateway.example.org
    cmxsafe gateway enroll cam-17 --key key.pub --ports 81
    cmxsafe gateway list | grep cam-17'

# page NAME: prints a command that succeeds if Cockpit's bridge lists the page NAME.
page() { printf 'cockpit-bridge --packages | grep "^%s "\n' "$1"; }

# Tests an upgrade on a system with the packages of COMMIT (--upgrade-from). Starts a gateway and an agent, and permits
# the user `daemon` to open the agent's page. Then installs the new packages, and checks the page while the old programs
# are still running, after a restart of the agent, and after a restart of the gateway.
upgrade='
    wait_for() { for i in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; echo "waited in vain for: $*"; tail -n 20 /packages/*.log; return 1; }
    page() { [ "$(setpriv --reuid daemon --regid daemon --clear-groups curl -sS -m 5 http://cam-17.cmx:81/)" = hello ]; }
    version() { od -An -tu1 -j63 -N1 /var/lib/cmxsafe/gateway/registry.db | tr -d " "; } # the low byte of user_version in the header of the SQLite file
    serve() { cmxsafe gateway serve 2>>gateway.log & gateway=$!; wait_for cmxsafe gateway status; }
    agent() { setpriv --reuid cmxsafed --regid cmxsafed --clear-groups cmxsafed -c /etc/cmxsafe/cmxsafed.conf >>agent.log 2>&1 & agent=$!; }
    mkdir /sys/fs/cgroup/cmx-upgrade.$$ && echo $$ >/sys/fs/cgroup/cmx-upgrade.$$/cgroup.procs
    trap "echo $$ >/sys/fs/cgroup/cgroup.procs; echo 1 >/sys/fs/cgroup/cmx-upgrade.$$/cgroup.kill; sleep 1; find /sys/fs/cgroup/cmx-upgrade.$$ -depth -type d -exec rmdir {} +" EXIT
    mkdir -p /run/sshd /www /run/cmxsafe && echo hello >/www/index.html && busybox httpd -p 127.0.0.1:81 -h /www

    cmxsafe gateway init --listen 127.0.0.1:2222 --host 127.0.0.1
    cmxsafe gateway enroll cam-17 --key key.pub --ports 81 --form agent >cam-17.conf
    cmxsafe gateway grant user:daemon cam-17:81
    install -o cmxsafed -g cmxsafed -m 600 key /etc/cmxsafe/key
    chown cmxsafed: /run/cmxsafe
    cat cam-17.conf >/etc/cmxsafe/cmxsafed.conf
    cmxsafed --check -c /etc/cmxsafe/cmxsafed.conf
    cmxsafe gateway net up && serve
    agent
    wait_for page
    old=$(version) devices=$(cmxsafe gateway list --json | jq -S "map({name, address})")
    sum=$(sha256sum </etc/cmxsafe/cmxsafed.conf)

    dpkg --force-confdef --force-confold -i new/*.deb || apt-get install -y -q -f --no-install-recommends
    [ "$(sha256sum </etc/cmxsafe/cmxsafed.conf)" = "$sum" ]
    page
    cmxsafed --check -c /etc/cmxsafe/cmxsafed.conf
    kill $agent; wait $agent || :
    agent
    wait_for page
    echo "the new agent and the new helper of sshd work with the former gateway process"
    kill $gateway; wait $gateway || :
    cmxsafe gateway init
    cmxsafe gateway net up && serve
    wait_for page
    [ "$(cmxsafe gateway list --json | jq -S "map({name, address})")" = "$devices" ]
    echo "registry: version $old before, $(version) after"
    [ "$old" = "$(version)" ] || [ -s "/var/lib/cmxsafe/gateway/registry.db.v$old" ]
    cmxsafe gateway enroll cam-18 --hwkey key.raw --ports 81
    cmxsafe gateway doctor || :
    kill $agent $gateway; wait $agent || :; wait $gateway || :
    cmxsafe gateway net down
    apt-get purge -y -q cmxsafe cmxsafe-agent
    [ -s /etc/cmxsafe/key ]
    getent passwd cmxsafed >/dev/null
    [ -s /var/lib/cmxsafe/gateway/registry.db ]
    ! grep cmxsafe /etc/hosts && ! ls /etc/systemd/system/cmxsafe-gateway* && [ ! -e /etc/cmxsafe/cmxsafed.conf ]'
check cmxsafe-agent alone "$agent"
check cmxsafe-board alone "$board"
check cmxsafe alone "$operator"
check cmxsafe recommends "$operator$gateway"
check cockpit-cmxsafe alone "$(page cmxsafe)
$operator" cmxsafe
check cockpit-cmxsafe-agent alone "$(page cmxsafe-agent)" cmxsafe-agent
if [ -n "$former" ]; then
    builder=$(builder_root "$release" "$(dpkg --print-architecture)") || exit 1
    mount_copy "$builder" "$work/former" || die "cannot mount a copy of $release"
    mkdir -p "$work/former/root/build/former"
    git -C "$CMX_ROOT" archive "$former" | tar -x -C "$work/former/root/build/former"
    in_root "$work/former/root" bash -c 'cd /build/former && scripts/package.sh /build/out' >"$work/log" 2>&1 </dev/null ||
        { tail -n 40 "$work/log"; die "building the packages of $former failed; see above"; }
    mount_copy "$base" "$work/upgrade" || die "cannot mount a copy of $release"
    root=$work/upgrade/root
    mkdir -p "$root/packages/old" "$root/packages/new"
    cp "$work"/former/root/build/out/cmxsafe_[0-9]*.deb "$work"/former/root/build/out/cmxsafe-agent_[0-9]*.deb "$root/packages/old/"
    cp "$work"/cmxsafe_[0-9]*.deb "$work"/cmxsafe-agent_[0-9]*.deb "$root/packages/new/"
    cp "$work/key" "$work/key.pub" "$root/packages/"
    head -c 32 /dev/urandom >"$root/packages/key.raw"
    if in_root "$root" bash -euc "
        export DEBIAN_FRONTEND=noninteractive
        cd /packages
        apt-get update -q
        apt-get install -y -q --no-install-recommends ./old/*.deb openssh-server openssh-client iproute2 nftables jq curl busybox
        $upgrade" >"$work/log" 2>&1 </dev/null; then
        passed=$((passed + 1)); say "ok      $release upgrade from ${former:0:7}"; grep -E '^(registry: |the new )' "$work/log"
    else
        failed=$((failed + 1)); say "FAILED  $release upgrade from ${former:0:7}"; tail -n 60 "$work/log"
    fi
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
