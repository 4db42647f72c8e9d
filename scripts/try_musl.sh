#!/usr/bin/env bash
# Builds cmxsafed alone against musl, the C library of Alpine and OpenWrt, in a fresh system and runs it there against OpenSSH:
# scripts/try_musl.sh [--short] [RELEASE]. RELEASE is a Debian release (default: this machine's). Builds the libraries for musl only
# once, from Debian's source packages. --short: builds without optional libraries, runs no unit tests. Needs root.
set -u
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/root_lib.sh"
short='' release=$(. /etc/os-release && echo "$VERSION_CODENAME")
for argument; do
    case $argument in
    --short) short=1 ;;
    -*) sed -n '2,4s/^# //p' "$0"; exit 2 ;;
    *) release=$argument ;;
    esac
done
[ "$(id -u)" = 0 ] || die "try_musl.sh: needs root, for namespaces and debootstrap; run it with sudo"
if [ -z "${CMX_IN_MOUNTS:-}" ]; then
    install_packages "${ROOT_TOOLS[@]}"
    CMX_IN_MOUNTS=1 exec unshare --mount --propagation private bash "$0" ${short:+--short} "$release"
fi
prefix=/usr/local/musl

# Builds the libraries in the order of their dependencies. Runs in the system $builder.
build_libraries() {
    set -euo pipefail
    export DEBIAN_FRONTEND=noninteractive
    local prefix=$1 source missing
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >/etc/apt/sources.list.d/source.list
    apt-get update -q
    apt-get install -y -q --no-install-recommends build-essential musl-tools cmake ninja-build pkg-config gperf bison flex curl python3 \
        openssh-server openssh-client
    mkdir -p "$prefix/include" /build
    # Makes the kernel's headers available; they do not depend on the C library.
    ln -s /usr/include/linux /usr/include/asm-generic /usr/include/mtd "/usr/include/$(gcc -print-multiarch)/asm" "$prefix/include/"
    echo "$prefix/lib" >"/etc/ld-musl-$(uname -m).path"
    export CC=musl-gcc CFLAGS="-O2 -g -isystem $prefix/include" LDFLAGS="-L$prefix/lib -Wl,-rpath-link,$prefix/lib"
    export PKG_CONFIG_LIBDIR=$prefix/lib/pkgconfig
    cd /build
    # get_sources NAME...: fetches the newest source of each package. Sets the array `missing` to the packages that
    # the archive lacks.
    get_sources() {
        local name version
        missing=()
        for name; do
            for version in $(apt-cache showsrc "$name" | sed -n 's/^Version: //p' | sort -ruV); do
                if apt-get source -q "$name=$version"; then continue 2; fi
            done
            missing+=("$name")
        done
    }
    get_sources openssl libssh libmicrohttpd libseccomp libmnl libnftnl nftables cmocka
    if [ ${#missing[@]} -gt 0 ]; then
        printf 'deb-src %s %s main\n' "$2" trixie "$2" sid >>/etc/apt/sources.list.d/source.list
        apt-get update -q
        get_sources "${missing[@]}"
    fi
    echo "NO SOURCE: ${missing[*]:-none}" # without nftables there is no isolation, and without cmocka there are no unit tests
    into() { cd /build/"$1"-*/; }
    cmake_install() {
        cmake -S . -B musl -G Ninja -DCMAKE_BUILD_TYPE=None "-DCMAKE_INSTALL_PREFIX=$prefix" -DCMAKE_INSTALL_LIBDIR=lib "-DCMAKE_FIND_ROOT_PATH=$prefix" \
            -DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY -DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY -DCMAKE_FIND_ROOT_PATH_MODE_PACKAGE=ONLY "$@"
        ninja -C musl install
    }
    configure_install() {
        ./configure --prefix="$prefix" --disable-static "$@"
        make -j2
        make install
    }
    (into openssl && ./Configure "linux-$(uname -m)" shared no-tests no-async "--prefix=$prefix" --libdir=lib && make -j2 build_libs && make install_dev)
    (into libssh && cmake_install -DWITH_EXAMPLES=OFF -DWITH_ZLIB=OFF -DWITH_GSSAPI=OFF -DUNIT_TESTING=OFF)
    ! compgen -G 'cmocka-*/' || (into cmocka && cmake_install -DWITH_EXAMPLES=OFF -DUNIT_TESTING=OFF)
    (into libmicrohttpd && configure_install --disable-https --disable-doc --disable-examples --disable-curl)
    (into libseccomp && configure_install)
    if compgen -G 'nftables-*/' && compgen -G 'libnftnl-*/' && compgen -G 'libmnl-*/'; then
        (into libmnl && configure_install)
        (into libnftnl && configure_install)
        (into nftables && configure_install --with-mini-gmp --without-cli --disable-man-doc --disable-debug)
    fi
    for source in /build/*/; do rm -rf "$source"; done
}

builder=$ROOTS/$release-musl
if [ ! -e "$builder/.complete" ]; then
    base=$(base_root "$release") || exit 1
    say "building musl's libraries in $release"
    rm -rf "$builder"
    cp -a --reflink=auto "$base" "$builder"
    rm "$builder/.complete"
    in_root "$builder" bash -c "$(declare -f build_libraries); build_libraries $prefix $(debian_mirror)" </dev/null >"$ROOTS/$release-musl.log" 2>&1 ||
        { tail -n 30 "$ROOTS/$release-musl.log"; die "building musl's libraries failed; see above"; }
    touch "$builder/.complete"
fi

dir=$(mktemp -d "$ROOTS/musl.XXXXXX")
trap 'umount -l "$dir/root"; rm -rf "$dir"' EXIT
mount_copy "$builder" "$dir" || die "try_musl.sh: cannot mount a copy of $release"
mkdir "$dir/root/src"
(cd "$CMX_ROOT" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp -a --parents -t "$dir/root/src") ||
    die "try_musl.sh: this is not a git clone"

# run_agent PREFIX SHORT: builds the agent with musl's compiler and runs scenarios with it. Runs in a copy of the system $builder.
run_agent() {
    set -euo pipefail
    local prefix=$1 short=$2 scenario scenarios=(agent_run)
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends jq socat netcat-openbsd xxd iproute2 iputils-ping procps nftables
    export CC=musl-gcc CFLAGS="-isystem $prefix/include" LDFLAGS="-L$prefix/lib -Wl,-rpath-link,$prefix/lib" PKG_CONFIG_LIBDIR=$prefix/lib/pkgconfig
    local options=(-DCMX_AGENT=ON -DCMX_WERROR=ON "-DCMAKE_FIND_ROOT_PATH=$prefix" -DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY)
    cd /src
    if [ -n "$short" ]; then
        options+=(-DCMX_TESTS=OFF -DCMX_WITH_HTTP=OFF -DCMX_WITH_SECCOMP=OFF -DCMX_WITH_NFTABLES=OFF -DCMX_WITH_TPM=OFF)
    else
        [ -e "$prefix/lib/pkgconfig/cmocka.pc" ] || options+=(-DCMX_TESTS=OFF)
        scenarios+=(agent_reload agent_gateways agent_memory_secrets)
    fi
    cmake -S . -B build -G Ninja "${options[@]}"
    ninja -C build
    file -b build/bin/cmxsafed 2>/dev/null || readelf -l build/bin/cmxsafed | grep interpreter
    readelf -l build/bin/cmxsafed | grep -q ld-musl
    ls -l build/bin/cmxsafed
    if [ -z "$short" ]; then
        [ ! -e "$prefix/lib/pkgconfig/cmocka.pc" ] || ctest --test-dir build -L unit --output-on-failure
    fi
    for scenario in "${scenarios[@]}"; do
        echo "scenario $scenario"
        CMX_BIN=/src/build/bin CMX_BUILD=/src/build bash tests/e2e/*/"$scenario.sh"
    done
}
log=$ROOTS/$release-musl-agent.log
if in_root "$dir/root" bash -c "$(declare -f run_agent); run_agent $prefix '$short'" </dev/null >"$log" 2>&1; then
    grep -E '^(ok|SKIPPED|scenario)|tests passed' "$log"
    say "$release: cmxsafed with musl: ok"
else
    tail -n 40 "$log"
    die "cmxsafed with musl failed; see above and $log"
fi
