#!/usr/bin/env bash
# cmake --install with a prefix: the installed programs run.
. "$(dirname "$0")/../lib.sh"
prefix=$TMP/prefix

cmake --install "${CMX_BUILD:-$ROOT/build}" --prefix "$prefix" >"$TMP/install.log" || { cat "$TMP/install.log"; fail "cmake --install"; }
for program in bin/cmxsafe bin/cmxsafe-board sbin/cmxsafed; do
    "$prefix/$program" --version >/dev/null || fail "$program does not run"
done
[ -x "$prefix/lib/cmxsafe/cmxsafe-authkeys" ] || fail "no helper for sshd"
[ -f "$prefix/share/man/man5/cmxsafed.conf.5" ] || fail "no manual page"
[ -f "$prefix/share/doc/cmxsafe/CONFIG.md" ] || fail "no documentation"
ok "programs, helper, manual pages and documentation"
