#!/usr/bin/env bash
# Two gateways share one registry in PostgreSQL: a change on one takes effect on the other, even for live sessions.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../postgres_lib.sh"
need_namespaces
need_postgres

pg_create db
pg_start db
URL=$(pg_url db)
! on one gw init --user --registry "postgresql://cmxsafe:secret@127.0.0.1/x" 2>"$TMP/err" || fail "a password in the URL is accepted"
grep -q passfile "$TMP/err" || fail "the message does not name passfile: $(cat "$TMP/err")"
! on one gw init --user --registry "mysql://db/x" 2>"$TMP/err" || fail "another kind of URL is accepted"
[ ! -e "$TMP/one/registry.db" ] || fail "a failed init leaves a registry"
start_node one --registry "$URL"
start_node two --registry "$URL"
equal "$(on one gw show --json | jq -r .fleet)" "$(on two gw show --json | jq -r .fleet)" || fail "the two gateways have different fleets"
ok "two gateways of one fleet"

key a; key b; key p
on one gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
followed() { gw metrics | grep -q "^cmxsafe_gateway_registry_followed 1"; }
has() { on "$1" gw show "$2" --json >/dev/null 2>&1; }
lacks_device() { ! has "$@"; }
wait_for 20 has two cam-17 || fail "the other gateway does not know the device"
openssl rand -out "$TMP/hardware.bin" 32 && chmod 600 "$TMP/hardware.bin"
"$BIN/cmxsafe" identity public --key "$TMP/hardware.bin" >"$TMP/attest.pub" || fail "identity public"
on two gw enroll cam-18 --key "$TMP/b.pub" --attest-key "$TMP/attest.pub" --ports 81,8888 >/dev/null || fail "enroll fails at the other gateway"
wait_for 20 has one cam-18 || fail "the first gateway does not know the second's device"
ok "a device that one gateway enrols is known to the other"

# A revocation at one gateway ends the device's session at the other gateway.
GW_PORT=$GW_PORT_two
client a -N & PIDS+=("$!")
client b -N & PIDS+=("$!")
wait_for 20 on two connected cam-17 || fail "cam-17 does not connect to the gateway two"
wait_for 20 on two connected cam-18 || fail "cam-18 does not connect to the gateway two"
on one gw revoke cam-17 >/dev/null || fail "revoke"
wait_for 20 on two gone cam-17 || fail "the session of a revoked device stays at the other gateway"
on two connected cam-18 || fail "the other device's session ended, too"
GW_PORT=$GW_PORT_two
refused_login a -N || fail "a revoked device logs in at the other gateway"
node_logged two "its key was revoked" || fail "the reason is not logged"
ok "a revocation ends the session at the other gateway"

# Grants and their ends take effect at both gateways.
key p
on one gw platform vms --key "$TMP/p.pub" >/dev/null || fail "platform"
on one gw grant platform:vms cam-18:81 --for 20s --why test >/dev/null || fail "grant"
grants_are() { on "$1" gw grant --json | json_is "length == $2" >/dev/null; }
wait_for 20 grants_are two 1 || fail "the other gateway does not know the grant"
wait_for 30 grants_are two 0 || fail "the grant does not end at the other gateway"
wait_for 30 grants_are one 0 || fail "the grant does not end"
ok "a grant begins and ends at both gateways"

# A CA and a KRL that one gateway installs take effect at the other, even for live sessions.
key ca; key ann; key bo
ssh-keygen -q -s "$TMP/ca" -I ann -z 1 -n ann "$TMP/ann.pub" && ssh-keygen -q -s "$TMP/ca" -I bo -z 2 -n bo "$TMP/bo.pub" || fail "certificates"
on one gw platform corp --ca "$TMP/ca.pub" >/dev/null && on one gw grant ann@corp cam-18:81 >/dev/null && on one gw grant bo@corp cam-18:81 >/dev/null || fail "platform --ca"
principals() { on two gw platform --json | json_is 'map(select(.kind == "principal").name) == ["ann@corp", "bo@corp"]' >/dev/null; }
wait_for 10 principals || fail "the other gateway does not know the principals: $(on two gw platform)"
for k in ann bo; do client "$k" -o CertificateFile="$TMP/$k-cert.pub" -N & PIDS+=("$!"); done
wait_for 20 on two connected ann@corp && wait_for 20 on two connected bo@corp || fail "ann or bo does not connect to the gateway two"
echo 'serial: 1' | ssh-keygen -q -k -f "$TMP/krl" -s "$TMP/ca.pub" - && on one gw krl "$TMP/krl" >/dev/null || fail "krl"
wait_for 5 on two gone ann@corp || fail "a revoked certificate's session stays at the other gateway"
on two connected bo@corp || fail "the other certificate's session ended, too"
node_logged two "ann@corp from .*: ended: the KRL revokes" || fail "the reason is not logged"
sshd_has() { cmp -s "$TMP/krl" "$TMP/two/krl"; }
wait_for 10 sshd_has || fail "sshd has another KRL at the other gateway"
refused_login ann -o CertificateFile="$TMP/ann-cert.pub" -N || fail "a revoked certificate logs in at the other gateway"
on one gw revoke --platform corp >/dev/null && on one gw krl --remove >/dev/null || fail "revoke --platform"
wait_for 5 on two gone bo@corp || fail "a session of a removed CA stays at the other gateway"
ok "a CA and a KRL count at both"
logs_agree() { equal "$(on one gw log --json)" "$(on two gw log --json)"; }
wait_for 10 logs_agree || fail "the audit trails of the two gateways differ"
ok "one audit trail"

# Evidence that another gateway has verified permits connections here until it expires. cam-18 has an attestation key
# but sends no evidence, so that the workers of these two gateways store no verdict of their own.
on one gw grant "user:$(id -un)" cam-18:81 >/dev/null || fail "grant"
A18=$(on one address_of cam-18)
rules_have() { grep "elements\|dport\|saddr\|daddr" "$TMP/$1/fleet.nft" | grep -q "$A18"; }
rules_lack() { [ -s "$TMP/$1/fleet.nft" ] && ! rules_have "$1"; }
wait_for 10 rules_have two || fail "the grant is not in the other gateway's rules"
pg_change() { pg_sql db "BEGIN; UPDATE cmxsafe.registry SET revision = revision + 1; $1; NOTIFY cmxsafe; COMMIT"; }
NEXT="(SELECT revision FROM cmxsafe.registry)"
pg_change "INSERT INTO cmxsafe.policy(id, kind, target, max_age, enforce, revision) VALUES(1, 'device', 'cam-18', 3600, 1, $NEXT)" || fail "policy"
wait_for 10 rules_lack two || fail "a device in quarantine is in the rules"
pg_change "INSERT INTO cmxsafe.evidence(device, given, ends, boot, boot_ends, trusted, reason, revision)
    SELECT id, extract(epoch FROM now())::bigint, extract(epoch FROM now())::bigint + 3600, '', 0, 1, '', $NEXT FROM cmxsafe.device
    WHERE name = 'cam-18' ON CONFLICT(device) DO UPDATE SET trusted = 1, given = excluded.given, ends = excluded.ends, revision = excluded.revision" || fail "evidence"
wait_for 10 rules_have two || fail "trusted evidence does not permit connections"
pg_change "UPDATE cmxsafe.policy SET removed = true, revision = $NEXT" || fail "policy"
ok "evidence of another gateway decides about quarantine"

# Both gateways make ten changes at the same time: all take effect.
for n in one two; do
    for i in $(seq 10); do
        ssh-keygen -q -t ed25519 -N '' -f "$TMP/$n$i"
        on "$n" gw enroll "$n-$i" --key "$TMP/$n$i.pub" --ports 81 >>"$TMP/storm-$n.out" 2>&1 || fail "enroll fails beside many other changes: $(cat "$TMP/storm-$n.out")"
    done & PIDS+=("$!")
    eval "STORM_$n=$!"
done
wait "$STORM_one" || fail "changes of one"
wait "$STORM_two" || fail "changes of two"
all_there() { on "$1" gw list --json | json_is '[.[] | select(.name | test("^(one|two)-"))] | length == 20' >/dev/null; }
wait_for 10 all_there one || fail "changes are lost at one"
wait_for 10 all_there two || fail "changes are lost at two"
ok "simultaneous changes of two gateways"

# The same name is enrolled on both gateways at the same time: one command succeeds, and the other prints why it failed.
key x; key y
on one gw enroll rival --key "$TMP/x.pub" --ports 81 >"$TMP/rival-one.out" 2>&1 & A=$!
on two gw enroll rival --key "$TMP/y.pub" --ports 81 >"$TMP/rival-two.out" 2>&1 & B=$!
PIDS+=("$A" "$B")
wait "$A"; a=$?
wait "$B"; b=$?
[ $((a + b)) = 1 ] || fail "both or none enrolled the name: $a $b"
grep -qh "rival" "$TMP/rival-one.out" "$TMP/rival-two.out" || fail "the second gateway has no message"
ok "of two enrolments of one name, one succeeds and the other prints why it failed"

# The registry moves back to SQLite, and to PostgreSQL again: nothing is lost.
on two gw export >"$TMP/before.csv"
! on one gw migrate "${URL%/*}/other" 2>"$TMP/err" && grep -q "in PostgreSQL already, under another URL" "$TMP/err" || fail "migrates to a second database"
on one gw migrate "$URL" | grep -q "is in PostgreSQL already" || fail "migrate to the same database twice"
on two gw migrate sqlite >/dev/null || fail "migrate sqlite"
on two gw migrate sqlite | grep -q "is in this gateway's own SQLite file already" || fail "migrate sqlite twice"
on two gw export >"$TMP/after.csv"
equal "$(cat "$TMP/before.csv")" "$(cat "$TMP/after.csv")" || fail "migrating loses rows"
on two gw enroll alone --key "$TMP/p.pub" --ports 81 2>/dev/null && fail "another's key is enrolled"
key z
on two gw enroll alone --key "$TMP/z.pub" --ports 81 >/dev/null || fail "enroll in SQLite"
! on two gw migrate "$URL" 2>"$TMP/err" || fail "a second fleet is mixed into a registry"
grep -q "already holds a fleet's registry" "$TMP/err" || fail "the message is not clear: $(cat "$TMP/err")"
pg_sql db 'CREATE DATABASE second' || fail "createdb"
on two gw migrate "${URL%/*}/second" >/dev/null || fail "migrate to PostgreSQL"
on two gw export >"$TMP/again.csv"
lacks alone "$TMP/before.csv" && grep -q alone "$TMP/again.csv" || fail "the device is lost"
wait_for 10 on two followed || fail "the new registry is not followed"
ok "migrates to SQLite and to another database"

# The database is lost. One gateway creates a new database from its copy, and the others switch to the URL of the new
# database.
start_node three --registry "${URL%/*}/second"
pg_sql db 'DROP DATABASE second WITH (FORCE)' && pg_sql db 'CREATE DATABASE third' || fail "another database"
on two gw migrate sqlite --offline >/dev/null || fail "migrate sqlite --offline"
on two gw migrate "${URL%/*}/third" >/dev/null || fail "migrate to the new database"
key later; on two gw enroll later --key "$TMP/later.pub" --ports 81 >/dev/null || fail "enroll in the new database"
on two gw revoke alone >/dev/null || fail "revoke in the new database"
on three gw init --user --registry "${URL%/*}/third" >/dev/null || fail "the other gateway does not take the new database"
wait_for 20 on three followed || fail "the other gateway does not follow the new database"
equal "$(on three gw export)" "$(on two gw export)" || fail "the gateways differ"
prints_no "^alone " on three gw list || fail "a revocation in the new database is not known: $(on three gw list)"

# A column is dropped by hand: doctor and the next change report this. The tables are then replaced from the gateway's
# copy.
on two gw doctor | grep -q "^ok .*PostgreSQL has its tables" || fail "doctor: $(on two gw doctor)"
third() { "$PG_BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 "${URL%/*}/third" -c "$1"; }
third "ALTER TABLE cmxsafe.device DROP COLUMN name" || fail "drop"
on two gw doctor | grep -q "^bad .*PostgreSQL has its tables: PostgreSQL refused a statement (.*name.*); its tables were changed by hand" || fail "doctor does not find a dropped column: $(on two gw doctor)"
key more; ! on two gw enroll more --key "$TMP/more.pub" --ports 81 2>"$TMP/err" && grep -q "changed by hand: restore a backup in PostgreSQL, or replace them" "$TMP/err" || fail "no next step: $(cat "$TMP/err")"
# If the database no longer holds a registry, a repeated migrate does not report that the registry is in PostgreSQL
# already. status prints the whole reason.
on two gw migrate "${URL%/*}/third" | grep -q "^the registry is in PostgreSQL already$" || fail "migrate cannot be repeated"
third "DELETE FROM cmxsafe.registry; NOTIFY cmxsafe" || fail "delete"
! on two gw migrate "${URL%/*}/third" >/dev/null 2>"$TMP/err" && grep -q "holds no registry; restore a backup in PostgreSQL, or replace the registry as docs/SCALE_OUT.md describes" "$TMP/err" || fail "migrate to a lost registry: $(cat "$TMP/err")"
explained() { on two gw status | grep -q "$1.*docs/SCALE_OUT.md describes; all logins will be refused in "; }
wait_for 20 explained "holds no registry" || fail "status: $(on two gw status | head -1)"
third "ALTER TABLE cmxsafe.registry RENAME TO lost" || fail "rename"
wait_for 60 explained "changed by hand" || fail "status: $(on two gw status | head -1)"
on two gw migrate sqlite --offline >/dev/null && third "DROP SCHEMA cmxsafe CASCADE" && on two gw migrate "${URL%/*}/third" >/dev/null || fail "the tables can't be replaced"
on two gw enroll more --key "$TMP/more.pub" --ports 81 >/dev/null || fail "enroll in the replaced tables"
wait_for 20 has three more || fail "the other gateway does not follow the replaced tables"
stop "$GW_PID_one"; stop "$GW_PID_two"; stop "$GW_PID_three"

# migrate is killed while its commit in PostgreSQL waits for a standby that does not exist. PostgreSQL still gets the
# rows, but the gateway keeps using its own registry. After a change in this registry, migrate is
# repeated and replaces the rows.
on two gw migrate sqlite >/dev/null && pg_sql db 'CREATE DATABASE fourth' || fail "migrate sqlite"
pg_sql db "ALTER SYSTEM SET synchronous_standby_names = 'none'" && pg_sql db "SELECT pg_reload_conf()" >/dev/null || fail "standby"
CMXSAFE_GATEWAY=$TMP/two "$BIN/cmxsafe" gateway migrate "${URL%/*}/fourth" >/dev/null 2>&1 & MIGRATE=$!; PIDS+=("$MIGRATE")
commits() { [ "$(pg_sql db "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")" = 1 ]; }
wait_for 20 commits && kill -KILL "$MIGRATE" || fail "the commit does not wait for a standby"
wait "$MIGRATE" 2>/dev/null
pg_sql db "ALTER SYSTEM RESET synchronous_standby_names" && pg_sql db "SELECT pg_reload_conf()" >/dev/null || fail "no standby"
fourth() { "$PG_BIN/psql" -X -q -A -t "${URL%/*}/fourth" -c "$1" 2>/dev/null; }
committed() { [ "$(fourth "SELECT revision FROM cmxsafe.registry")" = 1 ]; }
wait_for 20 committed || fail "migrate was killed too early"
on two gw revoke more >/dev/null && on two gw delete more >/dev/null || fail "the killed migrate has moved the registry"
on two gw migrate "${URL%/*}/fourth" >/dev/null || fail "a killed migrate can't be repeated"
equal "$(fourth "SELECT count(*) FROM cmxsafe.device WHERE name = 'more' AND NOT removed")" 0 || fail "the first migrate's rows are left"
equal "$(fourth "SELECT count(*) FROM cmxsafe.device WHERE name = 'later' AND NOT removed")" 1 || fail "rows are lost"
for n in one two three; do no_sanitizer_report "$TMP/$n.log" || fail "a sanitizer complains"; done
ok "a lost database is replaced from a gateway's copy"
