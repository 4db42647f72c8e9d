#!/usr/bin/env bash
# Each task of the worker runs even if another one fails: verdicts, times of connections, absences and hooks. A trigger in
# the registry makes one task fail, as a damaged table would.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

start_gateway --offline-after 5s
record_events
head -c 65536 /dev/urandom >"$TMP/app.bin"
(cd "$TMP" && "$BIN/cmxsafe" image manifest --end 0x3f0000 app.bin) >"$TMP/manifest" || fail "manifest"
for n in cam-1 cam-2; do
    key "$n"
    gw enroll "$n" --key "$TMP/$n.pub" --ports 81 >/dev/null || fail "enroll"
done

# fail_on TABLE [CONDITION]: makes every insert or update of a row of the table (that matches the condition) fail.
fail_on() {
    sql "$GW/registry.db" "CREATE TRIGGER i BEFORE INSERT ON $1 WHEN ${2:-1} BEGIN SELECT RAISE(ABORT, 'injected $1'); END;
        CREATE TRIGGER u BEFORE UPDATE ON $1 WHEN ${2:-1} BEGIN SELECT RAISE(ABORT, 'injected $1'); END" || fail "the triggers"
}
heal() { sql "$GW/registry.db" "DROP TRIGGER i; DROP TRIGGER u" || fail "the triggers"; }
fails() { wait_for 30 logged "gateway: the worker: .*injected $1" || fail "no task fails: $(cat "$TMP/gateway.log")"; }
standing() { gw policy show --json | jq -r --arg n "$1" '.[] | select(.device == $n) | .standing + " " + .reason'; }
judged() { [[ "$(standing "$1")" == "QUARANTINED its attestation key is not known"* ]]; }
was_seen() { [ "$(sql "$GW/registry.db" "SELECT count(*) FROM seen JOIN device d ON d.id = device WHERE d.name = '$1'")" = 1 ]; }
start() { client "$1" -N & DEVICE=$!; PIDS+=("$DEVICE"); wait_for 20 connected "$1" || fail "no login of $1"; }
await_hooks

# The times of connections can't be stored.
fail_on seen
start cam-1
fails seen
gw policy set cam-1 --manifest "$TMP/manifest" --max-age 60s --enforce yes >/dev/null || fail "policy set"
wait_for 30 judged cam-1 || fail "no verdict is stored while the times of connections can't be: $(gw policy show)"
wait_for 30 event quarantine cam-1 || fail "no hook runs while the times of connections can't be stored: $(cat "$TMP/events")"
heal
wait_for 30 was_seen cam-1 || fail "the times of connections are not stored later"
ok "the other tasks continue while the times of connections can't be stored"

# Absences can't be reported. cam-1 is away, but this can't be reported.
fail_on event "NEW.what = 'offline'"
stop "$DEVICE"
fails event
start cam-2
wait_for 30 was_seen cam-2 || fail "the times of connections are not stored while absences can't be reported"
gw policy set cam-2 --manifest "$TMP/manifest" --max-age 60s --enforce yes >/dev/null || fail "policy set"
wait_for 30 judged cam-2 && wait_for 30 event quarantine cam-2 || fail "no verdict, or no hook, while absences can't be reported: $(gw policy show; cat "$TMP/events")"
sleep 12 # longer than the interval at which absences are looked for
equal 1 "$(grep -c 'injected event' "$TMP/gateway.log")" || fail "a failure is logged more than once: $(cat "$TMP/gateway.log")"
heal
wait_for 40 event offline cam-1 || fail "the absence is not reported later: $(cat "$TMP/events")"
ok "other tasks continue while absences can't be reported"

# Verdicts can't be stored.
fail_on evidence
gw policy set cam-2 --manifest "$TMP/manifest" --max-age 90s --enforce yes >/dev/null || fail "policy set"
stop "$DEVICE"; start cam-2
fails evidence
stop "$DEVICE"
wait_for 60 event offline cam-2 || fail "absences are not reported while verdicts can't be stored: $(cat "$TMP/events")"
heal
wait_for 30 judged cam-2 || fail "the verdict is not stored later: $(gw policy show)"
ok "the other tasks continue while verdicts can't be stored"

# The gateway's lock can't be opened, so nothing is stored; hooks run nevertheless.
gw grant user:0 cam-1:81 >/dev/null || fail "grant"
wait_for 20 event grant user:0 || fail "no event for a grant"
replace_lock() { rm -f "$GW/apply.lock" && mkdir "$GW/apply.lock"; } # fails if the worker creates the lock in between
wait_for 10 replace_lock || fail "apply.lock"
start cam-1
wait_for 20 logged "gateway: the worker: .*apply.lock" || fail "no task fails: $(cat "$TMP/gateway.log")"
sql "$GW/registry.db" "INSERT INTO event(at, what, who, detail) VALUES(1, 'injected', 'x', '')" || fail "the event"
wait_for 20 event injected x || fail "no hook runs while the gateway can't be locked: $(cat "$TMP/events")"
rmdir "$GW/apply.lock"
ok "hooks run while the gateway's lock can't be opened"
stop_gateway
