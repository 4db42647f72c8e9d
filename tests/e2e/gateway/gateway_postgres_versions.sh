#!/usr/bin/env bash
# Gateways of two versions of cmxsafe with one registry, as during a rolling upgrade. The later version has one more
# table and more columns. Whichever version creates the registry, both versions work, a change on one gateway takes
# effect on the other, and no data of the later version is lost.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../postgres_lib.sh"
need_namespaces
need_postgres
NEXT=${CMX_BIN:-$ROOT/build/bin}/next
[ -x "$NEXT/cmxsafe" ] || fail "the build has no programs of a later version"

# version NODE FOLDER: makes the gateway NODE run the programs in FOLDER from its next start on.
version() { mkdir -p "$TMP/bin-$1" && cp --remove-destination "$2/cmxsafe" "$2/cmxsafe-authkeys" "$TMP/bin-$1/" || fail "cp"; }
NOW=$BIN
eval "own_$(declare -f on)"
on() { BIN=$TMP/bin-$1 own_on "$@"; }
start() { BIN=$TMP/bin-$1 start_node "$@"; }
again() { BIN=$TMP/bin-$1 serve_node "$1"; }
version one "$NOW"; version two "$NEXT"
schema_of() { pg_sql "$1" "SELECT schema FROM cmxsafe.registry"; }
followed() { on "$1" gw metrics | grep -q "^cmxsafe_gateway_registry_followed 1"; }
has() { on "$1" gw show "$2" --json >/dev/null 2>&1; }
# session NODE KEY DEVICE: logs the device in to NODE with KEY.
session() { (GW_PORT=$(eval "echo \$GW_PORT_$1"); client "$2" -N) & PIDS+=("$!"); wait_for 30 on "$1" connected "$3" || fail "$3 does not connect to $1"; }
granted() { on "$1" gw grant --json | json_is 'any(.[]; .device == $d)' --arg d "$2"; }
not_granted() { on "$1" gw grant --json | json_is 'all(.[]; .device != $d)' --arg d "$2"; }
# both_work A B: checks that a change on either gateway takes effect on the other, even for live sessions.
both_work() {
    local from to i=0
    for from in "$1" "$2"; do
        [ "$from" = "$1" ] && to=$2 || to=$1
        i=$((i + 1))
        key "$from$to"
        on "$from" gw enroll "cam-$from$to" --key "$TMP/$from$to.pub" --ports 81 >/dev/null || fail "enroll at $from"
        on "$from" gw grant "user:$(id -un)" "cam-$from$to:81" >/dev/null || fail "grant at $from"
        wait_for 20 has "$to" "cam-$from$to" && wait_for 20 granted "$to" "cam-$from$to" || fail "$to does not follow $from"
        session "$to" "$from$to" "cam-$from$to"
        on "$from" gw grant --remove "user:$(id -un)" "cam-$from$to:81" >/dev/null || fail "grant --remove fails at $from"
        wait_for 20 not_granted "$to" "cam-$from$to" || fail "$to keeps a grant that $from removed"
        on "$from" gw revoke "cam-$from$to" >/dev/null || fail "revoke at $from"
        wait_for 20 on "$to" gone "cam-$from$to" || fail "the session of a device that $from revoked continues at $to"
    done
}

# ---- a gateway of the later version joins a registry that this version created ----
pg_create db
pg_start db
start one --registry "$(pg_url db)"
key a
on one gw enroll cam-1 --key "$TMP/a.pub" --ports 81 >/dev/null && on one gw grant "user:$(id -un)" cam-1:81 >/dev/null || fail "enroll"
session one a cam-1
OLD=$(schema_of db)
start two --registry "$(pg_url db)"
equal "$(schema_of db)" "$((OLD + 1))" || fail "the later version does not add to the registry"
both_work one two
followed one && followed two || fail "a gateway does not follow the registry"
on one connected cam-1 || fail "a session ended because another gateway was upgraded"
ok "a later version beside this one: changes of each take effect at the other too"

# This version changes rows that have columns of the later version, and keeps those columns.
pg_sql db "BEGIN; UPDATE cmxsafe.registry SET revision = revision + 1;
    UPDATE cmxsafe.device SET future = 9, revision = (SELECT revision FROM cmxsafe.registry) WHERE name = 'cam-1';
    UPDATE cmxsafe.grants SET future = 'kept', revision = (SELECT revision FROM cmxsafe.registry) WHERE NOT removed;
    INSERT INTO cmxsafe.future(name, value, revision) SELECT 'x', 5, revision FROM cmxsafe.registry; NOTIFY cmxsafe; COMMIT" || fail "UPDATE"
added() { # added NODE NAME: succeeds if the copy on NODE has the data of the later version
    equal "$(sql "$TMP/$1/registry.db" "SELECT future FROM device WHERE name = '$2'; SELECT value FROM future; SELECT future FROM grants")" $'9\n5\nkept'
}
wait_for 20 added two cam-1 || fail "a gateway of the later version does not follow its own change"
on one gw rename cam-1 cam-9 >/dev/null && on one gw grant "user:$(id -un)" cam-9:81 --for 1h >/dev/null || fail "a change by this version fails"
wait_for 20 added two cam-9 || fail "this version loses what the later version added"
ok "this version keeps what the later version added"

# ---- the other gateway is upgraded, too ----
stop "$GW_PID_one"
version one "$NEXT"
again one
wait_for 30 followed one || fail "the upgraded gateway does not follow the registry"
wait_for 30 added one cam-9 || fail "the upgraded copy lacks what was added before: $(sql "$TMP/one/registry.db" "SELECT future FROM device")"
[ -s "$TMP/one/registry.db.v$OLD" ] || fail "no backup of the copy before its upgrade"
session one a cam-9
ok "a gateway that is upgraded has all that was added before"
stop "$GW_PID_one"; stop "$GW_PID_two"

# ---- a gateway of this version joins a registry that the later version created ----
version three "$NEXT"; version four "$NOW"
pg_create later
pg_start later
start three --registry "$(pg_url later)"
equal "$(schema_of later)" "$((OLD + 1))" || fail "a new registry has another version"
start four --registry "$(pg_url later)"
equal "$(schema_of later)" "$((OLD + 1))" || fail "an older program takes the registry back"
both_work three four
ok "this version joins a registry of a later one"
stop "$GW_PID_three"; stop "$GW_PID_four"
for n in one two three four; do no_sanitizer_report "$TMP/$n.log" || fail "a sanitizer complains"; done
