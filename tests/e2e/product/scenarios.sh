#!/usr/bin/env bash
# A scenario that ends also ends its own processes, including those that a function in the background started. It ends no other
# process, even if the kernel has given it the id of one of the scenario's former processes.
[ "$(id -u)" = 0 ] && unshare --pid --fork --mount-proc true 2>/dev/null || { echo "SKIPPED: needs root for a process namespace" >&2; exit 77; }
[ -n "${CMX_INNER:-}" ] || CMX_INNER=1 exec unshare --pid --fork --mount-proc bash "$0"
. "$(dirname "$0")/../lib.sh"

cat >"$TMP/scenario.sh" <<SH
. "$ROOT/tests/e2e/lib.sh"
sleep 1000 & PIDS+=("\$!")
former=\$!
stop "\$former"
background() { sleep 1000; }
background & PIDS+=("\$!")
wait_for 10 pgrep -P "\$!" || fail "no process in the background"
echo "\$former \$! \$(pgrep -P "\$!")" >"$TMP/ids.new" && mv "$TMP/ids.new" "$TMP/ids"
wait_for 60 test -e "$TMP/go" || fail "the scenario waits too long"
SH
bash "$TMP/scenario.sh" >"$TMP/scenario.log" 2>&1 & SCENARIO=$!; PIDS+=("$SCENARIO")
wait_for 20 test -e "$TMP/ids" || fail "the scenario does not begin"
read -r FORMER OWN CHILD <"$TMP/ids"
# reuse: starts a process with the id FORMER. Fails if another process started at the same time.
reuse() {
    echo $((FORMER - 1)) >/proc/sys/kernel/ns_last_pid
    sleep 1000 &
    OTHER=$!
    [ "$OTHER" = "$FORMER" ] || { stop "$OTHER"; return 1; }
}
wait_for 20 reuse || fail "the id $FORMER can't be used again"
touch "$TMP/go"
wait "$SCENARIO" || fail "the scenario: $(cat "$TMP/scenario.log")"
kill -0 "$OTHER" 2>/dev/null || fail "a scenario ends another's process"
for pid in $OWN $CHILD; do ! kill -0 "$pid" 2>/dev/null || fail "a scenario leaves its process: $(ps -o pid,args)"; done
stop "$OTHER"
ok "a scenario ends its own processes and no others"
