#!/usr/bin/env bash
# Builds the Debian packages and their bill of materials (SPDX): scripts/package.sh [--arch ARCH [--release RELEASE]] [OUTPUT-FOLDER]
# (default: build/packages, without the packages of earlier builds). With --arch arm64 or armhf it cross-builds them in a fresh system of
# RELEASE (default: this machine's), which needs root (default folder: build/packages-ARCH). The same commit gives the same bytes in any folder.
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/root_lib.sh"
cd "$CMX_ROOT"
arch='' release='' out=''
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;;
    --arch) arch=${2:?--arch needs a value}; shift ;;
    --release) release=${2:?--release needs a value}; shift ;;
    -*) printf "cmxsafe: no option '%s'; see scripts/package.sh --help\n" "$1" >&2; exit 2 ;;
    *) out=$1 ;;
    esac
    shift
done
# The commands in the documents install build/packages/NAME_*.deb, so this folder has only one package with each name.
own=build/packages${arch:+-$arch}
mkdir -p build "${out:=$own}"
out=$(cd "$out" && pwd)

version=$(sed -nE 's/.*define CMX_VERSION "(.*)"/\1/p' src/cmxsafe/version.h)
# Files in the packages get the time of the last commit or, outside a clone, that of the version file.
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y src/cmxsafe/version.h)}"
export SOURCE_DATE_EPOCH
work=$(mktemp -d "$CMX_ROOT/build/package.XXXXXX")
trap 'umount -l "$work/root" 2>/dev/null || :; rm -rf "$work"' EXIT

# copy_source DIR: copies the files that git tracks to DIR; outside a clone, all files except build*. Writes the version
# and the time into DIR/debian/changelog, and gives all files in DIR this time.
copy_source() {
    mkdir -p "$1"
    { git ls-files -z 2>/dev/null || find . -path ./build\* -prune -o -type f -printf '%P\0'; } | xargs -0 cp -a --parents -t "$1"
    printf 'cmxsafe (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md in the sources.\n\n -- cmxsafe developers <cmxsafe@localhost.localdomain>  %s\n' \
        "$version" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" >"$1/debian/changelog"
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# build_in DIR [ARCH]: prints the command that builds the packages in DIR, with an environment that does not depend on the caller's.
build_in() {
    echo "cd $1 && umask 022 && env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/nonexistent LC_ALL=C.UTF-8 DEB_BUILD_OPTIONS=noautodbgsym" \
        "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" \
        "sh -c 'dpkg-buildpackage -b -us -uc ${2:+-a$2 -Pcross,nocheck} && python3 scripts/sbom.py ../*.deb'"
}

if [ -z "$arch" ] || { [ "$arch" = "$(dpkg --print-architecture)" ] && [ -z "$release" ]; }; then
    install_packages "${BUILD_PACKAGES[@]}" "${PACKAGE_PACKAGES[@]}"
    source=$work/cmxsafe-$version
    copy_source "$source"
    # Keep the packages of the last build, and use them again if the source is the same.
    key=$(cd "$source" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
    exec 9>build/.package.lock
    flock 9
    if [ ! -e "build/packages-kept/$key" ]; then
        bash -c "$(build_in "$source")" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; die "building the packages failed; see above"; }
        rm -rf build/packages-kept
        mkdir build/packages-kept
        cp "$work"/*.deb "$work"/*.spdx.json build/packages-kept/
        touch "build/packages-kept/$key"
    fi
    cp build/packages-kept/*.deb build/packages-kept/*.spdx.json "$work/"
    exec 9>&-
else
    case $arch in amd64 | arm64 | armhf) ;; *) die "--arch $arch: unknown; use amd64, arm64 or armhf" ;; esac
    [ "$(id -u)" = 0 ] || die "--arch: needs root, for a build system in a folder; run it with sudo"
    install_packages "${ROOT_TOOLS[@]}"
    : "${release:=$(. /etc/os-release && echo "$VERSION_CODENAME")}"
    if [ -z "${CMX_IN_MOUNTS:-}" ]; then
        rm -rf "$work"
        CMX_IN_MOUNTS=1 exec unshare --mount --propagation private bash "$0" --arch "$arch" --release "$release" "$out"
    fi
    builder=$(builder_root "$release" "$arch") || exit 1
    mount_copy "$builder" "$work"
    copy_source "$work/root/build/cmxsafe-$version"
    in_root "$work/root" bash -c "$(build_in "/build/cmxsafe-$version" "$arch")" >"$work/log" 2>&1 </dev/null ||
        { tail -n 40 "$work/log" >&2; die "building the packages for $arch failed; see above"; }
    mv "$work"/root/build/*.deb "$work"/root/build/*.spdx.json "$work/"
fi
[ "$out" != "$PWD/$own" ] || rm -f "$out"/*.deb "$out"/*.spdx.json
for file in "$work"/*.deb "$work"/*.spdx.json; do
    cp "$file" "$out/"
    say "$out/$(basename "$file")"
done
