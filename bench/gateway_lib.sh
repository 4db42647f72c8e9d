# gateway_lib.sh - for measurements of a system gateway: light clients, and the memory and processor time of processes.
# Source it after tests/e2e/gateway_system_lib.sh, which creates the measurement's own namespaces and control group.

# enrol_fleet N: sets up N devices with keys; FLEET_FOLDER is the folder of keys that ssh_sessions reads.
FLEET_FOLDER=$TMP/fleet
enrol_fleet() {
    fleet_python
    cc -O2 -std=gnu11 -D_GNU_SOURCE -I"$ROOT/src" -o "$TMP/ssh_sessions" "$ROOT/bench/ssh_sessions.c" "$ROOT/src/cmxsafe/core/backoff.c" -lssh -lpthread || fail "bench/ssh_sessions.c"
    "$FLEET_PYTHON" "$ROOT/tests/tools/gateway_fleet.py" keys "$1" "$TMP/fleet.csv" "$FLEET_FOLDER" || fail "keys"
    gw import "$TMP/fleet.csv" >/dev/null || fail "import"
    gw list --json | jq -r '.[] | select(.group == "fleet") | .name + " " + .address' >"$FLEET_FOLDER/addresses"
}

# start_sessions PORT FIRST COUNT: skips FIRST devices of the fleet, logs in the next COUNT, and keeps their sessions. Sets
# LOGINS to "DONE FAILED SECONDS P50_MS P99_MS MAX_MS CPU_MS".
start_sessions() {
    local answer
    coproc SESSIONS { exec "$TMP/ssh_sessions" "$1" cmxsafe-gw "$FLEET_FOLDER" "$2" "$3" 0 1 2>>"$TMP/sessions.log"; }
    PIDS+=("$SESSIONS_PID")
    CLIENT_PID=$SESSIONS_PID
    exec {SESSIONS_OUT}<&"${SESSIONS[0]}" {SESSIONS_IN}>&"${SESSIONS[1]}" {SESSIONS[1]}>&-
    IFS= read -r -t 900 -u "$SESSIONS_OUT" answer || fail "the sessions do not come up"
    LOGINS=${answer#logins }
}
# mark_sessions: sets a mark for return_sessions. Sets LOST as end_sessions does.
mark_sessions() {
    echo mark >&"$SESSIONS_IN"
    IFS= read -r -t 30 -u "$SESSIONS_OUT" LOST || fail "ssh_sessions does not answer"
    LOST=${LOST#marked }
}
# return_sessions SECONDS: waits until each session has been closed after the mark and has logged in again. Sets RETURN to
# "N REFUSED TIMEOUTS SECONDS P50_MS P99_MS MAX_MS".
return_sessions() {
    echo "back $1" >&"$SESSIONS_IN"
    IFS= read -r -t $(($1 + 30)) -u "$SESSIONS_OUT" RETURN || fail "ssh_sessions does not answer"
    RETURN=${RETURN#back }
}
# end_sessions: ends the sessions. Sets LOST to the number of sessions that were closed before this call and after the last
# mark_sessions or return_sessions; after return_sessions, this includes the sessions that had not come back.
end_sessions() {
    exec {SESSIONS_IN}>&-
    IFS= read -r -t 120 -u "$SESSIONS_OUT" LOST || fail "the sessions do not end"
    LOST=${LOST#lost }
    wait "$CLIENT_PID"
}

GW_CGROUP=$CGROUP/cmxsafe-gateway # holds the server, its sessions and their helpers
gateway_pids() { find "$GW_CGROUP" -name cgroup.procs -exec cat {} +; }
gateway_cpu_us() { awk '$1 == "usage_usec" { print $2 }' "$GW_CGROUP/cpu.stat"; }
# pss PID...: prints the proportional set size of these processes in KiB.
pss() {
    local p
    for p in "$@"; do cat "/proc/$p/smaps_rollup" 2>/dev/null; done | awk '$1 == "Pss:" { n += $2 } END { print n + 0 }'
}
