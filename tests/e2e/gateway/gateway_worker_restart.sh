#!/usr/bin/env bash
# A worker that was killed continues where it ended: the next one handles neither the journal's entries nor those of the
# audit trail twice, and leaves none out.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

start_gateway --offline-after 5s
record_events
event_count() { jq -n --arg e "$1" --arg n "$2" '[inputs] | map(select(.event == $e and .name == $n)) | length' "$TMP/events"; }
happened() { [ "$(event_count "$1" "$2")" -ge 1 ]; }
worker() { pgrep -f "gateway worker --dir $GW\$"; }
new_worker() { worker >"$TMP/worker" && [ "$(cat "$TMP/worker")" != "$WORKER" ]; }
evidence() { sql "$GW/registry.db" "SELECT (ends - given) || ' ' || trusted FROM evidence"; }
key cam-1
gw enroll cam-1 --key "$TMP/cam-1.pub" --ports 81 >/dev/null || fail "enroll"
head -c 65536 /dev/urandom >"$TMP/app.bin"
(cd "$TMP" && "$BIN/cmxsafe" image manifest --end 0x3f0000 app.bin) >"$TMP/manifest" || fail "manifest"
gw policy set cam-1 --manifest "$TMP/manifest" --max-age 1h --enforce no >/dev/null || fail "policy set"
sleep 2 # the first worker handles only entries of the audit trail after its start
client cam-1 -N & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 happened up cam-1 || fail "no event for a login: $(cat "$TMP/events")"
stop "$DEVICE"
wait_for 60 happened offline cam-1 || fail "no event for a device that is away: $(cat "$TMP/events")"
# Simulates a device that has given evidence since its login.
sql "$GW/registry.db" "INSERT OR REPLACE INTO evidence(device, given, ends, boot, boot_ends, trusted, reason, manifest)
    SELECT id, strftime('%s'), strftime('%s') + 3000, '', 0, 1, '', '' FROM device" || fail "evidence"
position_stored() { [ "$(sql "$GW/registry.db" "SELECT value > '' FROM meta WHERE key = 'worker_position'")" = 1 ]; }
wait_for 30 position_stored || fail "the worker's position is not stored"
sleep 11 # longer than the interval between writes of the position
for event in up down offline; do equal 1 "$(event_count $event cam-1)" || fail "$event: $(cat "$TMP/events")"; done
WORKER=$(worker)
kill -STOP "$WORKER"
gw grant user:0 cam-1:81 >/dev/null || fail "grant"
kill -KILL "$WORKER"
wait_for 20 new_worker || fail "no new worker"
wait_for 20 happened grant user:0 || fail "no event for a change while there was no worker: $(cat "$TMP/events")"
sleep 20 # by then, a device would be reported as away again
for event in up down offline; do equal 1 "$(event_count $event cam-1)" || fail "$event counts again: $(cat "$TMP/events")"; done
equal "3000 1" "$(evidence)" || fail "an old login counts again: $(evidence)"
ok "a killed worker"

# The same for the whole gateway. The device did not log in meanwhile.
stop "$GW_PID"
gw grant user:1 cam-1:81 >/dev/null || fail "grant"
serve_gateway
wait_for 20 happened grant user:1 || fail "no event for a change while no gateway ran: $(cat "$TMP/events")"
equal 1 "$(event_count grant user:0)" || fail "an event is repeated: $(cat "$TMP/events")"
ok "a stopped gateway"

# Hooks that always run do not keep the position from being stored.
stored() { sql "$GW/registry.db" "SELECT value FROM meta WHERE key = 'worker_position'" | cut -d ' ' -f "$1"; }
stored_beyond() { [ "$(stored 2)" -ge "$1" ]; }
last_event() { sql "$GW/registry.db" "SELECT max(id) FROM event"; }
printf '#!/bin/sh\ncat >>"%s"\nsleep 1\n' "$TMP/events" >"$GW/hooks.d/log"
gw grant user:2 cam-1:81 >/dev/null || fail "grant"
LAST=$(last_event)
for i in $(seq 100 199); do
    stored_beyond "$LAST" && break
    gw grant "user:$i" cam-1:81 >/dev/null || fail "grant"
    sleep 0.3
done
stored_beyond "$LAST" || fail "the position is not stored while hooks run: $(stored 1,2)"
WORKER=$(worker)
kill -KILL "$WORKER"
wait_for 20 new_worker || fail "no new worker"
gw grant user:4 cam-1:81 >/dev/null || fail "grant"
wait_for 60 happened grant user:4 || fail "no event after the new worker has started: $(cat "$TMP/events")"
equal 1 "$(event_count grant user:2)" || fail "an event is repeated: $(cat "$TMP/events")"
ok "hooks that always run"

# After a reboot, the journal may have the same numbers again.
printf '#!/bin/sh\ncat >>"%s"\n' "$TMP/events" >"$GW/hooks.d/log"
key cam-2
gw enroll cam-2 --key "$TMP/cam-2.pub" --ports 82 >/dev/null || fail "enroll"
LAST=$(last_event)
wait_for 60 stored_beyond "$LAST" || fail "the position is not stored: $(stored 1,2)"
WORKER=$(worker)
kill -STOP "$WORKER"
client cam-2 -N & PIDS+=("$!")
wait_for 20 connected cam-2 || fail "the device does not connect"
sql "$GW/registry.db" "UPDATE meta SET value = '$(($(stored 1) + 1)) $LAST 1 former-boot' WHERE key = 'worker_position'" || fail "the position"
kill -KILL "$WORKER"
wait_for 20 new_worker || fail "no new worker"
wait_for 20 happened up cam-2 || fail "no event for a login whose number a former boot used: $(cat "$TMP/events")"
ok "a number of a former boot"

# More entries at once than can wait in the worker.
sql "$GW/registry.db" "INSERT INTO event(at, what, who, detail) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
    SELECT 1, 'many', 'n' || i, '' FROM n" || fail "the events"
wait_for 60 happened many n200 || fail "no hook runs: $(cat "$TMP/events")"
! logged 'events are dropped' || fail "events are dropped"
ok "many entries"
stop_gateway
