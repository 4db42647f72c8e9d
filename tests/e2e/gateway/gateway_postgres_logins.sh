#!/usr/bin/env bash
# When a gateway records a login in PostgreSQL, the other gateways query PostgreSQL for changes. The gateway itself does
# not, because its copy already has this change. After a command has changed the registry, all gateways query for
# changes.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../postgres_lib.sh"
need_namespaces
need_postgres

pg_create db
pg_start db
start_node one --registry "$(pg_url db)"
start_node two --registry "$(pg_url db)"
key a
on one gw enroll cam-a --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
has() { on "$1" gw show "$2" --json >/dev/null 2>&1; }
wait_for 20 has two cam-a || fail "the other gateway does not follow"
sleep 6 # until the gateways have fetched the changes made above
looks() { sort -u "$TMP/looks.$1" | wc -l; } # the gateway writes a new registry.state each time it queries for changes
for n in one two; do
    while sleep 0.05; do stat -c %i:%Y:%Z "$TMP/$n/registry.state" 2>/dev/null; done >"$TMP/looks.$n" & PIDS+=("$!")
done
begin=$SECONDS
GW_PORT=$GW_PORT_one
for _ in 1 2 3 4 5 6 7 8; do
    try_client a -T -o RemoteCommand=true >"$TMP/login.out" 2>&1 </dev/null
    sleep 0.8
done
took=$((SECONDS - begin)) one=$(looks one) two=$(looks two)
logins=$(on one gw status --json | jq .counters.logins)
[ "$logins" -ge 8 ] || fail "$logins logins"
[ "$one" -le $((took / 5 + 3)) ] || fail "the gateway that made the changes still looked for changes $one times in $took s"
[ "$two" -ge 5 ] || fail "the other gateway looked only $two times in $took s"
seen_there() { on two gw show cam-a --json | json_is '.device.seen > 0' >/dev/null || on two gw list --json | json_is '.[0].seen > 0' >/dev/null; }
wait_for 10 seen_there || fail "the other gateway does not know when the device was seen"
ok "$logins logins in $took s: $one looks here, $two at the other gateway"
stop "$GW_PID_one"; stop "$GW_PID_two"
for n in one two; do no_sanitizer_report "$TMP/$n.log" || fail "a sanitizer complains"; done
