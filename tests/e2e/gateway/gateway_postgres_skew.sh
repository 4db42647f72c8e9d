#!/usr/bin/env bash
# Three gateways share one registry. One gateway's clock is an hour ahead, another's is an hour behind. A change on one
# gateway takes effect on all. Logins and sessions continue. A grant that has ended does not become
# valid again on any gateway.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../postgres_lib.sh"
need_namespaces
need_postgres
command -v cc >/dev/null || skip "no C compiler"

# skew.so adds SKEW seconds to the wall clock of a program that loads it.
cat >"$TMP/skew.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long skew(void)
{
    const char *text = getenv("SKEW");
    return text ? atol(text) : 0;
}
int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        t->tv_sec += skew();
    return rc;
}
time_t time(time_t *out)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}
int gettimeofday(struct timeval *tv, void *zone)
{
    struct timespec t = {0};
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return 0;
}
C
cc -shared -fPIC -o "$TMP/skew.so" "$TMP/skew.c" || fail "skew.c"
chmod 755 "$TMP/skew.so"
# as_node NODE COMMAND...: runs COMMAND with the wall clock of NODE. sshd's helper on NODE uses the same clock.
declare -A SKEWS=([one]=0 [fast]=3600 [slow]=-3600)
for n in one fast slow; do
    mkdir "$TMP/bin-$n" && cp "$BIN/cmxsafe" "$TMP/bin-$n/" || fail "cp"
    printf '#!/bin/sh\nLD_PRELOAD=%s SKEW=%s ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 exec %s "$@"\n' "$TMP/skew.so" "${SKEWS[$n]}" "$BIN/cmxsafe-authkeys" >"$TMP/bin-$n/cmxsafe-authkeys"
    chmod 755 "$TMP/bin-$n/cmxsafe-authkeys"
done
as_node() { local n=$1; shift; BIN=$TMP/bin-$n LD_PRELOAD=$TMP/skew.so SKEW=${SKEWS[$n]} ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 "$@"; }
eval "own_$(declare -f on)"
on() { as_node "$1" own_on "$@"; }
[ "$(as_node fast date +%s)" -ge "$(($(date +%s) + 3500))" ] && as_node slow "$BIN/cmxsafe" --version >/dev/null || skip "programs can't be given another clock here"

pg_create db
pg_start db
URL=$(pg_url db)
for n in one fast slow; do as_node $n start_node $n --registry "$URL"; done
followed() { gw metrics | grep -q "^cmxsafe_gateway_registry_followed 1"; }
for n in one fast slow; do wait_for 20 on $n followed || fail "$n does not follow"; done
key a; key b; key p
on one gw enroll cam-1 --key "$TMP/a.pub" --ports 81 >/dev/null && on fast gw enroll cam-2 --key "$TMP/b.pub" --ports 81 >/dev/null &&
    on slow gw platform vms --key "$TMP/p.pub" >/dev/null || fail "enroll"
has() { on "$1" gw show "$2" --json >/dev/null 2>&1; }
for n in one fast slow; do for d in cam-1 cam-2; do wait_for 20 has $n $d || fail "$n does not know $d"; done; done
for n in fast slow; do
    (GW_PORT=$(eval "echo \$GW_PORT_$n"); client a -N) & PIDS+=("$!")
    (GW_PORT=$(eval "echo \$GW_PORT_$n"); client b -N) & PIDS+=("$!")
    for d in cam-1 cam-2; do wait_for 30 on $n connected $d || fail "$d does not connect to $n"; done
done
ok "devices log in at gateways with other clocks"

# A grant without an end reaches every gateway. A grant with an end is removed from every gateway when it ends.
grants_are() { on "$1" gw grant --json | json_is "map(select(.device == \"cam-1\")) | length == $2" >/dev/null; }
on one gw grant platform:vms cam-1:81 >/dev/null || fail "grant"
for n in one fast slow; do wait_for 20 grants_are $n 1 || fail "$n does not know a grant without an end"; done
on one gw grant --remove platform:vms cam-1:81 >/dev/null || fail "grant --remove"
for n in one fast slow; do wait_for 20 grants_are $n 0 || fail "$n keeps a removed grant"; done
begin=$SECONDS
on one gw grant platform:vms cam-1:81 --for 6s --why test >/dev/null || fail "grant --for"
for n in one fast slow; do wait_for 20 grants_are $n 0 || fail "$n keeps a grant that ended"; done
[ $((SECONDS - begin)) -lt 60 ] || fail "a grant for 6 s lasted longer at a gateway with another clock"
for n in one fast slow; do grants_are $n 0 || fail "a grant that ended is back at $n"; done
ok "a grant ends at all gateways when it ends at one"

on one gw revoke cam-1 >/dev/null || fail "revoke"
for n in fast slow; do wait_for 20 on $n gone cam-1 || fail "a revoked device's session stays at $n"; done
for n in fast slow; do on $n connected cam-2 || fail "another session ended at $n"; done
for n in fast slow; do
    GW_PORT=$(eval "echo \$GW_PORT_$n")
    refused_login a -N || fail "a revoked device logs in at $n"
done
ok "a revocation takes effect at gateways with other clocks"
for n in one fast slow; do on $n gw metrics | grep -q "^cmxsafe_gateway_registry_followed 1" || fail "$n no longer follows"; done
stop "$GW_PID_one"; stop "$GW_PID_fast"; stop "$GW_PID_slow"
for n in one fast slow; do no_sanitizer_report "$TMP/$n.log" || fail "a sanitizer complains"; done
ok "none becomes stale because of its clock"
