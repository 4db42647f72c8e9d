# lib.sh - shared by the scripts: messages, installing Debian packages by name, building. Source it.
umask 022 # other accounts, such as the gateway's, use files that the scripts create
CMX_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if { [ -t 1 ] || [ -n "${FORCE_COLOR:-}" ]; } && [ -z "${NO_COLOR:-}" ]; then
    c_bold=$'\e[1m' c_green=$'\e[32m' c_red=$'\e[31m' c_off=$'\e[0m'
else
    c_bold='' c_green='' c_red='' c_off=''
fi

say() { printf '%s%s%s\n' "$c_bold" "$*" "$c_off"; }
die() { printf 'cmxsafe: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "installing packages: needs root or sudo; run as root once"
    fi
}

# install_packages PACKAGE...: installs the named Debian packages that are missing. Does not use the network if none is
# missing. A package's services are not started.
install_packages() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    say "installing: ${missing[*]}"
    (apt_install "${missing[@]}") || exit 1
}

# apt_install PACKAGE...: installs the packages without starting their services. Call it in a subshell: its trap removes
# policy-rc.d even after Ctrl-C. If policy-rc.d stayed, no service of a package that is installed later would start.
apt_install() {
    policy=/usr/sbin/policy-rc.d made='' # not local: the trap needs them after the function has returned
    log=$(mktemp)
    trap '[ -z "$made" ] || as_root rm -f "$policy"; rm -f "$log"' EXIT
    trap 'exit 130' HUP INT TERM
    if [ ! -e "$policy" ]; then
        made=1
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >"$log" 2>&1 && return
    as_root apt-get update -q >>"$log" 2>&1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >>"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; die "installing packages: apt-get failed; see above"; }
}

# clang_runtime: prints the package with the sanitizer and fuzzer runtimes of the release's default clang.
clang_runtime() {
    local version
    apt-cache show clang >/dev/null 2>&1 || as_root apt-get update -q >/dev/null 2>&1
    version=$(apt-cache depends clang | sed -nE 's/.*Depends: clang-([0-9]+)$/\1/p' | head -n 1)
    printf 'libclang-rt-%s-dev\n' "${version:?apt knows no clang}"
}

BUILD_PACKAGES=(gcc g++ clang libbpf-dev cmake ninja-build pkg-config libssh-dev libssl-dev libmicrohttpd-dev libsqlite3-dev libpq-dev libcurl4-openssl-dev
    libseccomp-dev libnftables-dev liblwip-dev libcmocka-dev libjpeg62-turbo-dev libtss2-dev)
RUN_PACKAGES=(openssh-server openssh-client curl procps iproute2)
PACKAGE_PACKAGES=(build-essential debhelper lintian) # scripts/package.sh and its test need these

# build DIR [cmake options]: runs cmake for DIR if DIR is not configured or the given options have changed, then builds.
build() {
    local dir=$CMX_ROOT/$1
    shift
    if [ ! -f "$dir/build.ninja" ] || { [ $# -gt 0 ] && [ "$(cat "$dir/.options" 2>/dev/null)" != "$*" ]; }; then
        cmake -S "$CMX_ROOT" -B "$dir" -G Ninja "$@" >"$dir.log" 2>&1 || { cat "$dir.log" >&2; die "cmake failed; see above"; }
        rm -f "$dir.log"
        printf '%s' "$*" >"$dir/.options"
    fi
    cmake --build "$dir" >"$dir/build.log" 2>&1 || { tail -n 60 "$dir/build.log" >&2; die "build failed; see above"; }
}
