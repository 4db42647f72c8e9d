#!/usr/bin/env bash
# While a script installs packages, policy-rc.d keeps their services from starting. The script also removes this file if apt-get fails
# or the user presses Ctrl-C, but keeps a file that it did not write.
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null || skip "needs root and mount namespaces"

mkdir "$TMP/bin" "$TMP/sbin"
printf '#!/bin/sh\n[ -z "$HANG" ] || sleep 300\n[ "$1" = update ] || exit "$STATUS"\n' >"$TMP/bin/apt-get"
chmod +x "$TMP/bin/apt-get"
# install: runs install_packages with this apt-get, in its own process group, with $TMP/sbin as /usr/sbin. A shell ignores Ctrl-C for
# background processes, so env switches it on again.
install() {
    exec env --default-signal=INT HANG="${HANG:-}" STATUS="$STATUS" PATH="$TMP/bin:$PATH" setsid unshare -m bash -c '
        mount --bind "$0/sbin" /usr/sbin && . "$1/scripts/lib.sh" && install_packages no-such-package && echo continued' "$TMP" "$ROOT"
}
policy() { [ -e "$TMP/sbin/policy-rc.d" ]; }

(STATUS=0 install) >"$TMP/out" 2>&1 || { cat "$TMP/out"; fail "install"; }
grep -q continued "$TMP/out" && ! policy || fail "a package is installed"
(STATUS=1 install) >"$TMP/out" 2>&1 && fail "apt-get fails, but the script continues"
grep -q "apt-get failed; see above" "$TMP/out" && lacks continued "$TMP/out" && ! policy || { cat "$TMP/out"; fail "apt-get fails"; }
(HANG=1 STATUS=0 install) >"$TMP/out" 2>&1 &
script=$!
PIDS+=("$script")
wait_for 20 policy || { cat "$TMP/out"; fail "no policy-rc.d"; }
wait_for 20 pgrep -g "$script" sleep || fail "apt-get does not run"
kill -INT -- "-$script"
wait "$script" && fail "Ctrl-C: the script continues"
! policy || fail "policy-rc.d is left after Ctrl-C, so packages would start no services"
echo own >"$TMP/sbin/policy-rc.d"
(STATUS=0 install) >"$TMP/out" 2>&1 && equal "$(cat "$TMP/sbin/policy-rc.d")" own || fail "a policy-rc.d of the machine's owner is changed"
ok "policy-rc.d is removed after success, failure and Ctrl-C"
