#!/usr/bin/env bash
# An attacker who controls one gateway writes hostile bytes into every text of the shared registry. On the other
# gateways, no command prints control characters or characters that hide others, and no text becomes more than one word
# in the packet filter's rules or in the helper's line for sshd. The rows can still be changed and revoked.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../postgres_lib.sh"
need_namespaces
need_postgres

pg_create db
pg_start db
start_node one --registry "$(pg_url db)"
key a; key b; key c; key p
for k in a b c; do on one gw enroll "cam-$k" --key "$TMP/$k.pub" --ports 81 --group hall >/dev/null || fail "enroll"; done
on one gw platform vms --key "$TMP/p.pub" >/dev/null && on one gw grant vms cam-a:81 --for 1h --why audit >/dev/null && on one gw grant vms @hall:81 >/dev/null &&
    on one gw grant "user:$(id -un)" cam-b:81 >/dev/null && on one gw grant "user:$(id -un)" cam-c:81 >/dev/null || fail "grant"
GW_PORT=$GW_PORT_one
client c -N & PIDS+=("$!")
wait_for 20 on one connected cam-c || fail "no session"
A=$(on one address_of cam-a) B=$(on one address_of cam-b) C=$(on one address_of cam-c)

# Adds a row to each table, appends hostile bytes to each text outside the primary keys, and adds rows with hostile keys.
pg_sql db "BEGIN; SET search_path = cmxsafe; UPDATE registry SET revision = revision + 1;
    CREATE TEMP VIEW next AS SELECT revision AS rev FROM registry;
    INSERT INTO seen(device, at, source, firmware, told, client, revision) SELECT id, 5, 's', 'f', 0, 'c', rev FROM device, next WHERE name = 'cam-a' ON CONFLICT DO NOTHING;
    INSERT INTO attestation(device, at, verdict, detail, revision) SELECT id, 5, 'match', 'd', rev FROM device, next WHERE name = 'cam-a';
    INSERT INTO policy(id, kind, target, max_age, enforce, revision) SELECT 7, 'device', 'cam-a', 3600, 0, rev FROM next;
    INSERT INTO policy_manifest(policy, digest, path, revision) SELECT 7, repeat('0', 64), '/p', rev FROM next;
    INSERT INTO evidence(device, given, ends, boot, boot_ends, trusted, reason, manifest, revision) SELECT id, 5, 6, '', 0, 0, 'r', 'm', rev FROM device, next WHERE name = 'cam-a' ON CONFLICT DO NOTHING;
    INSERT INTO node(name, number, ssh, underlay, link_key, joined, revision) SELECT 'gw' || i, i, 'h', '192.0.2.' || i, '', 5, rev FROM next, generate_series(1, 2) i;
    INSERT INTO node_state(node, seen, sessions, version, revision) SELECT 'gw2', 5, 1, 'v', rev FROM next;
    INSERT INTO claim(address, node, sequence, since, revision) SELECT '$A', 'gw2', 1, 5, rev FROM next ON CONFLICT DO NOTHING;
    INSERT INTO campaign(id, name, state, reason, image, version, opaque, manifests, begins, made, parallel, first, stop_at, port, revision)
        SELECT 7, 'spring', 'stopped', 'r', repeat('1', 64), 'v', 0, repeat('2', 64), 5, 5, 1, 1, 1, 80, rev FROM next;
    INSERT INTO campaign_device(campaign, device, place, state, boot, tries, at, detail, revision) SELECT 7, id, 1, 'failed', 'b', 1, 5, 'd', rev FROM device, next WHERE name = 'cam-a';
    INSERT INTO tombstone(fingerprint, name, deleted, revision) SELECT 'SHA256:t', 'n', 5, rev FROM next;
    INSERT INTO event(id, at, what, who, detail, revision) SELECT 99999, 5, 'enroll', 'w', 'd', rev FROM next; COMMIT" >"$TMP/rows.log" 2>&1 || fail "rows: $(cat "$TMP/rows.log")"
cat >"$TMP/hostile.sql" <<'SQL'
DO $$
DECLARE c record; bad text := E'\x1b]0;x\x07\x1b[31m\u009b31m\r\n\t\u202e\u200b"''<script>{};$(id)' || repeat('A', 20000);
BEGIN
    SET LOCAL search_path = cmxsafe;
    UPDATE registry SET revision = revision + 1;
    FOR c IN SELECT k.table_name, k.column_name FROM information_schema.columns k WHERE k.table_schema = 'cmxsafe' AND k.data_type = 'text' AND k.table_name <> 'registry'
        AND k.column_name NOT IN ('kind', 'address') -- gateway_postgres_rows.sh
        AND NOT EXISTS (SELECT 1 FROM information_schema.key_column_usage u WHERE u.table_schema = 'cmxsafe' AND u.table_name = k.table_name AND u.column_name = k.column_name)
    LOOP
        EXECUTE format('UPDATE %I SET %I = %I || %L, revision = (SELECT revision FROM registry) WHERE %I IS NOT NULL AND NOT removed %s', c.table_name, c.column_name,
            c.column_name, bad, c.column_name,
            CASE WHEN c.table_name IN ('device') THEN 'AND name LIKE ''cam-a%''' WHEN c.table_name = 'meta' THEN 'AND false'
                WHEN c.table_name = 'key' THEN 'AND device = (SELECT id FROM device WHERE name LIKE ''cam-a%'')' WHEN c.table_name = 'consumer' THEN 'AND kind = ''platform''' WHEN c.table_name = 'node' THEN 'AND number = 2' ELSE '' END);
        RAISE NOTICE 'text %.%', c.table_name, c.column_name;
    END LOOP;
    INSERT INTO port(address, port, device, revision) SELECT '::1",command="id', 22, id, (SELECT revision FROM registry) FROM device WHERE name = 'cam-b';
    INSERT INTO direct(device, host, port, revision) SELECT id, E'h:1",command="id', 22, (SELECT revision FROM registry) FROM device WHERE name = 'cam-b';
    INSERT INTO direct(device, host, port, revision) SELECT id, E'h\nrestrict', 22, (SELECT revision FROM registry) FROM device WHERE name = 'cam-b';
    INSERT INTO claim(address, node, sequence, since, revision) SELECT E'::/0 max 0 as 1;\ninclude "/etc/passwd', 'gw2', 1, 5, revision FROM registry;
    INSERT INTO claim(address, node, sequence, since, revision) SELECT 'fd00::/0', 'gw2', 1, 5, revision FROM registry;
    INSERT INTO node(name, number, ssh, underlay, link_key, joined, revision) SELECT 'gw3:x', 3, 'h', '192.0.2.3', '', 5, revision FROM registry;
    NOTIFY cmxsafe;
END $$;
SQL
"$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 "$(pg_url db)" -f "$TMP/hostile.sql" 2>"$TMP/hostile.log" || fail "hostile rows: $(cat "$TMP/hostile.log")"
[ "$(grep -c 'NOTICE:  text' "$TMP/hostile.log")" -ge 35 ] || fail "too few texts: $(cat "$TMP/hostile.log")"
hostile_came() { [ -n "$(sql "$TMP/one/registry.db" "SELECT 1 FROM device WHERE name LIKE 'cam-a?%'")" ]; }
wait_for 20 hostile_came || fail "the gateway does not follow"
wait_for 10 node_logged one "texts in the shared registry have control or other unexpected characters" || fail "the gateway does not log the unexpected characters"
sql "$TMP/one/registry.db" "SELECT count(*) FROM port WHERE port = 22" >"$TMP/ports" && [ "$(cat "$TMP/ports")" = 0 ] || fail "a row with a hostile key is in the copy"
[ "$(sql "$TMP/one/registry.db" "SELECT count(*) FROM direct")" = 0 ] || fail "a host name with quotes or line breaks is in the copy"
ok "each text was written by another gateway: $(grep -c 'NOTICE:  text' "$TMP/hostile.log") columns"

# Gateway two uses the same registry but is not started: its commands read only its copy. It gets the node name gw1, for
# which the registry has a row.
on two gw init --user --listen 127.0.0.1:1 --host 127.0.0.1 --registry "$(pg_url db)" >"$TMP/init.out" || fail "init of two"
sql "$TMP/two/registry.db" "INSERT INTO meta(key, value) VALUES('node', 'gw1')"
NAME=$(on one gw list --json | jq -r '.[].name | select(startswith("cam-a"))')
case $NAME in *'?'*) ;; *) fail "the device's name: $NAME" ;; esac
cat >"$TMP/printable.py" <<'PY'
import sys, unicodedata
text = open(sys.argv[1], "rb").read().decode("utf-8") # fails if it is not UTF-8
bad = sorted({"U+%04X" % ord(c) for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co")})
if bad or len(text) > 1000000:
    sys.exit("%d characters, %s" % (len(text), bad))
PY
outputs=0
# printable NODE json|text COMMAND...: runs the command on NODE; fails unless its output is printable and, for json,
# valid JSON
printable() {
    local node=$1 how=$2
    shift 2
    on "$node" gw "$@" >"$TMP/printed" 2>"$TMP/printed.err" || fail "$*: $(head -c 500 "$TMP/printed.err")"
    for f in "$TMP/printed" "$TMP/printed.err"; do python3 "$TMP/printable.py" "$f" || fail "$* prints a control character"; done
    [ "$how" = text ] || json_is 'type == "array" or type == "object"' "$TMP/printed" >/dev/null || fail "$* prints no JSON"
    [ "$how" = text ] || ! jq -r '.. | strings' "$TMP/printed" | LC_ALL=C grep -q $'[\x01-\x08\x0b-\x1f\x7f]' || fail "$* has a control character in JSON"
    outputs=$((outputs + 1))
}
for n in one two; do
    CAMPAIGN=$(on $n gw campaign list --json | jq -r '.[0].name')
    for command in list "show $NAME" grant log "policy list" "policy show" "campaign list" "campaign show $CAMPAIGN" platform "whois $B" show; do
        # shellcheck disable=SC2086
        printable $n text $command
        # shellcheck disable=SC2086
        printable $n json $command --json
    done
    printable $n text hosts
    printable $n text export
    printable $n text metrics
done
printable two text nodes; printable two json nodes --json
printable one text status; printable one json status --json
ok "$outputs outputs of commands are printable"

# Checks the files that the gateway writes from the registry.
for f in hosts fleet.nft; do
    python3 "$TMP/printable.py" <(tr '\t' ' ' <"$TMP/one/$f") || fail "$f has a control character"
    lacks 'script>' "$TMP/one/$f" || fail "$f has a hostile text"
done
grep -q "$C" "$TMP/one/fleet.nft" || fail "the other grants are not in the rules"
"$BIN/cmxsafe-authkeys" "$TMP/one" "$(ssh-keygen -lf "$TMP/b.pub" | awk '{ print $2 }')" >"$TMP/line" || fail "sshd's helper fails for cam-b"
equal "$(wc -l <"$TMP/line")" 1 && grep -q "\\[$B\\]:81" "$TMP/line" && lacks 'command=' "$TMP/line" && lacks ':22"' "$TMP/line" || fail "the helper's line for cam-b has more than the device's ports: $(cat "$TMP/line")"
on one connected cam-c || fail "another device's session ended"
ok "no text of another gateway is more than a word in the files of sshd and the packet filter"

# This gateway can still revoke the hostile rows in PostgreSQL, and later changes still take effect.
on one gw revoke "$NAME" >/dev/null || fail "a device with a hostile name can't be revoked"
[ "$(pg_sql db "SELECT count(*) FROM cmxsafe.device WHERE revoked IS NOT NULL")" = 1 ] || fail "the revocation is not in PostgreSQL"
on one gw grant --remove "user:$(id -un)" cam-b:81 >/dev/null || fail "grant --remove"
on two gw revoke cam-c >/dev/null || fail "revoke fails at the other gateway"
wait_for 10 on one gone cam-c || fail "a revocation does not end the session"
ok "hostile rows can be revoked, and changes still take effect"
stop "$GW_PID_one"
no_sanitizer_report "$TMP/one.log" || fail "a sanitizer complains"
