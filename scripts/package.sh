#!/usr/bin/env bash
# Builds the Debian packages: scripts/package.sh [OUTPUT-FOLDER] (default: build/packages). A folder packaging/deb/NAME is a
# package: `control` with @VERSION@ @ARCH@ @DEPENDS@ @RECOMMENDS@ @SIZE@, `files` (mode source destination), `loads` (libraries
# that are loaded when needed) and maintainer scripts. What lies below etc/ is a conffile. The same sources give the same bytes.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT"
out=${1:-build/packages}
install_packages "${BUILD_PACKAGES[@]}" dpkg-dev
mkdir -p build
exec 9>build/.package.lock # two at once would build in one tree
flock 9
build build
exec 9>&-

version=$(sed -nE 's/.*define CMX_VERSION "(.*)"/\1/p' src/cmxsafe/version.h)
arch=$(dpkg --print-architecture)
# Times in the packages are the last commit's, or the version file's where there is no git.
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y src/cmxsafe/version.h)}"
export SOURCE_DATE_EPOCH
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$out"
umask 022

# put ROOT MODE SOURCE DESTINATION: a man page is compressed, a program stripped of its debug sections.
put() {
    local dest=$1/$4
    install -D -m "$2" "$3" "$dest"
    case $4 in usr/share/man/*) gzip -9n "$dest" ;; esac
    if file_is_elf "$dest"; then strip --strip-unneeded --remove-section=.comment --remove-section=.note "$dest"; fi
}

file_is_elf() { [ -f "$1" ] && [ "$(head -c 4 "$1" | od -An -tx1 | tr -d ' ')" = 7f454c46 ]; }

# Libraries that the package's programs are linked with, as package relations.
depends_of() {
    local root=$1 work=$stage/shlibs programs=() p
    while IFS= read -r p; do
        if file_is_elf "$p"; then programs+=("$p"); fi
    done < <(find "$root" -type f | LC_ALL=C sort)
    [ ${#programs[@]} -gt 0 ] || return 0
    mkdir -p "$work/debian"
    printf 'Source: cmxsafe\n\nPackage: x\nArchitecture: any\n' >"$work/debian/control"
    (cd "$work" && dpkg-shlibdeps -O --ignore-missing-info "${programs[@]}" 2>/dev/null) | sed 's/^shlibs:Depends=//'
}

# Libraries that they load when they need them (port/linux/library.h), as package relations: loads_of KIND FILE, a file of
# lines "depends|recommends library".
loads_of() {
    local libraries
    [ -f "$2" ] || return 0
    libraries=$(awk -v kind="$1" '$1 == kind { printf "-l%s ", $2 }' "$2")
    [ -n "$libraries" ] || return 0
    mkdir -p "$stage/loads"
    # shellcheck disable=SC2086
    cc -shared -nostdlib -o "$stage/loads/libraries.so" -Wl,--no-as-needed $libraries
    depends_of "$stage/loads"
}

document() { # document ROOT NAME: copyright and changelog
    local doc=$1/usr/share/doc/$2
    mkdir -p "$doc"
    awk 'FNR == NR { text = text (/^$/ ? " ." : " " $0) "\n"; next } /@LICENSE@/ { printf "%s", text; next } { print }' \
        LICENSE packaging/copyright >"$doc/copyright" 2>/dev/null || grep -v @LICENSE@ packaging/copyright >"$doc/copyright"
    printf 'cmxsafe (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md in the sources.\n\n -- cmxsafe developers <cmxsafe@localhost.localdomain>  %s\n' \
        "$version" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"
    [ ! -f packaging/deb/"$2"/lintian-overrides ] ||
        install -D -m 0644 packaging/deb/"$2"/lintian-overrides "$1/usr/share/lintian/overrides/$2"
}

package() {
    local name=$1 root=$stage/$1 mode source dest script depends more recommends
    while read -r mode source dest; do
        case $mode in '' | '#'*) continue ;; esac
        put "$root" "$mode" "${source/@BUILD@/build}" "$dest"
    done <"packaging/deb/$name/files"
    document "$root" "$name"
    mkdir -p "$root/DEBIAN"
    [ ! -d "$root/etc" ] || (cd "$root" && find etc -type f -printf '/%p\n' | LC_ALL=C sort) >"$root/DEBIAN/conffiles"
    for script in preinst postinst prerm postrm; do
        [ ! -f "packaging/deb/$name/$script" ] || install -m 0755 "packaging/deb/$name/$script" "$root/DEBIAN/$script"
    done
    depends=$(depends_of "$root")
    more=$(loads_of depends "packaging/deb/$name/loads")
    recommends=$(loads_of recommends "packaging/deb/$name/loads")
    sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$(du -sk --apparent-size "$root" | cut -f1)/" \
        -e "s|@DEPENDS@|$depends${more:+, $more}|; s|@RECOMMENDS@|$recommends|" "packaging/deb/$name/control" >"$root/DEBIAN/control"
    (cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
    find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz --build "$root" "$out/${name}_${version}_$arch.deb" >/dev/null
    say "$out/${name}_${version}_$arch.deb"
}

for folder in packaging/deb/*/; do
    package "$(basename "$folder")"
done
