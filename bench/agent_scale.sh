#!/usr/bin/env bash
# Measures an agent with 500 contexts over 20 sessions and 2,000 connections: memory, processor time and latency. An
# agent with one context is measured alternately in the same run, for comparison. The gateway is a stock sshd. Each
# round starts both agents again. Prints `name value aim ok|short [rounds]`.
#
#   CMX_SHORT=1: 50 contexts over 5 sessions, 200 connections. CMX_ROUNDS: the number of rounds (3).
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
. "$here/lib.sh"
cd "$CMX_ROOT" || exit 1
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" jq
build build
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=$CMX_ROOT/build/bin
. "$here/../tests/e2e/lib.sh"
. "$here/../tests/e2e/agent_lib.sh"
ulimit -n "$(ulimit -Hn)"
CONTEXTS=500 SESSIONS=20 EACH=4 ROUNDS=${CMX_ROUNDS:-3} REST_S=30
[ -z "${CMX_SHORT:-}" ] || { CONTEXTS=50 SESSIONS=5 REST_S=10; }
SERVICE=$(free_port)

private_kb() { awk '/^Private_(Clean|Dirty):/ { n += $2 } END { print n }' "/proc/$1/smaps_rollup"; }
wakeups() { cat "/proc/$1"/task/*/status | awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }'; }
per() { awk -v a="$1" -v n="$2" 'BEGIN { printf "%.2f\n", a / n }'; }
start_one() { # start_one NAME: starts an agent with the configuration $TMP/NAME.conf; sets AGENT
    CONF=$TMP/$1.conf RUN=$TMP/$1
    start_agent
}
all_up() { RUN=$1; field_is .all_up true; }
none_listens() { ! listening "$ONE" && ! listening "${ports[-1]}"; }
# keep NAME VALUE: adds the value of this round to those of NAME.
keep() { echo "$2" >>"$TMP/value.$1"; }

start_sshd </dev/null
"$BIN/loadgen" serve "$SERVICE" & PIDS+=($!)
wait_for 20 listening "$SERVICE" || fail "the service does not listen"

mkdir "$TMP/one" "$TMP/many"
ONE=$(free_port) ports=()
RUN=$TMP/one; { gateway_section; reverse c "$SERVICE" "$ONE"; echo "max_connections = 64"; } >"$TMP/one.conf"
RUN=$TMP/many; gateway_section >"$TMP/many.conf"
for i in $(seq 0 $((CONTEXTS - 1))); do
    ports+=("$(free_port)")
    { reverse "c$i" "$SERVICE" "${ports[i]}"; echo "session = s$((i % SESSIONS))"; echo "max_connections = 64"; } >>"$TMP/many.conf"
done
list=$(IFS=,; echo "${ports[*]}")

# compare echo|conn COUNT: makes COUNT echoes or connections through the loaded agent, and as many through the agent
# with one context. Keeps the ratios of latency and processor time. sshd serves 100 channels in each session of the
# loaded agent, so the processor time of sshd is kept separately.
sshd_us() { cpu_us $(sshd_children); }
compare() {
    local name=$1 n=$2 a50 a99 b50 b99 c0 c1 c2 c3 s0 s1 s2
    c0=$(cpu_us "$many") s0=$(sshd_us)
    read -r a50 a99 <<<"$("$BIN/loadgen" "$name" "${ports[round]}" "$n")"
    c1=$(cpu_us "$many") s1=$(sshd_us) c2=$(cpu_us "$one")
    read -r b50 b99 <<<"$("$BIN/loadgen" "$name" "$ONE" "$n")"
    c3=$(cpu_us "$one") s2=$(sshd_us)
    keep "${name}_us" "$a50"; keep "${name}_one_us" "$b50"
    keep "${name}_cpu_us" "$(per $((c1 - c0)) "$n")"; keep "${name}_one_cpu_us" "$(per $((c3 - c2)) "$n")"
    keep "${name}_sshd_cpu_us" "$(per $((s1 - s0)) "$n")"; keep "${name}_one_sshd_cpu_us" "$(per $((s2 - s1)) "$n")"
    keep "${name}_cpu_ratio" "$(ratio $((c1 - c0)) $((c3 - c2)))"
    keep "${name}_sshd_cpu_ratio" "$(ratio $((s1 - s0)) $((s2 - s1)))"
    keep "${name}_median_ratio" "$(ratio "$a50" "$b50")"
    keep "${name}_p99_ratio" "$(ratio "$a99" "$b99")"
}

one_round() {
    local one many begin rest_kb held_kb held w c holder
    start_one one; one=$AGENT
    wait_for 60 all_up "$TMP/one" || fail "the agent with one context does not come up"
    begin=$(date +%s%3N)
    start_one many; many=$AGENT
    wait_for 120 all_up "$TMP/many" || { json | jq '[.contexts[] | select(.state != "up")][0]'; fail "the agent does not come up"; }
    keep all_up_ms $(($(date +%s%3N) - begin))

    # Measures the memory after both agents have been idle for a while and have freed what their logins needed.
    sleep 5
    rest_kb=$(private_kb "$many")
    keep memory_one_kb "$(private_kb "$one")"
    keep memory_kb "$rest_kb"
    keep memory_context_kb "$(per $((rest_kb - $(private_kb "$one"))) "$CONTEXTS")"

    coproc HOLDER { exec "$BIN/loadgen" hold "$list" "$EACH"; }
    holder=$HOLDER_PID
    PIDS+=("$holder")
    exec {HOLDER_OUT}<&"${HOLDER[0]}" {HOLDER_IN}>&"${HOLDER[1]}" {HOLDER[1]}>&-
    IFS= read -r -t 300 -u "$HOLDER_OUT" held || fail "the connections do not open"
    [ "$held" = held ] || fail "the connections do not open: $held"
    sleep 8 # until the sessions' loops no longer poll the idle connections (relay_rest.h)
    held_kb=$(private_kb "$many")
    keep memory_held_kb "$held_kb"
    keep memory_connection_kb "$(per $((held_kb - rest_kb)) $((CONTEXTS * EACH)))"

    # Measures the agent at rest: each session carries only a keepalive and its answer every 15 s.
    w=$(wakeups "$many") c=$(cpu_us "$many")
    sleep "$REST_S"
    keep wakeups_per_session_and_minute "$(awk -v n=$(($(wakeups "$many") - w)) -v s="$REST_S" -v k="$SESSIONS" 'BEGIN { printf "%.1f\n", n * 60 / s / k }')"
    keep cpu_ms_per_minute "$(awk -v n=$(($(cpu_us "$many") - c)) -v s="$REST_S" 'BEGIN { printf "%.1f\n", n / 1000 * 60 / s }')"

    compare echo 10000
    compare conn 1000
    exec {HOLDER_IN}>&- {HOLDER_OUT}<&-
    wait "$holder"
    for AGENT in "$one" "$many"; do stop "$AGENT"; done
    wait_for 60 none_listens || fail "a listener stays"
}
for round in $(seq "$ROUNDS"); do one_round; done

note agent_scale_contexts "$CONTEXTS"
note agent_scale_sessions "$SESSIONS"
note agent_scale_connections $((CONTEXTS * EACH))
for name in all_up_ms memory_one_kb memory_kb memory_context_kb memory_held_kb memory_connection_kb; do note_of "agent_scale_$name" "$TMP/value.$name"; done
figure_of agent_scale_wakeups_per_session_and_minute "$TMP/value.wakeups_per_session_and_minute" '<=' 15
note_of agent_scale_cpu_ms_per_minute "$TMP/value.cpu_ms_per_minute"
for name in echo conn; do
    for what in us one_us cpu_us one_cpu_us sshd_cpu_us one_sshd_cpu_us cpu_ratio sshd_cpu_ratio median_ratio p99_ratio; do
        note_of "agent_scale_${name}_$what" "$TMP/value.${name}_$what"
    done
done
exit 0
