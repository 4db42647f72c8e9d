#!/usr/bin/env bash
# While the registry is missing, unreadable, damaged, locked or of a newer version, every login is denied and the reason
# is logged. Killed writers leave the registry consistent. A thousand devices are enrolled by one import.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

start_gateway
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
A=$(address_of cam-17)
may_log_in() { client a -N -R "[$A]:81:127.0.0.1:9" & local c=$!; PIDS+=("$c"); wait_for 20 connected cam-17; local r=$?; stop "$c"; wait_for 20 gone cam-17; return $r; }
denied() { # denied WHY: expects that the login fails and that the gateway logs the reason
    refused_login a -N || fail "the login succeeded: $1"
    wait_for 10 logged "no login is possible: .*$1" || fail "the reason is not logged: $1"
    ok "no login is possible: $1"
}
may_log_in || fail "no login"
DB=$GW/registry.db
cp -p "$DB" "$TMP/good.db"
put_back() { cp "$TMP/good.db" "$TMP/copy.db"; cat "$TMP/copy.db" >"$DB"; }

mv "$DB" "$TMP/away.db"; denied "no registry"; mv "$TMP/away.db" "$DB"
chmod 000 "$DB"; denied "can't be opened"; chmod 640 "$DB"
# damage COMMAND: runs COMMAND while no other program writes to the registry. Otherwise a write that began before
# COMMAND could overwrite the damaged first page with a valid one.
damage() { sql "$DB" <<<"BEGIN EXCLUSIVE;
.shell $1
ROLLBACK;" >"$TMP/damage.out" 2>&1; }
damage "head -c 4096 /dev/urandom | dd of=$DB conv=notrunc status=none"; denied "damaged"; put_back
damage ": >$DB"; denied "is not a registry"; put_back
sql "$DB" 'PRAGMA user_version = 99'; denied "the registry has version 99"
gw list 2>"$TMP/newer.err" && fail "a newer registry is read"
grep -q "install the cmxsafe that wrote it" "$TMP/newer.err" || fail "the message does not say what to do"
put_back
# Another program holds the registry's lock.
mkfifo "$TMP/hold"
sql "$DB" <"$TMP/hold" >"$TMP/holder.out" & HOLDER=$!; PIDS+=("$HOLDER")
exec 7>"$TMP/hold"
printf 'BEGIN EXCLUSIVE; SELECT 1;\n' >&7
wait_for 10 grep -q 1 "$TMP/holder.out" || fail "the registry is not locked"
denied "is locked"
exec 7>&-
wait "$HOLDER"
may_log_in || fail "no login after the repairs"
gw status | grep -q "trouble: .* because the registry could not be read" || fail "status does not report the failed logins"
gw doctor >"$TMP/doctor.out"; grep -q "^hint .*logins can read the registry" "$TMP/doctor.out" || fail "doctor does not report the failed logins"

# While the gateway can't read the registry, it does not end the sessions of a revoked device, and `revoke` fails and
# reports this. The gateway ends them as soon as it can read the registry again.
key b
gw enroll cam-18 --key "$TMP/b.pub" --ports 81 >/dev/null || fail "enroll"
client b -N -R "[$(address_of cam-18)]:81:127.0.0.1:9" & PIDS+=("$!")
wait_for 20 connected cam-18 || fail "no login"
chmod 600 "$DB"
! gw revoke cam-18 2>"$TMP/revoke.err" || fail "a revocation without effect is reported as done"
grep -q "the running gateway can't check its sessions against the registry" "$TMP/revoke.err" || fail "wrong message: $(cat "$TMP/revoke.err")"
chmod 640 "$DB"
wait_for 15 gone cam-18 || fail "revoked but still connected"
ok "a revocation that the gateway could not read at first takes effect later"

# A thousand devices are enrolled from CSV, all or none. make_csv PREFIX N: writes N devices, each with its own key.
make_csv() {
    echo "name,key,ports,group"
    python3 - "$1" "$2" <<'PY'
import base64, os, struct, sys
for i in range(int(sys.argv[2])):
    blob = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + os.urandom(32)
    print(f'{sys.argv[1]}-{i},ssh-ed25519 {base64.b64encode(blob).decode()},"81,8989",lot-{i % 3}')
PY
}
make_csv dev 1000 >"$TMP/fleet.csv"
gw import "$TMP/fleet.csv" | grep -q "added 1000, changed 0, unchanged 0" || fail "import"
gw import "$TMP/fleet.csv" | grep -q "added 0, changed 0, unchanged 1000" || fail "import is not idempotent"
[ "$(gw list --group lot-1 | grep -c '^dev-')" = 333 ] || fail "wrong groups"
{ head -n 3 "$TMP/fleet.csv" | sed 's/dev-/new-/'; } >"$TMP/bad.csv"
! gw import "$TMP/bad.csv" 2>"$TMP/bad.err" || fail "keys of enrolled devices were enrolled again"
grep -q "line 2: this key belongs to dev-0" "$TMP/bad.err" || fail "the message does not name the line: $(cat "$TMP/bad.err")"
printf 'name,key,\xff\xe9\n' >"$TMP/latin1.csv"
! gw import "$TMP/latin1.csv" 2>"$TMP/bad.err" && grep -q "unknown column '??'" "$TMP/bad.err" || fail "a message has bytes that are not UTF-8: $(cat "$TMP/bad.err")"
prints_no "^new-" gw list || fail "a part of the file was imported"
gw export >"$TMP/export.csv"
[ "$(wc -l <"$TMP/export.csv")" = 1002 ] || fail "export"
CMXSAFE_GATEWAY=$TMP/second gw init --user --listen 127.0.0.1:1 --fleet "$(gw show --json | jq -r .fleet)" >/dev/null || fail "second init"
CMXSAFE_GATEWAY=$TMP/second gw import "$TMP/export.csv" >/dev/null || fail "import refuses an export"
equal "$(CMXSAFE_GATEWAY=$TMP/second gw export)" "$(cat "$TMP/export.csv")" || fail "export, import and export give different files"
ok "a thousand enrolments, all or none; export and import"

# A writer that is killed at any moment leaves a consistent registry, which contains every change that the writer reported.
for i in $(seq "${CMX_KILLS:-8}"); do
    make_csv "k$i" 199 >"$TMP/again.csv"
    : >"$TMP/done"
    "$BIN/cmxsafe" gateway import "$TMP/again.csv" >"$TMP/done" 2>/dev/null & W=$!
    python3 -c "import random, time; time.sleep(random.uniform(0.02, 0.5))"
    kill -9 "$W" 2>/dev/null
    wait "$W" 2>/dev/null
    n=$(gw list --json | jq "[.[] | select(.name | startswith(\"k$i-\"))] | length") || fail "the registry can't be read after kill -9"
    [ "$n" = 0 ] || [ "$n" = 199 ] || fail "kill -9 left $n of 199 devices"
    lacks added "$TMP/done" || [ "$n" = 199 ] || fail "a change was reported as done but is lost"
    sql "$DB" 'PRAGMA integrity_check' | grep -qx ok || fail "kill -9 damaged the registry"
done
may_log_in || fail "no login after the kills"
ok "kill -9 during a write leaves the registry consistent"

# Two inits that run at the same time set up only one gateway. If an init is killed, the next init succeeds.
new() { CMXSAFE_GATEWAY=$TMP/new gw "$@"; }
for i in 1 2 3; do
    rm -rf "$TMP/new"
    new init --user --listen 127.0.0.1:1 >"$TMP/new.1" 2>&1 & W=$!
    new init --user --listen 127.0.0.1:1 >"$TMP/new.2" 2>&1 || fail "the second of two simultaneous inits fails: $(cat "$TMP/new.2")"
    wait "$W" || fail "the first of two simultaneous inits fails: $(cat "$TMP/new.1")"
    equal "$(grep -h "^set up" "$TMP/new.1" "$TMP/new.2" | wc -l)" 1 || fail "two inits set up two gateways"
done
for i in $(seq "${CMX_KILLS:-8}"); do
    rm -rf "$TMP/new"
    CMXSAFE_GATEWAY=$TMP/new "$BIN/cmxsafe" gateway init --user --listen 127.0.0.1:1 >"$TMP/new.1" 2>&1 & W=$!
    until [ -e "$TMP/new/registry.db.new" ] || [ -e "$TMP/new/registry.db" ]; do sleep 0.001; done
    kill -9 "$W" 2>/dev/null
    wait "$W" 2>/dev/null
    new init --user --listen 127.0.0.1:1 >"$TMP/new.2" 2>&1 || fail "init after one that was killed: $(cat "$TMP/new.2")"
    new list >/dev/null || fail "no registry after an init that was killed"
done
ok "neither a killed init nor a simultaneous init does harm"

gw backup "$TMP/backup.db" >/dev/null || fail "backup"
equal "$(sql "$TMP/backup.db" 'SELECT count(*) FROM device')" "$(sql "$DB" 'SELECT count(*) FROM device')" || fail "the backup lacks devices"
! gw backup "$TMP/backup.db" 2>/dev/null || fail "a backup was overwritten"
mkdir "$TMP/dash"
(cd "$TMP/dash" && ! gw backup - >/dev/null 2>"$TMP/dash.err" && gw metrics --file - | grep -q '^cmxsafe_gateway_up ' && gw backup ./- >/dev/null) || fail "wrong handling of the path '-' by backup or metrics"
grep -q "^cmxsafe: -: this command writes a file, not to standard output; give the name of a file, or ./- for" "$TMP/dash.err" && [ "$(ls -A "$TMP/dash")" = - ] || fail "the path '-': $(cat "$TMP/dash.err"; ls -A "$TMP/dash")"
# A backup that is killed leaves no file with the name of a backup, and does not hinder the next one, which removes the
# incomplete copy. It keeps the copy of a backup that is running.
cp -r "$GW" "$TMP/long" && rm -rf "$TMP/long/run" || fail "a copy of the gateway's folder"
sql "$TMP/long/registry.db" "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
    INSERT INTO event(id, at, what, who, detail) SELECT (SELECT max(id) FROM event) + i, 1, 'x', 'x', hex(randomblob(40)) FROM n" || fail "many events"
begun() { [ -e "$1" ] || compgen -G "$TMP/.cmxsafe-backup.*" >/dev/null; }
is_whole() { [ "$(sql "$1" 'PRAGMA integrity_check; SELECT count(*) > 300000 FROM event' | tr '\n' ' ')" = "ok 1 " ]; }
for _ in $(seq 20); do # on a busy machine a backup can end before it is killed
    rm -f "$TMP/killed.db"
    "$BIN/cmxsafe" gateway backup --dir "$TMP/long" "$TMP/killed.db" >/dev/null 2>&1 & W=$!
    until begun "$TMP/killed.db"; do sleep 0.001; done
    kill -9 "$W" 2>/dev/null
    wait "$W" 2>/dev/null
    [ -e "$TMP/killed.db" ] || break
    is_whole "$TMP/killed.db" || fail "a backup that was killed left an incomplete copy"
done
[ ! -e "$TMP/killed.db" ] || fail "no backup was killed"
compgen -G "$TMP/.cmxsafe-backup.*" >/dev/null || fail "nothing is left to remove"
: >"$TMP/.cmxsafe-backup.runs" && exec 7<"$TMP/.cmxsafe-backup.runs" && flock -n 7 || fail "a backup that runs"
"$BIN/cmxsafe" gateway backup --dir "$TMP/long" "$TMP/other.db" >/dev/null || fail "a backup to another file fails"
equal "$(compgen -G "$TMP/.cmxsafe-backup.*")" "$TMP/.cmxsafe-backup.runs" || fail "after a backup there is: $(ls -A "$TMP")"
exec 7<&-; rm "$TMP/.cmxsafe-backup.runs"
"$BIN/cmxsafe" gateway backup --dir "$TMP/long" "$TMP/killed.db" >/dev/null || fail "a backup fails after one that was killed"
is_whole "$TMP/killed.db" || fail "the backup after one that was killed is incomplete"
# Of two backups to one file, one fails, and leaves the other's copy.
"$BIN/cmxsafe" gateway backup --dir "$TMP/long" "$TMP/both.db" >/dev/null 2>&1 & W=$!
until begun "$TMP/both.db"; do sleep 0.001; done
copies=0
"$BIN/cmxsafe" gateway backup --dir "$TMP/long" "$TMP/both.db" >/dev/null 2>"$TMP/err" && copies=1
wait "$W" && copies=$((copies + 1))
equal "$copies" 1 || fail "not exactly one of two backups to one file succeeds: $(cat "$TMP/err")"
is_whole "$TMP/both.db" && ! compgen -G "$TMP/.cmxsafe-backup.*" >/dev/null || fail "two backups to one file leave $(ls -A "$TMP")"
(umask 0; gw backup "$TMP/open.db" >/dev/null) && equal 600 "$(stat -c %a "$TMP/open.db")" || fail "others can read a backup"
stop_gateway

# A killed writer leaves a journal, which SQLite applies to whatever file then has the registry's name.
leave_journal() {
    coproc WRITER { exec sqlite3 -cmd '.timeout 20000' "$DB"; }
    printf 'PRAGMA cache_size = 1; BEGIN IMMEDIATE; UPDATE device SET team = hex(randomblob(300)); SELECT 1;\n' >&"${WRITER[1]}"
    read -r -t 20 -u "${WRITER[0]}" _ && kill -9 "$WRITER_PID" && wait "$WRITER_PID" 2>/dev/null
    [ -s "$DB-journal" ] || fail "no journal"
}
leave_journal
tar -cf "$TMP/gateway.tar" -C "$GW" --exclude='./registry.*' --exclude=./run . || fail "tar"
awk '/^#/ && !code { found = $0 == "### Backup and restore" } /^```/ { code = !code; k += found && code; next } found && code && k == 2' "$ROOT/docs/GATEWAY.md" |
    grep -v '^systemctl\|^cmxsafe' | sed "s|/var/lib/cmxsafe/gateway|$GW|g; s|/root/registry-[^ ]*|$TMP/backup.db|; s|/root/gateway-[^ ]*|$TMP/gateway.tar|" >"$TMP/restore.sh"
equal "$(grep -c "$TMP/" "$TMP/restore.sh")" 3 || fail "the page has not the expected commands to restore a backup: $(cat "$TMP/restore.sh")"
bash -e "$TMP/restore.sh" && gw init --user >/dev/null || fail "the page's commands do not restore a backup"
sql "$DB" 'PRAGMA integrity_check' | grep -qx ok && equal "$(gw export | wc -l)" "$(sql "$TMP/backup.db" 'SELECT count(*) + 1 FROM device WHERE revoked IS NULL')" ||
    fail "the restored registry does not work"
leave_journal
rm "$DB"
gw init --user --listen 127.0.0.1:1 >/dev/null && equal "$(gw list | wc -l)" 1 || fail "a new registry beside the journal of a removed one does not work"
ok "a backup that is restored, or a new registry, after a writer was killed"
