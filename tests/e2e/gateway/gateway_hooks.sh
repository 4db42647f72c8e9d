#!/usr/bin/env bash
# Programs in hooks.d get one line of JSON for each event. A program that hangs, or that other users may change, does
# not disturb the other programs.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

start_gateway --offline-after 5s
mkdir "$GW/hooks.d"
printf '#!/bin/sh\ncat >>"%s"\n' "$TMP/events" >"$GW/hooks.d/10-log"
printf '#!/bin/sh\ntouch "%s"\n' "$TMP/foreign" >"$GW/hooks.d/30-foreign"
chmod 755 "$GW/hooks.d/10-log"; chmod 777 "$GW/hooks.d/30-foreign"
: >"$TMP/events"
logged_up() { [ "$(tail -n 1 "$TMP/events" | jq -r .event)" = up ]; }
key a
await_hooks
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 --group cameras >/dev/null || fail "enroll"
A=$(address_of cam-17)
client a -N -R "[$A]:81:127.0.0.1:9" & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 event up cam-17 || fail "no event for a login: $(cat "$TMP/events")"
stop "$DEVICE"
wait_for 40 event down cam-17 || fail "no event for the end of a session: $(cat "$TMP/events")"
gw grant user:0 cam-17:81 --for 2s --why 'a "quoted" reason' >/dev/null || fail "grant"
wait_for 40 event grant user:0 && wait_for 40 event expire user:0 || fail "no event for a grant that ended: $(cat "$TMP/events")"
[ "$(jq -n '[inputs] | map(select(.event == "grant")) | .[0].detail | contains("a \"quoted\" reason")' "$TMP/events")" = true ] || fail "wrong reason: $(cat "$TMP/events")"
ok "events reach the hooks"

# A refused connection causes an event only if the consumer's grant for it has ended.
key v
client a -N -R "[$A]:81:127.0.0.1:9" & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 connected cam-17 || fail "no login"
wait_for 40 logged_up && : >"$TMP/events" # wait for the event that the device is online
gw platform vms --key "$TMP/v.pub" >/dev/null && gw grant vms cam-17:81 --for 2s >/dev/null || fail "platform"
refused_open v -W cam-17.cmx:82 || fail "another port is reached"
wait_for 40 event expire platform:vms || fail "the grant does not end"
refused_open v -W cam-17.cmx:81 || fail "a grant that ended is honoured"
wait_for 40 event used-after-end platform:vms || fail "no event for a grant that is used after its end: $(cat "$TMP/events")"
[ "$(jq -n '[inputs] | map(select(.event == "used-after-end")) | map(.detail) | unique | join(" ")' "$TMP/events")" = '"cam-17:81"' ] || fail "the service: $(cat "$TMP/events")"
# Two live devices use the same key: this conflict causes an event.
refused_listen a -N -R "[$A]:81:127.0.0.1:9" || fail "two devices have the same port"
wait_for 40 event key-conflict cam-17 || fail "no event for a key conflict: $(cat "$TMP/events")"
# An update that an operator starts with `update` fails: this failure causes an event. gateway_campaign.sh tests updates by
# the worker.
"$BIN/cmxsafe-board" image --version 2.0.0 "$TMP/image.bin" >/dev/null || fail "image"
! gw update cam-17 --port 81 -- "$TMP/image.bin" --quiet >/dev/null 2>&1 || fail "an update succeeds although the device has no update service"
wait_for 40 event update-failed cam-17 || fail "no event for a failed update: $(cat "$TMP/events")"
# A device that is offline for longer than 5 s causes only one event until it is online again.
[ "$(grep -c '"offline"' "$TMP/events")" = 0 ] || fail "a connected device counts as away: $(cat "$TMP/events")"
stop "$DEVICE"
wait_for 60 event offline cam-17 || fail "no event for a device that is away: $(cat "$TMP/events")"
sleep 12
[ "$(grep -c '"offline"' "$TMP/events")" = 1 ] || fail "more than one event: $(grep offline "$TMP/events")"
gw log cam-17 | grep -q 'offline .*for longer than 5s' || fail "log: $(gw log cam-17)"
ok "conflicts, late uses, failed updates and absences are events"
# Simulates a clock that was a day ahead when the gateway wrote these times, and was then set back.
sql "$GW/registry.db" "UPDATE seen SET at = at + 86400, told = 0; UPDATE event SET at = at + 86400 WHERE what = 'used-after-end'" || fail "sql"
: >"$TMP/events"
refused_open v -W cam-17.cmx:81 || fail "a grant that ended is honoured"
wait_for 40 event used-after-end platform:vms || fail "after the clock was set back there is no event for a late use: $(cat "$TMP/events")"
wait_for 40 event offline cam-17 || fail "after the clock was set back there is no event for a device that is away: $(cat "$TMP/events")"
ok "incidents after the clock was set back"

# A program that fails or cannot be executed is logged; doctor names the files that are not run.
printf '#!/bin/sh\r\ntrue\r\n' >"$GW/hooks.d/15-crlf"; printf '#!/bin/sh\nexit 3\n' >"$GW/hooks.d/16-fails"; chmod 755 "$GW/hooks.d/"1?-*
gw grant user:1 cam-17:81 >/dev/null || fail "grant"
wait_for 20 logged 'hooks.d/15-crlf: can.t be executed (No such file or directory); check its first line' && wait_for 20 logged 'hooks.d/16-fails: failed with exit status 3' ||
    fail "a hook that fails is not logged"
doctor_says() { gw doctor | grep -q "^hint  every file in hooks.d is run for events: $1"; }
doctor_says "hooks.d/30-foreign: it is writable by others; run 'chmod go-w' on it" || fail "doctor: $(gw doctor)"
chmod 644 "$GW/hooks.d/30-foreign"; doctor_says "hooks.d/30-foreign: it is not executable; run 'chmod u+x' on it, or remove it" || fail "doctor: $(gw doctor)"
rm "$GW/hooks.d/30-foreign"; ln -s 10-log "$GW/hooks.d/30-link"; doctor_says "hooks.d/30-link: it is not a regular file; copy the program into hooks.d" || fail "doctor: $(gw doctor)"
rm "$GW/hooks.d/30-link"; gw doctor | grep -q '^ok    every file in hooks.d is run' || fail "doctor: $(gw doctor)"
ok "programs that fail, and files that are not run, are reported"

printf '#!/bin/sh\nexec sleep 1000\n' >"$GW/hooks.d/20-hang"; chmod 755 "$GW/hooks.d/20-hang"
client a -N -R "[$A]:81:127.0.0.1:9" & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 connected cam-17 && stop "$DEVICE" || fail "login"
hanging() { ps -o args= -p "$(descendants "$GW_PID" | paste -sd ,)" | grep -cx 'sleep 1000'; }
wait_for 20 hanging || fail "no hook is hanging, so the check below proves nothing"
sleep 2
[ ! -e "$TMP/foreign" ] || fail "a program that everybody may change was run"
[ "$(hanging)" -le 4 ] || fail "too many hooks run at the same time"
wait_for 40 logged 'hooks.d/20-hang: took longer than 10 s and was ended' || fail "a hook that is ended is not logged"
gw list >/dev/null && client a -N -R "[$A]:81:127.0.0.1:9" & PIDS+=("$!")
wait_for 20 connected cam-17 || fail "a hook that hangs keeps a device out"
ok "hooks are bounded"
stop_gateway
