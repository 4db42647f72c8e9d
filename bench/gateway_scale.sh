#!/usr/bin/env bash
# Measures the load of a gateway on this machine: 2,000 sessions of light clients, all of which log in at the same time, and
# the cost of each; 10,000 grants; logins offered at 20, 50 and 100 a second while the sessions stay up; and how the sessions
# come back after the gateway is stopped and after it is killed. Clients and gateway share the machine. Prints one line per
# figure, with the rounds where there are several. The 2,000 simultaneous logins are one round; their medians and percentiles
# are over the sessions. Also prints which limit is reached first. CMX_SESSIONS: the number of sessions (2,000). CMX_SHORT=1:
# 200 sessions and 1,000 grants. CMX_ONLY=stop or CMX_ONLY=kill: measures only the logins, and how the sessions come back
# after a stop or a kill. Needs root.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=${CMX_BIN:-$CMX_ROOT/build/bin}
install_packages libssh-dev gcc jq python3-venv nftables iproute2 sqlite3 >/dev/null
NEED_PYTHON=asyncssh==2.24.1
. "$here/../tests/e2e/gateway_system_lib.sh"
. "$here/gateway_lib.sh"
. "$here/lib.sh"
N=${CMX_SESSIONS:-2000} GRANTS=10000 OFFER_S=15 RATES="20 50 100" IDLE_S=30 RETURN_S=600
[ -z "${CMX_SHORT:-}" ] || { N=200 GRANTS=1000 OFFER_S=5 RATES="20 100" IDLE_S=10; }
EXTRA=$((${RATES##* } * OFFER_S))
[ -z "${CMX_ONLY:-}" ] || EXTRA=0
ulimit -n "$(ulimit -Hn)"
per() { awk -v a="$1" -v n="$2" 'BEGIN { printf "%.2f\n", a / n }'; }
available_kib() { awk '/^MemAvailable/ { print $2 }' /proc/meminfo; }
# next_busy: sets BUSY to the percentage of the machine's processor time that was used since the last call.
next_busy() { BUSY=$(busy_percent "${BUSY_LAST:-$(processors)}"); BUSY_LAST=$(processors); }

system_gateway
enrol_fleet $((N + EXTRA))
serve_system
server=$(server_pid)
empty_kib=$(pss "$server") empty_fds=$(ls "/proc/$server/fd" | wc -l) free_before=$(available_kib) cpu=$(gateway_cpu_us)
next_busy

# All clients log in at the same time, to a gateway that has no session yet.
start_sessions "$GW_PORT" 0 "$N"
read -r done_ failed seconds p50 p99 max client_ms <<<"$LOGINS"
[ "$done_" = "$N" ] || fail "only $done_ of $N sessions came up: $(tail -n 3 "$TMP/sessions.log" "$TMP/gateway.log")"
next_busy
storm_cpu=$(($(gateway_cpu_us) - cpu)) storm_busy=$BUSY
note scale_sessions "$done_"
note scale_storm_s "$seconds"
note scale_storm_logins_per_s "$(per "$N" "$seconds")"
note scale_storm_login_p50_ms "$p50"
note scale_storm_login_p99_ms "$p99"
note scale_storm_refusals "$failed"
note scale_storm_busy_percent "$storm_busy"
note scale_login_cpu_ms "$(per "$storm_cpu" $((N * 1000)))"
note scale_login_client_cpu_ms "$client_ms"

# restart stop|kill: stops or kills the gateway and starts it again at once. All sessions come back by themselves, with
# the same delays between attempts as real devices.
restart() {
    local begin back refused timeouts seconds p50 p99 max
    mark_sessions
    begin=$(date +%s%3N)
    case $1 in
    stop) stop "$GW_PID" ;;
    kill) # with all sessions
        echo 1 >"$GW_CGROUP/cgroup.kill" || fail "the gateway can't be killed"
        wait "$GW_PID" 2>/dev/null
        ;;
    esac
    serve_system
    note "scale_${1}_gateway_away_ms" $(($(date +%s%3N) - begin))
    return_sessions "$RETURN_S"
    read -r back refused timeouts seconds p50 p99 max <<<"$RETURN"
    note "scale_${1}_all_back_s" "$seconds"
    note "scale_${1}_away_p50_ms" "$p50"
    note "scale_${1}_away_p99_ms" "$p99"
    note "scale_${1}_away_max_ms" "$max"
    note "scale_${1}_refused" "$refused"
    note "scale_${1}_timeouts" "$timeouts"
    figure "scale_${1}_sessions_lost" $((N - back)) "<=" 0
}
if [ -n "${CMX_ONLY:-}" ]; then
    restart "$CMX_ONLY"
    end_sessions
    no_complaints
    exit 0
fi

# Measures the sessions at rest: processes, memory, descriptors and processor time.
sleep 3
mapfile -t pids < <(gateway_pids)
sessions=() fds=0
for p in "${pids[@]}"; do [ "$p" = "$server" ] || { sessions+=("$p"); fds=$((fds + $(ls "/proc/$p/fd" 2>/dev/null | wc -l))); }; done
session_kib=$(pss "${sessions[@]}") full_kib=$(pss "$server") client_kib=$(pss "$CLIENT_PID") free_after=$(available_kib)
note scale_session_processes "$(per ${#sessions[@]} "$N")"
note scale_session_pss_kib "$(per "$session_kib" "$N")"
note scale_session_server_pss_kib "$(per $((full_kib - empty_kib)) "$N")"
note scale_session_machine_kib "$(per $((free_before - free_after - client_kib)) "$N")" # includes memory of the kernel
note scale_session_descriptors "$(per "$fds" "$N")"
note scale_session_server_descriptors "$(per $(($(ls "/proc/$server/fd" | wc -l) - empty_fds)) "$N")"
for _ in 1 2 3; do
    cpu=$(gateway_cpu_us)
    sleep "$((IDLE_S / 3))"
    per $(($(gateway_cpu_us) - cpu)) $((N * (IDLE_S / 3))) >>"$TMP/idle"
    start=$(date +%s%3N)
    gw status --json >"$TMP/status.json" || fail "status"
    echo $(($(date +%s%3N) - start)) >>"$TMP/status_ms"
done
note_of scale_session_idle_cpu_us_per_s "$TMP/idle"
note_of scale_status_ms "$TMP/status_ms"

# Adds the grants: for 50 users, each with access to the same number of devices.
python3 - "$GW/registry.db" "$GRANTS" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=20)
devices = [r[0] for r in db.execute("SELECT id FROM device ORDER BY id LIMIT ?", (int(sys.argv[2]) // 50,))]
for i in range(50):
    cur = db.execute("INSERT INTO consumer(kind, name) VALUES('user', ?)", (str(200000 + i),))
    for d in devices:
        db.execute("INSERT INTO grants(consumer, device, port) VALUES(?, ?, 81)", (cur.lastrowid, d))
db.commit()
PY
note scale_grants "$(sql "$GW/registry.db" 'SELECT count(*) FROM grants')"
for i in 1 2 3; do
    start=$(date +%s%3N)
    gw net rules || fail "the grants can't be loaded"
    echo $(($(date +%s%3N) - start)) >>"$TMP/load_ms"
    start=$(date +%s%3N)
    gw grant user:20000$i dev-$((N - 1)):81 >/dev/null || fail "one more grant"
    echo $(($(date +%s%3N) - start)) >>"$TMP/one_more_ms"
done
note_of scale_grants_load_ms "$TMP/load_ms"
note_of scale_one_more_grant_ms "$TMP/one_more_ms"

# Offers logins at a fixed rate while the sessions stay up. The rate stays the same even if the gateway cannot keep up.
none="none up to ${RATES##* } logins a second" limit=$none
for rate in $RATES; do
    offered=$((rate * OFFER_S)) cpu=$(gateway_cpu_us)
    next_busy
    read -r _ done_ failed seconds p50 p99 max client_ms <<<"$("$TMP/ssh_sessions" "$GW_PORT" cmxsafe-gw "$FLEET_FOLDER" "$N" "$offered" "$rate" 0 2>>"$TMP/sessions.log")"
    next_busy
    note "scale_offered_${rate}_done_percent" "$(awk -v a="$done_" -v b="$offered" 'BEGIN { printf "%.1f\n", 100 * a / b }')"
    note "scale_offered_${rate}_per_s" "$(per "$done_" "$seconds")"
    note "scale_offered_${rate}_p50_ms" "$p50"
    note "scale_offered_${rate}_p99_ms" "$p99"
    note "scale_offered_${rate}_cpu_ms_per_login" "$(awk -v a=$(($(gateway_cpu_us) - cpu)) -v n="$done_" 'BEGIN { printf "%.2f\n", n ? a / n / 1000 : 0 }')"
    note "scale_offered_${rate}_busy_percent" "$BUSY"
    # The limit is reached when logins complete more slowly than they are offered.
    if [ "$limit" = "$none" ] && awk -v s="$seconds" -v o="$OFFER_S" -v f="$failed" 'BEGIN { exit !(s > o * 1.2 || f > 0) }'; then
        if [ "$BUSY" -ge 90 ]; then limit="the processor, at $(per "$done_" "$seconds") logins a second"; else limit="the queue of logins, at $(per "$done_" "$seconds") logins a second with the processor $BUSY % busy"; fi
    fi
    sleep 2
done
mark_sessions
note scale_sessions_lost "$LOST"

restart stop
restart kill
end_sessions
printf '# the limit that is reached first: %s\n' "$limit"
no_complaints
