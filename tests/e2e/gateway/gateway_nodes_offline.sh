#!/usr/bin/env bash
# A gateway does not report a device as away if it is connected to another gateway, but reports the devices of a gateway
# that is away itself.
. "$(dirname "$0")/../nodes_lib.sh"
fleet_of 1 2
for n in 1 2; do gwn $n init --offline-after 15s >/dev/null || fail "init"; done
key d; key x
gwn 1 enroll cam-1 --key "$TMP/d.pub" --ports 81 >/dev/null && gwn 1 enroll cam-2 --key "$TMP/x.pub" --ports 81 >/dev/null || fail "enroll"
away() { gwn 1 log "$1" | grep -q '  offline  *'"$1"'  .*for longer than 15s'; }
client_at 2 d -N & PIDS+=("$!")
client_at 2 x -N & X=$!; PIDS+=("$X")
wait_for 20 connected_at 2 cam-1 && wait_for 20 connected_at 2 cam-2 || fail "the devices do not connect"
stop "$X"
wait_for 60 away cam-2 || fail "a device that is away is not reported: $(gwn 1 log)"
sleep 22 # longer than the time, and than the interval at which absences are looked for
connected_at 2 cam-1 || fail "cam-1 is not connected"
! away cam-1 || fail "a device at another gateway counts as away: $(gwn 1 log)"
ok "a device that is connected to another gateway"

kill -KILL $(descendants "${SERVE_PID[2]}") "${SERVE_PID[2]}" 2>/dev/null # some end with their parents
wait_for 60 away cam-1 || fail "the device of a gateway that was killed is not reported: $(gwn 1 log)"
for device in cam-1 cam-2; do equal 1 "$(gwn 1 log "$device" | grep -c '  offline  ')" || fail "$(gwn 1 log)"; done
ok "a device of a gateway that is away"
