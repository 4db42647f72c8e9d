#!/usr/bin/env bash
# Memory use returns to its initial value after 1,000 connections. Each of the first SWEEP allocations of a session (25
# by default) fails once, and the contexts recover each time.
. "$(dirname "$0")/../lib.sh"

S=$(free_port) R=$(free_port) D=$(free_port)
client() { python3 "$ROOT/tests/e2e/client.py" "$@"; }
live() { ask mem | sed -nE 's/.*live=([0-9]+).*/\1/p'; }
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
start_proxy -- "echo,$S,$R,max=64" "back,$D,$S,direct=127.0.0.1,max=64"
up
client "$R" many 20; client "$D" many 20 # lets arrays grow to their final size
wait_for 20 status_is echo open 0 && wait_for 20 status_is back open 0 || fail "connections stay open"
sleep 1; BEFORE=$(live)
client "$R" short 500 || fail "one of 500 connections fails"; client "$D" short 500 || fail "one of 500 direct connections fails"
idle() { [ "$(live)" = "$BEFORE" ]; }
wait_for 20 idle || fail "$BEFORE bytes live before 1,000 connections, $(live) after"
ok "$BEFORE bytes live before 1,000 connections and after"
quit_proxy

start_proxy -- "echo,$S,$R,max=8" "back,$D,$S,direct=127.0.0.1,session=echo"
up
for n in $(seq "${SWEEP:-25}"); do
    ask fail "$n" >/dev/null
    for p in $(sshd_children); do kill -KILL "$p"; done
    for _ in 1 2 3; do client "$R" many 2 2>/dev/null; client "$D" short 1 2>/dev/null; done
    ask fail 0 >/dev/null
    wait_for 30 client "$R" sink 1000 || fail "allocation $n failed once and the context did not recover: $(ask status)"
    wait_for 30 client "$D" sink 1000 || fail "allocation $n failed once and the direct context did not recover: $(ask status)"
done
quit_proxy
ok "each of the first ${SWEEP:-25} allocations of a session failed once; the contexts recovered"

PLAIN=$ROOT/build/bin
if [ -x "$PLAIN/proxy_run" ] && command -v valgrind >/dev/null; then
    # Only definite leaks count: valgrind reports glibc's record of a thread that is just ending as possibly lost.
    BIN=$TMP; printf '#!/bin/sh\nexec valgrind -q --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=9 %s/proxy_run "$@"\n' "$PLAIN" >"$TMP/proxy_run"; chmod +x "$TMP/proxy_run"
    wait_for 10 eval "! listening $R" || fail "the listener is still open"
    start_proxy login=60 -- "echo,$S,$R" "back,$D,$S,direct=127.0.0.1"
    up
    client "$R" sink 300000 && client "$D" source 300000 && client "$R" many 4 || fail "a transfer fails under valgrind"
    quit_proxy
    ok "valgrind is silent"
else
    skip_part "valgrind: not installed, or build/ has no proxy_run"
fi
