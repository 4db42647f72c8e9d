#!/usr/bin/env bash
# Measures gateways that share a registry in PostgreSQL: the processor time of a login, divided by that of a login on a
# gateway with a SQLite registry in the same run, and the time until a revocation has ended a device's sessions at every
# gateway.
# CMX_LOGINS: logins per gateway (300). CMX_CHANGES: the number of revocations (20). CMX_ONLY=login: measures the logins only.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=${CMX_BIN:-$CMX_ROOT/build/bin}
. "$here/../tests/e2e/lib.sh"
. "$here/../tests/e2e/gateway_lib.sh"
. "$here/../tests/e2e/postgres_lib.sh"
. "$here/lib.sh"
install_packages jq postgresql postgresql-client >/dev/null
need_namespaces
need_postgres
LOGINS=${CMX_LOGINS:-300} CHANGES=${CMX_CHANGES:-20}
[ "${CMX_ONLY:-}" != login ] || CHANGES=0
now_us() { date +%s%6N; }

pg_create db
pg_start db
start_node sqlite
for n in one two three; do start_node "$n" --registry "$(pg_url db)"; done
has() { on "$1" gw show "$2" --json >/dev/null 2>&1; }

# cpu_of NODE: prints the clock ticks that processes of the gateway have used: its worker, the process that follows the registry, and all
# processes together, including those that have ended (sshd, the look-ups).
cpu_of() {
    local p worker=0 follow=0 all=0 t
    for p in $(eval "echo \$GW_PID_$1") $(descendants "$(eval "echo \$GW_PID_$1")"); do
        t=$(sed 's/.*) //' "/proc/$p/stat" 2>/dev/null | awk '{ print $12 + $13 + $14 + $15 }')
        all=$((all + ${t:-0}))
        case $(tr '\0' ' ' 2>/dev/null <"/proc/$p/cmdline") in
        *" gateway worker "*) worker=$((worker + ${t:-0})) ;;
        *" gateway follow "*) follow=$((follow + ${t:-0})) ;;
        esac
    done
    echo "$worker $follow $all"
}
key login
on sqlite gw enroll login --key "$TMP/login.pub" --ports 81 >/dev/null || fail "enroll"
on one gw enroll login --key "$TMP/login.pub" --ports 81 >/dev/null || fail "enroll"
log_in() { # log_in NODE: makes one login that ends at once
    GW_PORT=$(eval "echo \$GW_PORT_$1") try_client login -T -o RemoteCommand=true >"$TMP/login.out" 2>&1 </dev/null
}
# Measures the processor time of two nodes in five rounds, in which logins alternate between the nodes. The figure
# includes the time that a node uses for its exchange of data with PostgreSQL.
: >"$TMP/ratios"
: >"$TMP/parts"
for round in 1 2 3 4 5; do
    a=$(cpu_of sqlite) b=$(cpu_of one)
    for ((i = 0; i < LOGINS / 5; i++)); do log_in sqlite; log_in one; done
    # Writes six columns, in ms per login: all processes with SQLite, all with PostgreSQL; worker and follower with SQLite;
    # worker and follower with PostgreSQL.
    echo "$a $b $(cpu_of sqlite) $(cpu_of one)" | awk -v n=$((LOGINS / 5)) '{
        for (i = 1; i <= 6; i++) $i = ($(i + 6) - $i) * 10 / n
        print $3, $6, $1, $2, $4, $5 }' >>"$TMP/parts"
done
awk '$1 > 0 { printf "%.4f\n", $2 / $1 }' "$TMP/parts" >"$TMP/ratios"
part() { note "registry_login_$1_ms" "$(cut -d' ' -f"$2" "$TMP/parts" | median)"; }
part sqlite_all 1
part sqlite_worker 3
part postgres_all 2
part postgres_worker 5
part postgres_follow 6
for n in sqlite one; do
    logins=$(on "$n" gw status --json | jq .counters.logins)
    [ "$logins" -ge "$LOGINS" ] || fail "$n counts $logins logins"
done
figure_of registry_login_cpu_ratio "$TMP/ratios" "<=" 1.05

# Measures the time from a revocation at one gateway until the last session of the device on any of the three gateways
# has ended.
: >"$TMP/changes"
for ((i = 0; i < CHANGES; i++)); do
    key "change$i"
    on one gw enroll "change$i" --key "$TMP/change$i.pub" --ports 81 >/dev/null || fail "enroll"
    for n in one two three; do
        wait_for 10 has "$n" "change$i" || fail "$n does not follow"
        (GW_PORT=$(eval "echo \$GW_PORT_$n"); (client "change$i" -N) >/dev/null 2>&1; now_us >"$TMP/ended.$n") & PIDS+=("$!")
        eval "CLIENT_$n=$!"
        wait_for 20 on "$n" connected "change$i" || fail "no session at $n"
    done
    begin=$(now_us)
    on one gw revoke "change$i" >/dev/null || fail "revoke"
    last=0
    for n in one two three; do
        wait "$(eval "echo \$CLIENT_$n")"
        at=$(cat "$TMP/ended.$n")
        [ "$at" -gt "$last" ] && last=$at
    done
    awk "BEGIN { printf \"%.3f\n\", ($last - $begin) / 1e6 }" >>"$TMP/changes"
done
[ "$CHANGES" = 0 ] || figure registry_change_worst_s "$(sort -g "$TMP/changes" | tail -n 1)" "<=" 1.0 "$(paste -sd, "$TMP/changes")"

# Measures three gateways, each in network namespaces of its own.
if [ "${CMX_ONLY:-}" = login ]; then :
elif [ "$(id -u)" = 0 ]; then bash "$here/gateway_nodes_fleet.sh"; else note nodes_fleet_needs_root none; fi
