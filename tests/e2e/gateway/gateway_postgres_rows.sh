#!/usr/bin/env bash
# Rows of the shared registry that a gateway's copy cannot store: they break a constraint, refer to a row that does not
# exist, or have a malformed address. Such rows permit nothing, `doctor` names them, and the gateway applies all other
# rows. A malformed row in a table that restricts access stops the gateway from applying any change.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../postgres_lib.sh"
need_namespaces
need_postgres

pg_create db
pg_start db
start_node one --registry "$(pg_url db)"
key a; key b; key x; key y
USER_NAME=$(id -un)
on one gw enroll cam-a --key "$TMP/a.pub" --ports 81 >/dev/null && on one gw grant "user:$USER_NAME" cam-a:81 >/dev/null || fail "enroll"
GW_PORT=$GW_PORT_one
client a -N & PIDS+=("$!")
wait_for 20 on one connected cam-a || fail "no session"
copied() { sql "$TMP/one/registry.db" "$1"; }
A_ID=$(copied "SELECT id FROM device WHERE name = 'cam-a'") CONSUMER=$(copied "SELECT id FROM consumer WHERE name = '$USER_NAME'")
[ -n "$A_ID" ] && [ -n "$CONSUMER" ] || fail "no ids"

# key_row KEY DEVICE: prints the SQL that adds this key to the device with the id DEVICE.
key_row() {
    echo "INSERT INTO key(fingerprint, device, type, blob, added, revision) SELECT '$(ssh-keygen -lf "$TMP/$1.pub" | awk '{ print $2 }')', $2,
        'ssh-ed25519', '$(awk '{ print $2 }' "$TMP/$1.pub")', 5, revision FROM registry;"
}
# write_rows SQL: changes rows of the registry as another gateway would.
write_rows() {
    pg_sql db "BEGIN; SET search_path = cmxsafe; UPDATE registry SET revision = revision + 1; $1 COMMIT; NOTIFY cmxsafe" >"$TMP/rows.log" 2>&1 ||
        fail "rows: $(cat "$TMP/rows.log")"
}
write_rows "INSERT INTO policy(id, kind, target, max_age, enforce, revision) SELECT 7, 'device', 'cam-a', 3600, 0, revision FROM registry;"
write_rows "ALTER TABLE device ALTER COLUMN name DROP NOT NULL;
    INSERT INTO device(id, name, address, enrolled, revision) SELECT 900, 'CAM-A', 'fd00::900', 5, revision FROM registry;
    $(key_row x 900)
    INSERT INTO port(address, port, device, revision) SELECT 'fd00::900', 81, 900, revision FROM registry;
    INSERT INTO grants(consumer, device, port, revision) SELECT $CONSUMER, 900, 81, revision FROM registry;
    INSERT INTO grants(consumer, device, port, revision) SELECT $CONSUMER, 901, 81, revision FROM registry;
    INSERT INTO device(id, name, address, enrolled, revision) SELECT 902, 'evil', 'fd00::/0', 5, revision FROM registry;
    $(key_row y 902)
    INSERT INTO device(id, name, address, enrolled, revision) SELECT 903, NULL, 'fd00::903', 5, revision FROM registry;
    INSERT INTO port(address, port, device, revision) SELECT 'fd00::904', 70000, $A_ID, revision FROM registry;
    INSERT INTO port(address, port, device, revision) SELECT 'FD00::904', 82, $A_ID, revision FROM registry;
    INSERT INTO consumer(id, kind, name, revision) SELECT 900, 'root', 'r', revision FROM registry;
    INSERT INTO node(name, number, ssh, underlay, link_key, joined, revision) SELECT 'gw99', 99, 'h', '192.0.2.9', '', 5, revision FROM registry;
    INSERT INTO claim(address, node, sequence, since, revision) SELECT 'fd00::/0', 'gw2', 1, 5, revision FROM registry;"
wait_for 20 node_logged one "malformed rows of the shared registry are left out: 13, the first is in claim" || fail "the gateway does not say so: $(cat "$TMP/one.log")"
none_came() {
    [ "$(sql "$TMP/$1/registry.db" "SELECT (SELECT count(*) FROM device WHERE id >= 900) + (SELECT count(*) FROM key WHERE device >= 900) + (SELECT count(*) FROM port WHERE device >= 900 OR port > 81)
        + (SELECT count(*) FROM grants WHERE device >= 900) + (SELECT count(*) FROM consumer WHERE id = 900) + (SELECT count(*) FROM node) + (SELECT count(*) FROM claim WHERE address LIKE '%/%')")" = 0 ]
}
none_came one || fail "a malformed row is in the copy"
for k in x y; do
    "$BIN/cmxsafe-authkeys" "$TMP/one" "$(ssh-keygen -lf "$TMP/$k.pub" | awk '{ print $2 }')" >"$TMP/line" 2>/dev/null
    [ ! -s "$TMP/line" ] || fail "the key $k of a malformed device logs in: $(cat "$TMP/line")"
done
lacks 'fd00::/0' "$TMP/one/fleet.nft" && lacks 'fd00::9' "$TMP/one/fleet.nft" || fail "a malformed row is in the rules"
on one connected cam-a || fail "another device's session ended"
ok "malformed rows are left out and permit nothing"

! on one gw doctor >"$TMP/doctor" 2>&1 || fail "doctor finds nothing"
grep -q "left out: 13, the first is in claim with address 'fd00::/0': its address is malformed" "$TMP/doctor" || fail "doctor: $(cat "$TMP/doctor")"
on one gw status | grep -q "warning: malformed rows of the shared registry are left out: 13" || fail "status: $(on one gw status)"
on one gw enroll cam-b --key "$TMP/b.pub" --ports 81 >/dev/null || fail "no change is possible"
start_node two --registry "$(pg_url db)"
none_came two || fail "a malformed row is in a new copy"
[ "$(sql "$TMP/two/registry.db" "SELECT id FROM device WHERE name = 'cam-a'")" = "$A_ID" ] || fail "a new copy lacks cam-a"
on two gw revoke cam-b >/dev/null || fail "revoke"
revoked_at_one() { [ -n "$(copied "SELECT 1 FROM device WHERE name = 'cam-b' AND revoked IS NOT NULL")" ]; }
wait_for 20 revoked_at_one || fail "the other rows are not followed"
ok "doctor and status name the malformed rows, and the other rows are followed"

# If two rows violate a unique constraint, the gateway's copy contains the older row, even after the gateway has
# replaced the whole table.
stop "$GW_PID_one"
serve_node one
wait_for 20 on one gw metrics >/dev/null || fail "no metrics"
followed() { on "$1" gw metrics | grep -q "^cmxsafe_gateway_registry_followed 1"; }
wait_for 20 followed one || fail "not followed after a restart"
[ "$(copied "SELECT id FROM device WHERE name = 'cam-a'")" = "$A_ID" ] && none_came one || fail "the older row is gone"
write_rows "DELETE FROM key WHERE device >= 900; DELETE FROM grants WHERE device >= 900; DELETE FROM port WHERE device >= 900 OR port > 81; DELETE FROM device WHERE id >= 900;
    DELETE FROM consumer WHERE id = 900; DELETE FROM node; DELETE FROM claim;"
stop "$GW_PID_one"
serve_node one
well_formed() { on one gw doctor >"$TMP/doctor" 2>&1; lacks "left out" "$TMP/doctor"; }
wait_for 20 well_formed || fail "doctor still complains: $(cat "$TMP/doctor")"
ok "doctor no longer names the rows that were removed"

# A malformed row in a table that restricts access: the gateway keeps its copy and applies no further change.
write_rows "UPDATE policy SET kind = 'x', revision = (SELECT revision FROM registry);"
wait_for 20 node_logged one "not followed: this gateway's copy can't store PostgreSQL's row in policy with id '[0-9]*': CHECK constraint failed" || fail "a lost policy is not reported: $(tail -n 5 "$TMP/one.log")"
[ "$(copied "SELECT kind FROM policy")" = device ] || fail "the policy is gone"
write_rows "UPDATE policy SET kind = 'device', revision = (SELECT revision FROM registry);"
wait_for 30 node_logged one "followed again" || fail "not followed again"
ok "while a policy is malformed, the gateway does not follow the registry"
stop "$GW_PID_one"
stop "$GW_PID_two"
no_sanitizer_report "$TMP/one.log" || fail "a sanitizer complains"
