#!/usr/bin/env bash
# PostgreSQL is stopped, silent (the connection no longer answers), or locked by another gateway. Logins continue.
# Commands that change the registry fail and change nothing. A gateway that is cut off for too long denies all access.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../postgres_lib.sh"
need_namespaces
need_postgres
command -v socat >/dev/null || skip "socat is needed"

# Gateway two reaches PostgreSQL through a relay, which this scenario can pause.
pg_create db
pg_start db
RELAY=$(free_port)
socat "TCP-LISTEN:$RELAY,bind=127.0.0.1,fork,reuseaddr" "TCP:127.0.0.1:$PG_PORT_db" 2>"$TMP/relay.out" & RELAY_PID=$!; PIDS+=("$RELAY_PID")
wait_for 10 listening "$RELAY" || fail "no relay"
hold() { local p; for p in "$RELAY_PID" $(descendants "$RELAY_PID"); do kill "-$1" "$p" 2>/dev/null; done; }
CLEANUP+=("hold CONT")

start_node one --registry "$(pg_url db)"
start_node two --registry "postgresql://cmxsafe@127.0.0.1:$RELAY/postgres" --stale-after 1h
followed() { gw metrics | grep -q "^cmxsafe_gateway_registry_followed 1"; }
cut_off() { gw metrics | grep -q "^cmxsafe_gateway_registry_followed 0" && gw status | grep -q "warning: this gateway has been cut off from the registry in PostgreSQL"; }
has() { on "$1" gw show "$2" --json >/dev/null 2>&1; }
for n in a b c; do
    key "$n"
    on one gw enroll "cam-$n" --key "$TMP/$n.pub" --ports 81 >/dev/null || fail "enroll"
done
wait_for 10 has two cam-c || fail "node two does not have cam-c"
GW_PORT=$GW_PORT_two
client a -N & PIDS+=("$!")
wait_for 20 on two connected cam-a || fail "no session"

# If the connection to PostgreSQL is silent, a change fails within a bounded time, and logins continue.
hold STOP
begin=$SECONDS
key d
! timeout 60 "$BIN/cmxsafe" gateway enroll cam-d --key "$TMP/d.pub" --ports 81 --dir "$TMP/two" 2>"$TMP/err" || fail "a change succeeds without PostgreSQL"
[ $((SECONDS - begin)) -le 45 ] || fail "the command took $((SECONDS - begin)) s"
grep -q "registry in PostgreSQL can't be reached.*nothing was changed" "$TMP/err" || fail "the message is not clear: $(cat "$TMP/err")"
! has two cam-d || fail "the failed change is in the copy"
wait_for 60 on two cut_off || fail "status and metrics do not say that the gateway is cut off"
on two gw doctor >"$TMP/doctor.out" && fail "the doctor exits with success"
grep -q "^bad .*this gateway follows the registry in PostgreSQL" "$TMP/doctor.out" || fail "the doctor does not say that the gateway is cut off"
equal "$(grep -c "^bad .*PostgreSQL" "$TMP/doctor.out")" 1 || fail "the doctor reports one fault twice: $(grep ^bad "$TMP/doctor.out")"
client b -N & PIDS+=("$!")
wait_for 20 on two connected cam-b || fail "no login while PostgreSQL is silent"
on two connected cam-a || fail "a session ended because PostgreSQL is silent"
ok "PostgreSQL is silent: changes fail, logins succeed and sessions continue"

# Sessions that were revoked meanwhile end as soon as PostgreSQL is reached again.
on one gw revoke cam-b >/dev/null || fail "revoke"
on two connected cam-b || fail "the gateway that is cut off knows of the revocation"
hold CONT
wait_for 40 on two gone cam-b || fail "the revocation does not reach the gateway that was cut off"
wait_for 40 on two followed || fail "the gateway does not follow again"
on two connected cam-a || fail "another session ended"
seen_at_one() { on one gw show cam-b --json | json_is '.. | objects | select(has("from")) | .from | length > 0' >/dev/null; }
wait_for 30 seen_at_one || fail "records stored while the gateway was cut off do not reach the other gateway"
ok "a revocation takes effect as soon as the gateway is connected again; its stored records are sent then"

# PostgreSQL is stopped for longer than gateway two's --stale-after: no login succeeds there, and sessions that can't be
# confirmed end. The other gateway's --stale-after is an hour.
on two gw init --user --stale-after 6s >/dev/null || fail "init --stale-after"
GW_PORT=$GW_PORT_one
client c -N & PIDS+=("$!")
wait_for 20 on one connected cam-c || fail "cam-c does not connect to the gateway one"
GW_PORT=$GW_PORT_two
pg_stop db
! on one gw grant "user:$(id -un)" cam-a:81 2>"$TMP/err" || fail "a grant succeeds while PostgreSQL is away"
grep -q "nothing was changed" "$TMP/err" || fail "the message is not clear: $(cat "$TMP/err")"
wait_for 30 on two gone cam-a || fail "a session that cannot be confirmed continues"
node_logged two "has not been confirmed for too long" || fail "the reason is not logged"
refused_login a -N || fail "a login succeeds although the copy is stale"
on two gw status | grep -q "warning: the copy of the registry is stale" || fail "status does not say that the copy is stale"
on one connected cam-c || fail "a session ended at the gateway that may wait for an hour"
on two gw init --user --stale-after 1h >/dev/null || fail "init fails while PostgreSQL is away"
client a -N & PIDS+=("$!")
wait_for 30 on two connected cam-a || fail "--stale-after 1h does not let devices log in again"
on two gw init --user --stale-after 6s >/dev/null || fail "init --stale-after"
wait_for 30 on two gone cam-a || fail "a session that cannot be confirmed continues"
ok "a stale copy: logins are refused, sessions end; the operator may extend the time"
pg_start db
wait_for 40 on two followed || fail "the registry is not followed after PostgreSQL is back"
client a -N & PIDS+=("$!")
wait_for 20 on two connected cam-a || fail "no login after PostgreSQL is back"
on two gw grant "user:$(id -un)" cam-a:81 >/dev/null || fail "a change after PostgreSQL is back"
ok "PostgreSQL is back: all works again without a command"

# A gateway's copy is restored from a backup while PostgreSQL is away: PostgreSQL never confirmed this copy, and its device
# may have been revoked since.
key f
on one gw enroll cam-f --key "$TMP/f.pub" --ports 81 >/dev/null || fail "enroll"
wait_for 10 has two cam-f || fail "node two does not have cam-f"
on two gw init --user --stale-after 1h >/dev/null && on two gw backup "$TMP/backup.db" >/dev/null || fail "backup"
on one gw revoke cam-f >/dev/null || fail "revoke"
has_revoked() { on two gw show cam-f --json | json_is '.device.revoked'; }
wait_for 10 has_revoked || fail "the revocation does not reach node two"
wait_for 20 on two followed || fail "the gateway does not follow"
pg_stop db
stop "$GW_PID_two"
cp "$TMP/backup.db" "$TMP/two/registry.db" || fail "cp"
serve_node two
refused_login f -N || fail "a revoked device logs in at a gateway that was restored from a backup"
on two gw status | grep -q "warning: the copy of the registry is stale" || fail "status does not say that the copy is stale"
pg_start db
wait_for 40 on two followed && has_revoked || fail "the registry is not followed after PostgreSQL is back"
client a -N & PIDS+=("$!")
wait_for 20 on two connected cam-a || fail "no login after PostgreSQL is back"
ok "a copy restored from a backup permits nothing until PostgreSQL confirms it"

# Another gateway holds the lock for too long.
mkfifo "$TMP/hold"
"$PG_BIN/psql" -X -q -A -t "$(pg_url db)" <"$TMP/hold" >"$TMP/holder.out" & HOLDER=$!; PIDS+=("$HOLDER")
exec 7>"$TMP/hold"
printf 'BEGIN; SELECT revision FROM cmxsafe.registry FOR UPDATE;\n' >&7
wait_for 10 test -s "$TMP/holder.out" || fail "the registry is not locked"
# Another program waits for the lock first, and gives up after 8 s. This must not prolong the command's wait.
"$PG_BIN/psql" -X -q "$(pg_url db)" -c "SET lock_timeout = '8s'; SELECT revision FROM cmxsafe.registry FOR UPDATE" >/dev/null 2>&1 & PIDS+=("$!")
waiting() { [ "$("$PG_BIN/psql" -X -q -A -t "$(pg_url db)" -c "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")" -ge 1 ]; }
wait_for 10 waiting || fail "no program waits for the lock"
! on one gw rename cam-a cam-z 2>"$TMP/err" || fail "a change succeeds although another program holds the lock"
grep -q "another gateway has been changing the registry" "$TMP/err" || fail "the message is not clear: $(cat "$TMP/err")"
has one cam-a || fail "the failed change is in the copy"
exec 7>&-
wait "$HOLDER"
on one gw rename cam-a cam-z >/dev/null || fail "rename"
wait_for 10 has two cam-z || fail "the rename does not reach the other gateway"
ok "a lock that is held for long is named"

# Tombstones of removed rows are deleted after a day. A gateway with an older copy still removes these rows.
on one gw grant "user:$(id -un)" cam-c:81 >/dev/null || fail "grant"
granted() { on "$1" gw grant --json | json_is 'any(.[]; .device == "cam-c")'; }
not_granted() { on "$1" gw grant --json | json_is 'all(.[]; .device != "cam-c")'; }
wait_for 20 granted two || fail "the grant does not reach the other gateway"
stop "$GW_PID_two"
cp "$TMP/two/registry.db" "$TMP/old.db"
on one gw grant --remove "user:$(id -un)" cam-c:81 >/dev/null || fail "grant --remove"
kept() { pg_sql db "SELECT count(*) FROM cmxsafe.grants WHERE removed"; }
[ "$(kept)" -ge 1 ] || fail "nothing is kept of a removed row"
stop "$GW_PID_one"
[ "$(pg_sql db "SELECT count(*) FROM cmxsafe.meta WHERE key = 'prune_mark'")" = 1 ] || fail "no gateway has stored the time from which the day is counted"
pg_sql db "UPDATE cmxsafe.meta SET value = (extract(epoch FROM now())::bigint - 3600)::text WHERE key = 'prune_time'" || fail "UPDATE"
serve_node one
wait_for 20 on one followed || fail "the registry is not followed"
[ "$(kept)" -ge 1 ] || fail "what was removed less than a day ago is gone"
stop "$GW_PID_one"
pg_sql db "UPDATE cmxsafe.meta SET value = (extract(epoch FROM now())::bigint - 90000)::text WHERE key = 'prune_time';
    UPDATE cmxsafe.meta SET value = (SELECT revision::text FROM cmxsafe.registry) WHERE key = 'prune_mark'" || fail "UPDATE"
serve_node one
pruned() { [ "$(kept)" = 0 ]; }
wait_for 40 pruned || fail "removed rows are kept for more than a day"
granted two || fail "the copy is not old, so the check below proves nothing"
key e
on two gw enroll cam-e --key "$TMP/e.pub" --ports 81 >/dev/null || fail "enroll fails with an old copy"
not_granted two || fail "a command with an old copy misses a removal"
cp "$TMP/old.db" "$TMP/two/registry.db"
rm -f "$TMP/two/registry.db-wal" "$TMP/two/registry.db-shm"
granted two || fail "the old copy is not old: the test tests nothing"
serve_node two
wait_for 40 not_granted two || fail "a gateway with an old copy misses a removal"
wait_for 20 has two cam-e || fail "a gateway with an old copy misses a device"
ok "removed rows are kept for a day, and an old copy is compared as a whole"
stop "$GW_PID_one"; stop "$GW_PID_two"
for n in one two; do no_sanitizer_report "$TMP/$n.log" || fail "a sanitizer complains"; done
