#!/usr/bin/env bash
# The load of one agent: 500 contexts over 20 sessions, 2,000 connections. Memory, processor time and latency, against
# an agent with one context, in the same run and in turns. The gateway is a stock sshd. Prints `name value aim ok|short
# [rounds]`.
#
#   CMX_SHORT=1: 50 contexts over 5 sessions, 200 connections. CMX_ROUNDS (5)
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
cd "$CMX_ROOT" || exit 1
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" jq
build build
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=$CMX_ROOT/build/bin
. "$here/../tests/e2e/lib.sh"
. "$here/../tests/e2e/agent_lib.sh"
. "$here/lib.sh"
ulimit -n "$(ulimit -Hn)"
CONTEXTS=500 SESSIONS=20 EACH=4 ROUNDS=${CMX_ROUNDS:-5} REST_S=30
[ -z "${CMX_SHORT:-}" ] || { CONTEXTS=50 SESSIONS=5 REST_S=10; }
SERVICE=$(free_port)

cpu_ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
private_kb() { awk '/^Private_(Clean|Dirty):/ { n += $2 } END { print n }' "/proc/$1/smaps_rollup"; }
wakeups() { cat "/proc/$1"/task/*/status | awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }'; }
per() { awk -v a="$1" -v n="$2" 'BEGIN { printf "%.2f\n", a / n }'; }
start_one() { # start_one NAME: an agent with the configuration $TMP/NAME.conf; sets AGENT
    CONF=$TMP/$1.conf RUN=$TMP/$1
    start_agent
}
all_up() { RUN=$1; field_is .all_up true; }

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

start_one one; one=$AGENT
wait_for 60 all_up "$TMP/one" || fail "the agent with one context does not come up"
begin=$(date +%s%3N)
start_one many; many=$AGENT
wait_for 120 all_up "$TMP/many" || { json | jq '[.contexts[] | select(.state != "up")][0]'; fail "the agent does not come up"; }
note agent_scale_contexts "$CONTEXTS"
note agent_scale_sessions "$SESSIONS"
note agent_scale_all_up_ms $(($(date +%s%3N) - begin))

# Memory, after both agents have rested and have returned the memory that their logins needed.
sleep 5
rest_kb=$(private_kb "$many") one_kb=$(private_kb "$one")
note agent_scale_memory_one_kb "$one_kb"
note agent_scale_memory_kb "$rest_kb"
note agent_scale_memory_context_kb "$(per $((rest_kb - one_kb)) "$CONTEXTS")"

coproc HOLDER { exec "$BIN/loadgen" hold "$list" "$EACH"; }
PIDS+=("$HOLDER_PID")
exec {HOLDER_OUT}<&"${HOLDER[0]}" {HOLDER_IN}>&"${HOLDER[1]}" {HOLDER[1]}>&-
IFS= read -r -t 300 -u "$HOLDER_OUT" held || fail "the connections do not open"
[ "$held" = held ] || fail "the connections do not open: $held"
note agent_scale_connections $((CONTEXTS * EACH))
sleep 8 # until the connections rest
held_kb=$(private_kb "$many")
note agent_scale_memory_held_kb "$held_kb"
note agent_scale_memory_connection_kb "$(per $((held_kb - rest_kb)) $((CONTEXTS * EACH)))"

# At rest: a keepalive and its answer in each session every 15 s, and the agent's own periodic check.
w=$(wakeups "$many") c=$(cpu_ticks "$many")
sleep "$REST_S"
figure agent_scale_wakeups_per_session_and_minute "$(awk -v n=$(($(wakeups "$many") - w)) -v s="$REST_S" -v k="$SESSIONS" 'BEGIN { printf "%.1f\n", n * 60 / s / k }')" '<=' 15
note agent_scale_cpu_ms_per_minute "$(awk -v n=$(($(cpu_ticks "$many") - c)) -v s="$REST_S" -v t="$(getconf CLK_TCK)" 'BEGIN { printf "%.0f\n", n * 1000 / t * 60 / s }')"

# compare NAME COUNT: processor time per round trip, and latency, of the loaded agent relative to the agent with one context. The gateway's sshd has
# 100 channels in the loaded agent's session; its own cost is printed separately.
sshd_ticks() { local p sum=0; for p in $(sshd_children); do sum=$((sum + $(cpu_ticks "$p"))); done; echo "$sum"; }
compare() {
    local name=$1 n=$2 round a50 a99 b50 b99 c0 c1 c2 c3 s0 s1 s2
    : >"$TMP/p50"; : >"$TMP/p99"; : >"$TMP/cpu"; : >"$TMP/sshd"; : >"$TMP/values"
    for round in $(seq "$ROUNDS"); do
        c0=$(cpu_ticks "$many") s0=$(sshd_ticks)
        read -r a50 a99 <<<"$("$BIN/loadgen" "$name" "${ports[round]}" "$n")"
        c1=$(cpu_ticks "$many") s1=$(sshd_ticks) c2=$(cpu_ticks "$one")
        read -r b50 b99 <<<"$("$BIN/loadgen" "$name" "$ONE" "$n")"
        c3=$(cpu_ticks "$one") s2=$(sshd_ticks)
        ratio "$a50" "$b50" >>"$TMP/p50"; ratio "$a99" "$b99" >>"$TMP/p99"
        ratio $((c1 - c0)) $((c3 - c2)) >>"$TMP/cpu"; ratio $((s1 - s0)) $((s2 - s1)) >>"$TMP/sshd"
        echo "$a50 $b50" >>"$TMP/values"
    done
    awk -v m="$name" '{ a = a " " $1; b = b " " $2 } END { printf "# %s: with all%s us, of one context%s us\n", m, a, b }' "$TMP/values"
    note "agent_scale_${name}_cpu_ratio" "$(median <"$TMP/cpu")"
    note "agent_scale_${name}_sshd_cpu_ratio" "$(median <"$TMP/sshd")"
    note "agent_scale_${name}_median_ratio" "$(median <"$TMP/p50")"
    note "agent_scale_${name}_p99_ratio" "$(median <"$TMP/p99")"
}
compare echo 10000
compare conn 1000
exec {HOLDER_IN}>&-
wait "$HOLDER_PID"
exit 0
