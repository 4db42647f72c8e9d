#!/usr/bin/env bash
# A build without PostgreSQL (-DCMX_POSTGRESQL=OFF): no program needs libpq, a gateway with its own registry works, and
# commands that need PostgreSQL report that the build lacks it and change nothing.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
command -v cmake >/dev/null || skip "no cmake"
cmake -S "$ROOT" -B "$TMP/build" -DCMX_POSTGRESQL=OFF -DCMX_WERROR=ON >"$TMP/cmake.out" 2>&1 || { tail "$TMP/cmake.out"; fail "cmake"; }
cmake --build "$TMP/build" --target cmxsafe cmxsafe-authkeys -j2 >"$TMP/make.out" 2>&1 || { grep -E 'error|warning' "$TMP/make.out"; fail "cmxsafe does not build"; }
BIN=$TMP/build/bin
prints_no libpq ldd "$BIN/cmxsafe" || fail "cmxsafe needs libpq"
export CMXSAFE_GATEWAY=$TMP/gateway
says_so() {
    ! "$BIN/cmxsafe" gateway "$@" 2>"$TMP/err" || fail "$1 succeeds without PostgreSQL"
    grep -q "this cmxsafe was built without PostgreSQL; install libpq-dev, and build it again" "$TMP/err" || fail "$1 does not say so: $(cat "$TMP/err")"
}
says_so init --user --listen "127.0.0.1:$(free_port)" --host 127.0.0.1 --registry postgresql://cmxsafe@127.0.0.1/x
[ ! -e "$TMP/gateway/registry.db" ] || fail "a failed init leaves a registry"
"$BIN/cmxsafe" gateway init --user --listen "127.0.0.1:$(free_port)" --host 127.0.0.1 >"$TMP/init.out" || fail "init"
key a
"$BIN/cmxsafe" gateway enroll cam-1 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
says_so migrate postgresql://cmxsafe@127.0.0.1/x
"$BIN/cmxsafe" gateway show cam-1 --json | json_is '.device.name == "cam-1"' || fail "the registry is lost"
ok "without PostgreSQL: builds, works, and says what is missing"
