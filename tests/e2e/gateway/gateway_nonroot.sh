#!/usr/bin/env bash
# Runs a gateway without root, as an ordinary user with a range of subordinate IDs. The scenario has its own account
# files.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces
[ "$(id -u)" = 0 ] || skip "the other scenarios run without root already"
command -v newuidmap >/dev/null || skip "newuidmap is not installed (package uidmap)"

# A user that exists only in this scenario's mount namespace.
export TMP ROOT BIN
chmod 755 "$TMP"
mkdir "$TMP/home" "$TMP/bin"
cp "$BIN/cmxsafe" "$BIN/cmxsafe-authkeys" "$TMP/bin/" # the build tree may be closed to other users
cp /etc/passwd "$TMP/passwd"; echo "cmxtest:x:54321:54321::$TMP/home:/bin/sh" >>"$TMP/passwd"
cp /etc/group "$TMP/group"; echo "cmxtest:x:54321:" >>"$TMP/group"
echo "cmxtest:2000000:65536" >"$TMP/subuid"
chown -R 54321:54321 "$TMP/home"
chmod 755 "$TMP/bin"
touch /etc/subuid /etc/subgid 2>/dev/null || skip "/etc can't be written"
cat >"$TMP/as_user.sh" <<'SCRIPT'
set -u
BIN=$TMP/bin TMPDIR=$TMP/home
. "$ROOT/tests/e2e/lib.sh"
. "$ROOT/tests/e2e/gateway_lib.sh"
BIN=$(dirname "$(dirname "$TMP")")/bin
[ "$(id -u)" = 54321 ] || fail "this is not an ordinary user"
start_gateway
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
gw grant "user:$(id -un)" cam-17:81 >/dev/null || fail "grant"
web one
client a -N -R "[$(address_of cam-17)]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 answers http://cam-17.cmx:81/ one || fail "no answer"
! "$BIN/cmxsafe" gateway exec --uid 1001 -- curl -s -m 5 http://cam-17.cmx:81/ >/dev/null || fail "another user reaches the device"
gw doctor || fail "the doctor reports an error"
gw revoke cam-17 >/dev/null
wait_for 20 gone cam-17 || fail "the revoked device is still connected"
stop_gateway
echo USER-DONE
SCRIPT
unshare --mount --propagation private bash -c '
    mount --bind "$TMP/passwd" /etc/passwd && mount --bind "$TMP/group" /etc/group &&
    mount --bind "$TMP/subuid" /etc/subuid && mount --bind "$TMP/subuid" /etc/subgid &&
    cd "$TMP/home" && exec setpriv --reuid 54321 --regid 54321 --clear-groups env HOME="$TMP/home" USER=cmxtest bash "$TMP/as_user.sh"' \
    >"$TMP/user.log" 2>&1
grep -q '^USER-DONE' "$TMP/user.log" || { cat "$TMP/user.log"; fail "the gateway does not work without root"; }
ok "a gateway without root"
