#!/usr/bin/env bash
# A registry that can't be trusted lets nobody in, and says why. Writers that die leave it whole. A thousand enrolments.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/gateway/lib.sh"
need_namespaces

start_gateway
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
A=$(address_of cam-17)
may_log_in() { client a -N -R "[$A]:81:127.0.0.1:9" & local c=$!; PIDS+=("$c"); wait_for 20 connected cam-17; local r=$?; stop "$c"; wait_for 20 gone cam-17; return $r; }
nobody() { # nobody WHY: the login fails, and the gateway says why
    ! try_client a -N -R "[$A]:81:127.0.0.1:9" 2>/dev/null || fail "got in: $1"
    wait_for 10 logged "nobody gets in: .*$1" || fail "it is not said why: $1"
    ok "nobody gets in: $1"
}
may_log_in || fail "no login"
DB=$GW/registry.db
cp -p "$DB" "$TMP/good.db"
put_back() { cp "$TMP/good.db" "$TMP/copy.db"; cat "$TMP/copy.db" >"$DB"; }

mv "$DB" "$TMP/away.db"; nobody "no registry"; mv "$TMP/away.db" "$DB"
chmod 000 "$DB"; nobody "can't be opened"; chmod 640 "$DB"
head -c 4096 /dev/urandom | dd of="$DB" conv=notrunc status=none; nobody "damaged"; put_back
: >"$DB"; nobody "is not a registry"; put_back
sqlite3 "$DB" 'PRAGMA user_version = 99'; nobody "the registry has version 99"
gw list 2>"$TMP/newer.err" && fail "a newer registry is read"
grep -q "install the cmxsafe that wrote it" "$TMP/newer.err" || fail "the message does not say what to do"
put_back
# Somebody keeps it locked for good.
mkfifo "$TMP/hold"
sqlite3 "$DB" <"$TMP/hold" >"$TMP/holder.out" & HOLDER=$!; PIDS+=("$HOLDER")
exec 7>"$TMP/hold"
printf 'BEGIN EXCLUSIVE; SELECT 1;\n' >&7
wait_for 10 grep -q 1 "$TMP/holder.out" || fail "not locked"
nobody "is locked"
exec 7>&-
wait "$HOLDER"
may_log_in || fail "no login after all that"
gw status | grep -q "trouble: .* could not read the registry" || fail "status does not tell of the trouble"
gw doctor >"$TMP/doctor.out"; grep -q "^hint .*logins find the registry" "$TMP/doctor.out" || fail "the doctor does not see it"

# A thousand enrolments, from CSV, all or none.
# make_csv PREFIX N: as many devices with keys of their own.
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
[ "$(gw list --group lot-1 | grep -c '^dev-')" = 333 ] || fail "groups"
{ head -n 3 "$TMP/fleet.csv" | sed 's/dev-/new-/'; } >"$TMP/bad.csv"
! gw import "$TMP/bad.csv" 2>"$TMP/bad.err" || fail "keys of others were enrolled"
grep -q "line 2: this key is dev-0's" "$TMP/bad.err" || fail "the message does not name the line: $(cat "$TMP/bad.err")"
! gw list | grep -q "^new-" || fail "half an import"
gw export >"$TMP/export.csv"
[ "$(wc -l <"$TMP/export.csv")" = 1002 ] || fail "export"
CMXSAFE_GATEWAY=$TMP/second gw init --user --listen 127.0.0.1:1 --fleet "$(gw show --json | jq -r .fleet)" >/dev/null || fail "second init"
CMXSAFE_GATEWAY=$TMP/second gw import "$TMP/export.csv" >/dev/null || fail "import of an export"
[ "$(CMXSAFE_GATEWAY=$TMP/second gw export)" = "$(cat "$TMP/export.csv")" ] || fail "an export does not come back the same"
ok "a thousand enrolments, all or none, and back"

# Writers die at any moment: what is there is whole, and holds all that was reported as done.
for i in $(seq "${CMX_KILLS:-8}"); do
    make_csv "k$i" 199 >"$TMP/again.csv"
    : >"$TMP/done"
    "$BIN/cmxsafe" gateway import "$TMP/again.csv" >"$TMP/done" 2>/dev/null & W=$!
    python3 -c "import random, time; time.sleep(random.uniform(0.02, 0.5))"
    kill -9 "$W" 2>/dev/null
    wait "$W" 2>/dev/null
    n=$(gw list --json | jq "[.[] | select(.name | startswith(\"k$i-\"))] | length") || fail "the registry can't be read after kill -9"
    [ "$n" = 0 ] || [ "$n" = 199 ] || fail "kill -9 left $n of 199 devices"
    ! grep -q added "$TMP/done" || [ "$n" = 199 ] || fail "reported as done, and lost"
    sqlite3 "$DB" 'PRAGMA integrity_check' | grep -qx ok || fail "kill -9 damaged the registry"
done
may_log_in || fail "no login after the kills"
ok "kill -9 in the middle of writing leaves the registry whole"

gw backup "$TMP/backup.db" >/dev/null || fail "backup"
[ "$(sqlite3 "$TMP/backup.db" 'SELECT count(*) FROM device')" = "$(sqlite3 "$DB" 'SELECT count(*) FROM device')" ] || fail "the backup lacks devices"
! gw backup "$TMP/backup.db" 2>/dev/null || fail "a backup was overwritten"
stop_gateway
