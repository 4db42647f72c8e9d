#!/usr/bin/env bash
# The registry in PostgreSQL changes while gateways use it: a standby takes over, a backup is restored, rows are changed
# by hand, a gateway restarts with an old copy, and other versions of cmxsafe have changed the tables.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../postgres_lib.sh"
need_namespaces
need_postgres

pg_create first
pg_start first
PG_PORT_second=$(free_port)
mkdir -p "$TMP/second"
[ "$(id -u)" != 0 ] || chown "$PG_USER" "$TMP/second"
as_pg "$PG_BIN/pg_basebackup" -d "$(pg_url first)" -D "$TMP/second/data" -R -X stream --no-sync >"$TMP/basebackup.log" 2>&1 || fail "pg_basebackup"
CLEANUP+=("pg_stop second immediate")
pg_start second

URL="postgresql://cmxsafe@127.0.0.1:$PG_PORT_first,127.0.0.1:$PG_PORT_second/postgres"
start_node one --registry "$URL"
start_node two --registry "$URL"
followed() { gw metrics | grep -q "^cmxsafe_gateway_registry_followed 1"; }
has() { on "$1" gw show "$2" --json >/dev/null 2>&1; }
has_not() { on "$1" gw list --json >/dev/null && ! has "$1" "$2"; }
agree() { equal "$(on one gw export)" "$(on two gw export)"; }
for n in a b c d; do key "$n"; done
on one gw enroll cam-a --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
wait_for 10 has two cam-a || fail "node two does not have cam-a"

# The first server stops, and the standby takes over the registry.
replicated() { [ "$(pg_sql second 'SELECT count(*) FROM cmxsafe.device')" = 1 ]; }
wait_for 20 replicated || fail "the standby does not replicate"
pg_stop first immediate
as_pg "$PG_BIN/pg_ctl" -D "$TMP/second/data" -w promote >"$TMP/pg_ctl.log" || fail "promote"
enrolled_b() { on one gw enroll cam-b --key "$TMP/b.pub" --ports 81 >"$TMP/enroll.out" 2>&1; }
wait_for 30 enrolled_b || fail "no change after the failover: $(cat "$TMP/enroll.out")"
wait_for 30 has two cam-b || fail "the other gateway does not follow the new server"
ok "a standby takes over"

# PostgreSQL restarts between two changes: the second change succeeds.
pg_stop second fast
pg_start second
wait_for 30 on two gw enroll cam-c --key "$TMP/c.pub" --ports 81 >/dev/null || fail "a change fails after a restart"
wait_for 30 has one cam-c || fail "the registry is not followed after a restart"
ok "a restart"

# The former server is started again, and nobody has made it a standby. It accepts writes, and the URL names it first, but
# it is not used: a change made there would be lost, and revoked devices could log in again.
pg_start first
on one gw rename cam-b cam-x >/dev/null || fail "a change fails while the former server runs"
wait_for 20 has two cam-x || fail "the other gateway uses the former server"
pg_sql second "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cmxsafe'" >/dev/null || fail "terminate"
on two gw rename cam-x cam-b >/dev/null && wait_for 20 has one cam-b || fail "a change fails after a new connection"
equal "$(pg_sql first 'SELECT name FROM cmxsafe.device')" cam-a || fail "a change was made on the former server"
agree && has two cam-c || fail "a copy is from the former server: $(on two gw list)"
pg_stop second fast
is_former="the PostgreSQL server 127.0.0.1 port $PG_PORT_first is out of date, because a standby has replaced it"
! on one gw rename cam-b cam-x 2>"$TMP/err" || fail "a change succeeds on the former server"
grep -q "$is_former.*nothing was changed" "$TMP/err" || fail "the message is not clear: $(cat "$TMP/err")"
says_former() { on "$1" gw status | grep -q "$is_former"; }
for n in one two; do wait_for 30 says_former $n || fail "$n's status does not name the former server: $(on $n gw status)"; done
agree && has two cam-c || fail "a copy is from the former server: $(on two gw list)"
pg_start second
for n in one two; do wait_for 30 on $n followed || fail "$n does not follow the new server again"; done
pg_stop first fast
ok "a server that was replaced is not used"

# PostgreSQL is restored from a backup: the gateways' copies return to the older state.
"$PG_BIN/pg_dump" --schema=cmxsafe --clean "$(pg_url second)" >"$TMP/backup.sql" || fail "pg_dump"
on one gw enroll cam-d --key "$TMP/d.pub" --ports 81 >/dev/null || fail "enroll"
wait_for 10 has two cam-d || fail "node two does not have cam-d"
"$PG_BIN/psql" -X -q -1 -v ON_ERROR_STOP=1 -f "$TMP/backup.sql" "$(pg_url second)" >"$TMP/restore.log" 2>&1 || fail "restore"
wait_for 30 has_not one cam-d || fail "node one keeps what the restored registry lacks"
wait_for 30 has_not two cam-d || fail "node two keeps what the restored registry lacks"
on one gw enroll cam-d --key "$TMP/d.pub" --ports 81 >/dev/null || fail "enroll fails after the restore"
wait_for 10 has two cam-d || fail "the registry is not followed after the restore"
ok "a restored backup"

# Rows that were changed by hand in PostgreSQL, without a new revision, are found when a gateway connects again.
pg_sql second "UPDATE cmxsafe.device SET team = 'byhand' WHERE name = 'cam-a'" || fail "update"
! on one gw enroll cam-a --key "$TMP/a.pub" --ports 81 --group other 2>"$TMP/err" || fail "a row that differs from the copy was changed"
grep -q "changed the same entry" "$TMP/err" || fail "the message is not clear: $(cat "$TMP/err")"
pg_sql second "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cmxsafe'" >/dev/null || fail "terminate"
by_hand() { on "$1" gw show cam-a --json | json_is '.device.group == "byhand"' >/dev/null; }
wait_for 30 by_hand one || fail "node one does not find the difference"
wait_for 30 by_hand two || fail "node two does not find the difference"
ok "differences are found"

# A gateway restarts with an old copy of the registry, which was also changed by hand. The gateway brings the copy up to date.
stop "$GW_PID_two"
cp "$TMP/two/registry.db" "$TMP/old.db"
on one gw revoke cam-b >/dev/null || fail "revoke"
on one gw delete cam-b >/dev/null || fail "delete"
on one gw rename cam-c cam-b >/dev/null || fail "rename"
cat "$TMP/old.db" >"$TMP/two/registry.db"
sql "$TMP/two/registry.db" "UPDATE device SET team = 'wrong'; DELETE FROM key WHERE rowid IN (SELECT 0)" 2>"$TMP/sqlite.err"
serve_node two
wait_for 30 agree || fail "an old copy is not brought up to date"
on two gw show cam-b --json | json_is '.device.name == "cam-b" and .device.revoked == 0' >/dev/null || fail "the name did not move to the other device"
GW_PORT=$GW_PORT_two
refused_login b -N || fail "a device logs in that was revoked while this gateway was away"
ok "an old copy"

# A registry of an older version gets the missing column. A registry of a newer, compatible version works. With an
# incompatible version, the gateways refuse changes.
pg_sql second "ALTER TABLE cmxsafe.device DROP COLUMN exempt; UPDATE cmxsafe.registry SET schema = 1" || fail "older schema"
on one gw grant "user:$(id -un)" cam-a:81 >/dev/null || fail "a change fails in a registry of an older version"
equal "$(pg_sql second 'SELECT count(*) FROM cmxsafe.device WHERE exempt = 0 AND NOT removed')" 3 || fail "the column is not added"
pg_sql second "ALTER TABLE cmxsafe.device ADD COLUMN future BIGINT NOT NULL DEFAULT 7; UPDATE cmxsafe.registry SET schema = 99" || fail "newer schema"
on one gw rename cam-a cam-e >/dev/null || fail "a change fails in a newer, compatible registry"
wait_for 10 has two cam-e || fail "a newer, compatible registry is not followed"
equal "$(pg_sql second "SELECT future FROM cmxsafe.device WHERE name = 'cam-e'")" 7 || fail "a newer version's column changed"
pg_sql second "UPDATE cmxsafe.registry SET compatible = 99" || fail "incompatible schema"
! on one gw rename cam-e cam-f 2>"$TMP/err" || fail "a change succeeds in an incompatible registry"
grep -q "the registry has version 99.*install a newer cmxsafe" "$TMP/err" || fail "the message is not clear: $(cat "$TMP/err")"
has one cam-e || fail "the failed change is in the copy"
says_version() { on two gw status | grep -q "install a newer cmxsafe"; }
wait_for 20 says_version || fail "status does not say that a newer program is needed"
pg_sql second "UPDATE cmxsafe.registry SET compatible = 2" || fail "compatible schema"
wait_for 30 on two followed || fail "the registry is not followed again"
ok "compatible older and newer versions of the registry work, and an incompatible one is refused"

# The URL leads to the registry of another fleet: a change is refused.
pg_sql second "UPDATE cmxsafe.registry SET id = 'another'" || fail "another id"
! on one gw rename cam-e cam-f 2>"$TMP/err" || fail "a change succeeds in another fleet's registry"
grep -q "another fleet's registry" "$TMP/err" || fail "the message is not clear: $(cat "$TMP/err")"
ok "another fleet's registry is refused"

# The operator decides that the former server has the registry.
pg_stop second fast; pg_start first
on two gw migrate sqlite --offline >/dev/null && pg_sql first 'CREATE DATABASE other' || fail "migrate sqlite --offline"
on two gw migrate "${URL%%,*}/other" >"$TMP/migrate.out" 2>&1 || fail "migrate to the former server fails: $(cat "$TMP/migrate.out")"
! on one gw init --user --registry "$(pg_url first)" --stale-after 1s >/dev/null 2>"$TMP/err" || fail "init accepts an invalid option"
! on one gw rename cam-e cam-f 2>"$TMP/err" && grep -q "$is_former" "$TMP/err" || fail "the former server: $(cat "$TMP/err")"
on one gw init --user --registry "$(pg_url first)" >"$TMP/init.out" 2>&1 || fail "init --registry: $(cat "$TMP/init.out")"
wait_for 30 on one followed && has one cam-a && has_not one cam-e || fail "init --registry does not choose the former server: $(on one gw list)"
ok "a server that was replaced is used if the operator says so"
stop "$GW_PID_one"; stop "$GW_PID_two"
for n in one two; do no_sanitizer_report "$TMP/$n.log" || fail "a sanitizer complains"; done
