# root_lib.sh - a fresh Debian system in a folder, and commands inside it as on a machine of its own. Source it after
# lib.sh; root only.

ROOTS=$CMX_ROOT/build/roots
ROOT_TOOLS=(debootstrap slirp4netns uidmap)

# debian_mirror: prints the address of the Debian archive that this machine's apt uses.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 ~ /\/debian\/?$/ { print $1; exit }' | grep . || die "looking up the Debian archive: apt names none; configure apt's sources"
}

# base_root RELEASE: prints the folder of a system of RELEASE that debootstrap creates at the first call, with this machine's
# apt settings.
base_root() {
    local dir=$ROOTS/$1-base
    if [ ! -e "$dir/.complete" ]; then
        say "debootstrap $1" >&2
        rm -rf "$dir"
        mkdir -p "$ROOTS"
        debootstrap --variant=minbase --include=ca-certificates "$1" "$dir" "$(debian_mirror)" >"$ROOTS/$1.log" 2>&1 ||
            { tail -n 20 "$ROOTS/$1.log" >&2; die "debootstrap $1: failed; see above"; }
        # Copies this machine's settings for archives: proxies, timeouts, certificates.
        apt-config dump | grep -E '^Acquire::(http|https|Retries|Check|AllowInsecure)' >"$dir/etc/apt/apt.conf.d/90host" || :
        cp /usr/local/share/ca-certificates/*.crt "$dir/usr/local/share/ca-certificates/" 2>/dev/null || :
        cp /etc/ssl/certs/ca-certificates.crt "$dir/etc/ssl/certs/"
        { echo "deb $(debian_mirror) $1 main"
          [ "$1" = sid ] || printf 'deb %s %s main\n' "$(debian_mirror)" "$1-updates" "$(debian_mirror | sed 's|/debian/*$|/debian-security|')" "$1-security"
        } >"$dir/etc/apt/sources.list"
        touch "$dir/.complete"
    fi
    echo "$dir"
}

# mount_copy BASE DIR: mounts a fresh copy-on-write copy of the folder BASE at DIR/root, in the caller's mount namespace.
mount_copy() {
    mkdir -p "$2/upper" "$2/work" "$2/root"
    mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
}

# builder_root RELEASE ARCH: prints the folder of a system with the build dependencies of packages for ARCH, and creates it at
# the first call.
builder_root() {
    local base dir=$ROOTS/$1-builder-$2 native
    base=$(base_root "$1") || exit 1
    native=$(dpkg --print-architecture)
    if [ ! -e "$dir/.complete" ]; then
        say "creating a build system of $1 for $2" >&2
        rm -rf "$dir"
        cp -a --reflink=auto "$base" "$dir"
        rm "$dir/.complete"
        mkdir -p "$dir/build/cmxsafe"
        cp -a "$CMX_ROOT/debian" "$dir/build/cmxsafe/"
        in_root "$dir" bash -euc '
            export DEBIAN_FRONTEND=noninteractive
            [ '"$2"' = '"$native"' ] || dpkg --add-architecture '"$2"'
            apt-get update -q || { sleep 10; apt-get update -q; } # the archive may be in the middle of an update
            [ '"$2"' = '"$native"' ] && cross= || cross=crossbuild-essential-'"$2"'
            apt-get install -y -q --no-install-recommends build-essential python3 $cross
            cd /build/cmxsafe && apt-get build-dep -y -q --no-install-recommends -a '"$2"' -Pcross,nocheck ./' </dev/null >"$ROOTS/$1-builder-$2.log" 2>&1 ||
            { tail -n 20 "$ROOTS/$1-builder-$2.log" >&2; die "creating the build system failed; see above"; }
        rm -rf "$dir/build"
        touch "$dir/.complete"
    fi
    echo "$dir"
}

# in_root DIR COMMAND...: runs COMMAND with DIR as its root, in mount, process, IPC, host name and network namespaces of its
# own. The root is changed by pivot_root, because user namespaces cannot be created after a plain chroot. The network is
# this machine's, through slirp4netns; the loopback is the namespace's own.
in_root() {
    local dir=$1 pid status
    shift
    # With setpriv, the kernel ends unshare and slirp4netns when this shell ends, even if the shell is killed.
    setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --ipc --uts --net \
        bash -c "$(declare -f enter_root); enter_root \"\$@\"" - "$dir" "$@" &
    local unshared=$!
    # The child of unshare is process 1 of the new process namespace.
    until pid=$(pgrep -P "$unshared") || ! kill -0 "$unshared" 2>/dev/null; do sleep 0.05; done
    setpriv --pdeathsig KILL slirp4netns --configure --mtu=65520 --disable-host-loopback "$pid" tap0 >/dev/null 2>&1 &
    local network=$!
    wait "$unshared"
    status=$?
    kill "$network" 2>/dev/null
    wait "$network" 2>/dev/null
    return $status
}

# enter_root DIR COMMAND...: does the part of in_root that must run inside the namespaces.
enter_root() {
    set -e
    local dir=$1 node kept
    shift
    mount --bind "$dir" "$dir"
    cd "$dir"
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mkdir -p sys/fs/cgroup && mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs dev
    for node in null zero full random urandom tty net/tun fuse loop-control; do
        [ -e "/dev/$node" ] || continue
        mkdir -p "$(dirname "dev/$node")"
        touch "dev/$node"
        mount --bind "/dev/$node" "dev/$node"
    done
    ln -s /proc/self/fd dev/fd
    ln -s fd/0 dev/stdin && ln -s fd/1 dev/stdout && ln -s fd/2 dev/stderr
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    mount -t tmpfs -o mode=755 tmpfs run
    rm -f etc/resolv.conf
    echo "nameserver 10.0.2.3" >etc/resolv.conf
    printf '127.0.0.1 localhost\n::1 localhost\n' >etc/hosts
    hostname cmxsafe-root
    mkdir -p .old
    pivot_root . .old
    umount -l /.old
    rmdir /.old
    cd /
    ip link set lo up 2>/dev/null || :
    for _ in $(seq 1200); do
        grep -q tap0 /proc/net/route && break
        sleep 0.05
    done
    grep -q tap0 /proc/net/route || { echo "slirp4netns brought no network" >&2; exit 1; }
    mapfile -t kept < <(env | grep -E '^(PIP_(CERT|INDEX_URL|DEFAULT_TIMEOUT)|(http|https|no)_proxy)=') # this machine's settings for PyPI
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb "${kept[@]}" "$@"
}
