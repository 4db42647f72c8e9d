#!/usr/bin/env bash
# Builds the library archive that Arduino's IDE imports (Sketch > Include Library > Add .ZIP Library) and the Library Manager accepts:
# scripts/package_arduino.sh [OUTPUT-FOLDER] (default: build/packages). It contains the library's files that git
# tracks, including uncommitted changes. The same files give the same bytes.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT"
case ${1:-} in
-h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;;
-*) printf "cmxsafe: no option '%s'; see scripts/package_arduino.sh --help\n" "$1" >&2; exit 2 ;;
esac
out=${1:-build/packages}
mkdir -p "$out"
version=$(sed -nE 's/.*define CMX_VERSION "(.*)"/\1/p' src/cmxsafe/version.h)
# Makes a commit with a fixed date, because git archive gives files the time of the commit.
export TZ=UTC GIT_AUTHOR_DATE=2000-01-01T00:00:00Z GIT_COMMITTER_DATE=2000-01-01T00:00:00Z
export GIT_AUTHOR_NAME=cmxsafe GIT_AUTHOR_EMAIL=cmxsafe@localhost GIT_COMMITTER_NAME=cmxsafe GIT_COMMITTER_EMAIL=cmxsafe@localhost
tree=$(git stash create)
commit=$(git commit-tree -m cmxsafe "${tree:-HEAD}^{tree}")
git archive --format=zip --prefix="cmxsafe-$version/" -o "$out/cmxsafe-$version.zip" "$commit" \
    src examples/arduino library.properties keywords.txt README.md LICENSE CHANGELOG.md
echo "$out/cmxsafe-$version.zip"
