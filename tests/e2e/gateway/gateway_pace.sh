#!/usr/bin/env bash
# If devices share one source address, failed logins by some must not lock the others out. A frozen device loses its
# session within a minute if clients keep connecting to its port.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

start_gateway
key good; key old; key new; key stranger
gw enroll cam-1 --key "$TMP/good.pub" --ports 81 >/dev/null && gw enroll cam-2 --key "$TMP/old.pub" --ports 81 >/dev/null || fail "enroll"
gw rotate cam-2 --key "$TMP/new.pub" >/dev/null || fail "rotate"

login() { try_client "$1" -N -o ConnectTimeout=5 2>/dev/null; }
# in_ KEY DEVICE: succeeds if DEVICE can log in with KEY.
in_() { local pid; client "$1" -N & pid=$!; PIDS+=("$pid"); wait_for 15 connected "$2"; local ok=$?; stop "$pid"; wait_for 10 gone "$2"; return $ok; }
in_ good cam-1 || fail "the good device cannot log in"

# Failed logins with an unknown key exceed the source's limit. A device has logged in from this source, so its
# connections are slowed, but not refused.
fail_logins '127.0.0.1: many of its logins failed; its connections are slowed' stranger -N || fail "the log does not name the source"
in_ good cam-1 || fail "the good device is refused: $(gw status --json)"
gw status --json | json_is '.counters.refused_penalty == 0' || fail "connections were refused: $(gw status --json)"
ok "a source with a good login is slowed, never refused"
stop_gateway

# For a source without a successful login, a failed login with a device's replaced key adds much less to the source's
# penalty than a login with an unknown key.
serve_gateway
for i in $(seq 10); do login old; done
in_ good cam-1 || fail "ten logins with a replaced key kept a good device out"
stop_gateway
serve_gateway
fail_logins 'its connections are refused for now' stranger -N || fail "a source that only fails is not refused"
gw status --json | json_is '.counters.refused_penalty > 0' || fail "no connection was refused"
ok "a replaced key has a smaller penalty than an unknown key, whose source is refused after several tries"
stop_gateway

# Clients connect to the service of a frozen device again and again. The device's session must end within a minute.
serve_gateway
A=$(address_of cam-1)
gw grant "user:$(id -un)" cam-1:81 >/dev/null || fail "grant"
web hello
client good -N -R "[$A]:81:127.0.0.1:$WEB" & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 answers http://cam-1.cmx:81/ hello || fail "the device does not answer"
kill -STOP "$DEVICE"
CLEANUP+=("kill -CONT $DEVICE 2>/dev/null")
frozen=$SECONDS
while connected cam-1 && [ $((SECONDS - frozen)) -lt 60 ]; do fetch -m 1 http://cam-1.cmx:81/ >/dev/null 2>&1; done
gone cam-1 || fail "a frozen device keeps its session while its port is polled"
logged 'its peer has been silent for too long' || fail "the log does not say why the session ended"
kill -CONT "$DEVICE"
ok "a frozen device whose port is polled loses its session"
stop_gateway

# The number of sessions is limited by the number of files that the process may open. Further connections wait, and the
# gateway stays responsive.
( ulimit -n 280 && exec "$BIN/cmxsafe" gateway serve 2>>"$TMP/gateway.log" ) & GW_PID=$!; PIDS+=("$GW_PID")
wait_for 20 gw status || fail "the gateway does not come up"
sessions() { gw status --json | jq '.sessions | length'; }
has_sessions() { [ "$(sessions)" = "$1" ]; }
clients=()
for i in $(seq 12); do client good -N 2>/dev/null & clients+=("$!"); PIDS+=("$!"); done
wait_for 30 has_sessions 12 || fail "$(sessions) sessions instead of 12"
for i in $(seq 4); do client good -N 2>/dev/null & PIDS+=("$!"); done
wait_for 10 logged 'new connections wait: 12 sessions use up the 280 files' || fail "the log does not say why connections wait"
server=$(gw status --json | jq .pid)
ticks() { awk '{print $14 + $15}' "/proc/$server/stat"; }
before=$(ticks); sleep 3
[ $(($(ticks) - before)) -lt 100 ] || fail "the server is busy while connections wait: $(($(ticks) - before)) ticks in 3 s"
has_sessions 12 || fail "more sessions than the number of open files permits"
for i in "${clients[@]}"; do kill "$i" 2>/dev/null; done
some_more() { local n; n=$(sessions); [ "$n" -gt 0 ] && [ "$n" -le 4 ]; }
wait_for 20 some_more || fail "connections that waited do not log in: $(sessions)"
ok "connections wait when the sessions use up the files that the process may open"
stop_gateway
