#!/usr/bin/env bash
# Runs the README's demo and test commands as a new user would, on a fresh system of a Debian release: scripts/try_release.sh RELEASE
# [demo|test [ctest arguments]]. RELEASE is a name that debootstrap knows, such as trixie. Needs root. Tests the last commit of this
# tree. The logs are build/roots/RELEASE-demo.log and RELEASE-test.log.
set -u
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/root_lib.sh"
case ${1:-} in '' | -*) sed -n '2,4s/^# //p' "$0"; exit 2 ;; esac
[ "$(id -u)" = 0 ] || die "try_release.sh: needs root, for namespaces and debootstrap; run it with sudo"
release=$1 what=${2:-all}
shift $(($# < 2 ? $# : 2))
if [ -z "${CMX_IN_MOUNTS:-}" ]; then
    install_packages "${ROOT_TOOLS[@]}"
    CMX_IN_MOUNTS=1 exec unshare --mount --propagation private bash "$0" "$release" "$what" "$@"
fi
base=$(base_root "$release") || exit 1
dir=$(mktemp -d "$ROOTS/$release.XXXXXX")
trap 'umount -l "$dir/root"; rm -rf "$dir"' EXIT
mount_copy "$base" "$dir" || die "try_release.sh: cannot mount a copy of $release"
root=$dir/root

in_root "$root" sh -c 'apt-get update -q && apt-get install -y -q --no-install-recommends git' >"$ROOTS/$release-git.log" 2>&1 ||
    { tail -n 20 "$ROOTS/$release-git.log"; die "installing git in $release failed; see above"; }
mkdir "$root/src"
git -C "$CMX_ROOT" bundle create "$root/src/cmxsafe.bundle" HEAD >/dev/null 2>&1 || die "try_release.sh: this is not a git clone"

status=0
# run NAME COMMAND: runs a command of the README in a clone of the tree.
run() {
    local start=$SECONDS log=$ROOTS/$release-$1.log
    in_root "$root" bash -c "cd /root && { [ -d cmxsafe ] || git clone -q /src/cmxsafe.bundle cmxsafe; } && cd cmxsafe && $2" </dev/null >"$log" 2>&1
    local rc=$?
    printf '%s: %s: %s after %d s (%s)\n' "$release" "$2" "$([ $rc = 0 ] && echo ok || echo "failed with $rc")" $((SECONDS - start)) "$(tail -n 1 "$log")"
    [ $rc = 0 ] || status=1
}
[ "$what" = test ] || run demo 'scripts/demo.sh --once'
[ "$what" = demo ] || run test "scripts/test.sh${*:+$(printf ' %q' "$@")}"
exit $status
