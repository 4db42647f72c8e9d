#!/usr/bin/env bash
# Cross-builds the programs and the unit tests for another processor and runs the tests under qemu-user:
# scripts/try_arch.sh [--short] arm64|armhf [RELEASE]. RELEASE is a Debian release (default: this machine's). --short: runs only
# ten of the unit tests. Needs root. scripts/package.sh --arch cross-builds the packages.
set -u
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/root_lib.sh"
short='' arch='' release=$(. /etc/os-release && echo "$VERSION_CODENAME")
for argument; do
    case $argument in
    --short) short=1 ;;
    arm64) arch=arm64 triple=aarch64-linux-gnu emulator=qemu-aarch64 ;;
    armhf) arch=armhf triple=arm-linux-gnueabihf emulator=qemu-arm ;;
    -*) sed -n '2,4s/^# //p' "$0"; exit 2 ;;
    *) release=$argument ;;
    esac
done
[ -n "$arch" ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
[ "$(id -u)" = 0 ] || die "try_arch.sh: needs root, for namespaces and debootstrap; run it with sudo"
if [ -z "${CMX_IN_MOUNTS:-}" ]; then
    install_packages "${ROOT_TOOLS[@]}"
    CMX_IN_MOUNTS=1 exec unshare --mount --propagation private bash "$0" ${short:+--short} "$arch" "$release"
fi
builder=$(builder_root "$release" "$arch") || exit 1
dir=$(mktemp -d "$ROOTS/arch.XXXXXX")
trap 'umount -l "$dir/root" 2>/dev/null; rm -rf "$dir"' EXIT
# Leaves out tests that use the kernel's filters or /proc, because they would see the emulator's own system calls.
without='^test_(confine|agent_memory)$' only=.
[ -z "$short" ] || only='^test_(core|json|ip|config|proxy_config|ota_image|identity|attest_chain|port_conformance|read_ahead)$'
mount_copy "$builder" "$dir" || die "try_arch.sh: cannot mount a copy of $release"
mkdir "$dir/root/src"
(cd "$CMX_ROOT" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp -a --parents -t "$dir/root/src") ||
    die "try_arch.sh: this is not a git clone"
log=$ROOTS/$release-$arch-unit.log
in_root "$dir/root" bash -euc '
    arch=$1 triple=$2 emulator=$3 only=$4 without=$5
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -y -q --no-install-recommends "libcmocka-dev:$arch" qemu-user-static python3
    emulator=$(command -v "$emulator-static" || command -v "$emulator") # newer Debian releases have only the name without -static
    export PKG_CONFIG=$triple-pkg-config CFLAGS="-D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64"
    cd /src
    cmake -S . -B build -G Ninja -DCMAKE_SYSTEM_NAME=Linux "-DCMAKE_C_COMPILER=$triple-gcc" "-DCMAKE_CXX_COMPILER=$triple-g++" \
        "-DCMAKE_OBJDUMP=/usr/bin/$triple-objdump" "-DCMAKE_LIBRARY_ARCHITECTURE=$triple" "-DCMAKE_CROSSCOMPILING_EMULATOR=$emulator" -DCMX_WERROR=ON
    ninja -C build
    ctest --test-dir build -L unit -R "$only" -E "$without" --output-on-failure --timeout 1200' \
    - "$arch" "$triple" "$emulator" "$only" "$without" >"$log" 2>&1 </dev/null || { tail -n 60 "$log"; die "unit tests for $arch failed; see above and $log"; }
say "$release $arch: $(grep 'tests passed' "$log") ($(sed -nE 's/.*out of ([0-9]+)$/\1/p' "$log") unit tests under $emulator)"
