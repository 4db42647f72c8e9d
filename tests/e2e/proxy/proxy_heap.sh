#!/usr/bin/env bash
# A device that is short of heap refuses new connections, so that libssh still has memory. A new stream needs more free
# heap than a new connection of another kind. Streams that begin at the same time each need this amount. If open
# connections use up the heap, the device closes streams, the newest first. During an update it closes them earlier,
# while more heap is free.
. "$(dirname "$0")/../lib.sh"
S=$(free_port) STREAM=$(free_port) SOUND=$(free_port) WEB=$(free_port)
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
# With an idle timeout, a context's connections stay in the event loop, as all connections do on an ESP32. Only a
# connection in the loop can be closed to free memory.
start_proxy events=1 -- "stream,$S,$STREAM,high=1,idle=600,session=camera" "sound,$S,$SOUND,high=1,idle=600,session=microphone" "web,$S,$WEB"
up
client() { timeout 30 python3 "$ROOT/tests/e2e/client.py" "$@"; }
echoes() { client "$1" sink 1000 >/dev/null 2>&1; }
# hold PORT...: opens a connection to each port at the same time, keeps each until the device closes it, and then ends.
hold() {
    python3 -c 'import socket, sys
for s in [socket.create_connection(("127.0.0.1", int(port))) for port in sys.argv[1:]]:
    try:
        while s.recv(4096): pass
    except ConnectionError: pass' "$@" &
    HOLD=$!
    PIDS+=("$HOLD")
}
ends() { ! kill -0 "$1" 2>/dev/null; }
# streams FIELD: prints the sum of a field of the status of the two contexts with streams, each of which has its own session.
streams() { echo $(($(status_of stream "$1") + $(status_of sound "$1"))); }
streams_are() { [ "$(streams "$1")" = "$2" ]; }

echoes "$STREAM" && echoes "$WEB" || fail "no connection with enough heap"
hold "$STREAM"
wait_for 10 status_is stream open 1 || fail "the stream does not open"
first_number=$(status_of stream total)

ask heap 16383 >/dev/null
! echoes "$STREAM" && ! echoes "$WEB" || fail "a connection was accepted below the floor"
kill -0 "$HOLD" || fail "an open connection was closed"
ask heap 16384 >/dev/null
echoes "$WEB" || fail "no connection was accepted at the floor"
ask heap 49151 >/dev/null
! echoes "$STREAM" || fail "a stream was accepted although the floor would not remain"
ok "below the floor new connections are refused, and the open one stays"

FIRST=$HOLD
ask heap 50000 >/dev/null
sleep 2.1 # until the first stream has taken its memory
hold "$STREAM"
wait_for 10 status_is stream open 2 || fail "the second stream does not open"
SECOND=$HOLD
second_number=$(status_of stream total)
hold "$WEB"
wait_for 10 status_is web open 1 || fail "the connection does not open"
ask heap 12288 >/dev/null
sleep 1
status_is stream open 2 || fail "a stream was closed although the heap was not below the limit"
ask heap 12287 >/dev/null
wait_for 10 ends "$FIRST" || fail "the first stream stays while the heap runs out"
wait_for 10 ends "$SECOND" || fail "the second stream stays while the heap runs out"
kill -0 "$HOLD" || fail "a connection that is no stream was closed"
closed=$(sed -n 's/^event relay .* stream reverse closed number=\([0-9]*\) .*cause=no-memory$/\1/p' "$TMP/proxy.log" | xargs)
[ "$closed" = "$second_number $first_number" ] || fail "streams closed in this order: $closed"
ok "while the heap runs out, streams are closed and other connections stay"

ask heap 147455 >/dev/null # one byte too few for four streams and the floor
refused=$(streams refused)
hold "$STREAM" "$SOUND" "$STREAM" "$SOUND" "$STREAM"
wait_for 10 streams_are refused "$((refused + 2))" || fail "of five streams at the same time, $(($(streams refused) - refused)) were refused"
wait_for 10 streams_are open 3 || fail "$(streams open) of five streams are open"
echoes "$WEB" || fail "new streams keep out other connections"
sleep 2.1
ask heap 49152 >/dev/null
echoes "$STREAM" || fail "no stream was accepted after the others had allocated their memory"
ok "streams that begin at the same time are limited by what they will need"

ask heap 32767 >/dev/null
ask updating 1 >/dev/null
wait_for 10 streams_are open 0 || fail "a stream stays while an update needs the memory"
! echoes "$STREAM" || fail "a new stream was accepted"
echoes "$WEB" || fail "the update's kind of connection is refused"
ask heap 49152 >/dev/null
echoes "$STREAM" || fail "no stream with enough heap beside an update"
ask updating 0 >/dev/null
ask heap 100000 >/dev/null
hold "$STREAM"
wait_for 10 status_is stream open 1 || fail "no stream after the update"
ask heap 32767 >/dev/null
sleep 1
kill -0 "$HOLD" || fail "a stream was closed after the update"
ok "an update takes precedence over streams"
quit_proxy
