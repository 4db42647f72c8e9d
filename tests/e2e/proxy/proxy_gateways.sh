#!/usr/bin/env bash
# A device with a list of gateways, which are real sshds. The device passes over a gateway that is down, refuses, drops
# packets or has a wrong host key, within a bounded time. It keeps a gateway that works, and moves when that gateway
# dies. All its sessions use the same gateway. It tries all addresses of a name, and accepts a new list at run time.
. "$(dirname "$0")/../lib.sh"
PROXY_DRIVER=proxy_run_hasty # a session counts as working after a second

S=$(free_port) R=$(free_port) D=$(free_port) CLOSED=$(free_port) HOLE=$(free_port)
client() { timeout 30 python3 "$ROOT/tests/e2e/client.py" "$@"; }
works() { client "$R" sink 1000; }
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"

# gateway NAME ADDRESS: starts an sshd on ADDRESS, with its log in NAME.log; sets NAME_AT and NAME_PID.
gateway() {
    local SSHD_PORT='' SSHD_ADDRESS=$2
    SSHD_PORT=$(free_port)
    : >"$TMP/sshd.log"
    start_sshd </dev/null
    mv "$TMP/sshd.log" "$TMP/$1.log" # sshd still writes to the renamed file
    declare -g "$1_AT=$2:$SSHD_PORT" "$1_PID=$SSHD_PID"
}
# again NAME: starts this gateway again on the same address and port.
again() {
    local at="$1_AT" SSHD_PORT SSHD_ADDRESS
    SSHD_ADDRESS=${!at%:*} SSHD_PORT=${!at#*:}
    start_sshd </dev/null
    declare -g "$1_PID=$SSHD_PID"
}
# die NAME: kills the gateway's listener and sessions, as if its machine had failed.
die() { local pid="$1_PID" p; for p in ${!pid} $(descendants "${!pid}"); do kill -KILL "$p"; done; wait "${!pid}" 2>/dev/null; }
# cut_sessions NAME: ends the gateway's sessions, but not its listener.
cut_sessions() { local pid="$1_PID" p; for p in $(descendants "${!pid}"); do kill -KILL "$p" 2>/dev/null; done; }
at() { status_is echo gateway "${!1%:*}" && status_is echo state up; }
seen() { grep -c -- "$1" "$TMP/proxy.log"; } # seen TEXT: counts lines of the engine's log
run() { : >"$TMP/proxy.log"; SSHD_PORT=22 start_proxy events=1 "$@" -- "echo,$S,$R,session=one" "back,$D,$S,direct=127.0.0.1,session=two"; }

gateway ONE 127.0.0.1
gateway TWO 127.0.0.2
# Fills the accept queue of a listener, so that the kernel drops the next SYN.
python3 -c "
import socket, time
s = socket.socket(); s.bind(('127.0.0.3', $HOLE)); s.listen(0)
held = []
for _ in range(4):
    c = socket.socket(); c.setblocking(False)
    try: c.connect(('127.0.0.3', $HOLE))
    except BlockingIOError: pass
    held.append(c)
print('full', flush=True); time.sleep(600)" >"$TMP/hole" & PIDS+=($!)
wait_for 10 grep -q full "$TMP/hole" || fail "the black hole is not ready"
HOLE_AT=127.0.0.3:$HOLE REFUSES_AT=127.0.0.4:$CLOSED

# wrong PORT: starts an sshd on 127.0.0.5 with another host key.
ssh-keygen -q -t ed25519 -N '' -f "$TMP/wrong_ed25519"
wrong() {
    sed -E "s/^(Port) .*/\\1 $1/; s/^(ListenAddress) .*/\\1 127.0.0.5/; s/host_ed25519/wrong_ed25519/" "$TMP/sshd_config" >"$TMP/wrong_config"
    /usr/sbin/sshd -D -e -f "$TMP/wrong_config" >>"$TMP/WRONG.log" 2>&1 & PIDS+=($!)
    WRONG_AT=127.0.0.5:$1
    wait_for 10 grep -q "istening on 127.0.0.5 port $1" "$TMP/WRONG.log" || fail "the sshd with the wrong key does not start"
}
wrong "$(free_port)"

# ---- gateways that do not work are passed over ----
run host="$REFUSES_AT > $ONE_AT"
wait_for 20 at ONE_AT || fail "refused: $(ask status)"
[ "$(seen "127.0.0.4: gateway connection: .*refused")" -ge 1 ] || fail "the refusing gateway is not named"
[ "$(seen "event session one up ok gateway=127.0.0.1")" = 1 ] || fail "the event does not name the gateway"
works || fail "no data"
quit_proxy; ok "refused: the next gateway"

run host="$HOLE_AT > $ONE_AT" login=2
wait_for 20 at ONE_AT || fail "black hole: $(ask status)"
[ "$(seen "127.0.0.3: gateway connection: ")" -le 2 ] || fail "the black hole was tried again before the next gateway"
quit_proxy; ok "black-holed: one attempt of login_timeout per session, then the next gateway"

run host="$WRONG_AT > $TWO_AT"
wait_for 20 at TWO_AT || fail "wrong key: $(ask status)"
[ "$(seen "127.0.0.5: HOST KEY NOT PINNED")" -ge 1 ] || fail "the wrong key is not reported"
lacks -E "Accepted|Failed|userauth" "$TMP/WRONG.log" || fail "a credential was offered to the wrong gateway"
quit_proxy; ok "wrong host key: no credential, the next gateway without the long wait"

run host="$HOLE_AT, $REFUSES_AT, $WRONG_AT > $TWO_AT" login=2
wait_for 40 at TWO_AT || fail "three of four: $(ask status)"
for bad in 127.0.0.3 127.0.0.4 127.0.0.5; do
    n=$(seen "one: $bad: ")
    [ "$n" -le 1 ] || fail "$bad was tried $n times by one session before the backup"
done
quit_proxy; ok "three broken gateways of four: each is tried at most once"

# ---- the device stays at a gateway that works, and leaves it when it dies ----
run host="$ONE_AT > $TWO_AT"
wait_for 20 at ONE_AT || fail "first: $(ask status)"
sleep 1.5 # the session counts as working now
client "$R" sink 300000000 >"$TMP/transfer" 2>&1 & TRANSFER=$!; PIDS+=("$TRANSFER")
moving() { [ "$(status_of echo out)" -gt 1000000 ] || [ "$(status_of echo in)" -gt 1000000 ]; }
wait_for 20 moving || fail "the transfer does not start: $(ask status)"
die ONE
wait_for 20 at TWO_AT || fail "no failover: $(ask status)"
wait "$TRANSFER" && fail "the transfer through the dead gateway reports no error"
wait_for 20 works || fail "no data through the second gateway: $(ask status)"
wait_for 20 status_is back state up || fail "the other session is not up: $(ask status)"
status_is back gateway 127.0.0.2 || fail "the device's sessions use two gateways: $(ask status)"
ok "a gateway dies during a transfer: all sessions move to the other one"

again ONE
sleep 1.5
at TWO_AT || fail "the device left a gateway that works: $(ask status)"
before=$(seen "event session one up ok")
cut_sessions TWO
more() { [ "$(seen "event session one up ok")" -gt "$before" ]; }
wait_for 20 more || fail "the session is not up again: $(ask status)"
wait_for 20 at TWO_AT || fail "a gateway that worked is not tried first: $(ask status)"
wait_for 20 works || fail "no data: $(ask status)"
quit_proxy; ok "when the first gateway is back, the device stays with the second, even if it loses its session"

# ---- one session survives on a gateway that accepts no new sessions ----
run host="$ONE_AT > $TWO_AT" keepalive=600 # no keepalive wakes the session that has to move
wait_for 20 at ONE_AT && wait_for 20 status_is back state up || fail "first: $(ask status)"
die TWO
LOST=$(pgrep -P "$ONE_PID" | head -n 1)
LEFT=$(pgrep -P "$ONE_PID" | tail -n 1)
[ "$LOST" != "$LEFT" ] || fail "one sshd process serves both sessions"
LEFT="$LEFT $(descendants "$LEFT")"
LOST="$LOST $(descendants "$LOST")"
kill -KILL "$ONE_PID" $LOST; wait "$ONE_PID" 2>/dev/null
lost() { { status_is echo state up && ! status_is back state up; } || { status_is back state up && ! status_is echo state up; }; }
wait_for 20 lost || fail "not exactly one of two sessions is up: $(ask status)"
searched() { [ "$(seen "127.0.0.2: gateway connection: ")" -ge 2 ]; }
wait_for 60 searched || fail "the other gateway is not tried: $(ask status)"
lost || fail "a session that works was ended without another gateway: $(ask status)"
again TWO
wait_for 60 at TWO_AT || fail "a session that survives keeps the others down: $(ask status)"
wait_for 20 status_is back state up && wait_for 20 status_is back gateway 127.0.0.2 || fail "not all sessions moved: $(ask status)"
wait_for 20 works || fail "no data: $(ask status)"
[ "$(seen "other sessions have moved to another gateway")" -ge 1 ] || fail "the log does not say why the session ended"
kill -KILL $LEFT 2>/dev/null
again ONE
quit_proxy; ok "sessions leave a gateway that accepts no new sessions as soon as another gateway accepts them"

# ---- silent ----
run host="$ONE_AT > $TWO_AT" keepalive=1 keepalive_max=3 login=2
wait_for 20 at ONE_AT || fail "first: $(ask status)"
wait_for 20 status_is back state up || fail "second session: $(ask status)"
sleep 1.5
SILENT="$ONE_PID $(descendants "$ONE_PID")"
PIDS+=($SILENT)
for p in $SILENT; do kill -STOP "$p"; done
wait_for 30 status_is back gateway 127.0.0.2 || fail "a silent gateway is not left: $(ask status)"
wait_for 20 status_is back state up || fail "the session is not up at the second gateway: $(ask status)"
for p in $SILENT; do kill -KILL "$p" 2>/dev/null; done
wait_for 20 at TWO_AT || fail "the other session: $(ask status)"
wait "$ONE_PID" 2>/dev/null
again ONE
ok "the sessions leave at once a gateway that no longer answers"

# ---- the list of gateways changes at run time ----
[ "$(ask host "$TWO_AT, $ONE_AT")" = "host ok" ] || fail "reconfigure"
wait_for 20 at TWO_AT || fail "the device left the gateway in use, although the new list contains it: $(ask status)"
[ "$(ask host "$ONE_AT")" = "host ok" ] || fail "reconfigure"
wait_for 20 at ONE_AT || fail "a list without the gateway in use: $(ask status)"
[ "$(ask host "gw, ,")" = "host invalid" ] || fail "a broken list is not refused: $(ask host "gw, ,")"
at ONE_AT || fail "a refused list changed something"
quit_proxy; ok "the list changes at run time; a broken one is refused"

# ---- each address of a name is tried ----
[ "$(id -u)" = 0 ] || { skip_part "a name with several addresses needs root for a mount namespace"; exit 0; }
gateway THREE 127.8.0.1 # glibc sorts the addresses that are nearest to the source address first (RFC 6724 rule 9), so this one is tried last
SAME=${THREE_AT#*:}
wrong "$SAME"
printf '127.0.0.1 localhost\n127.0.0.6 many.test\n127.0.0.5 many.test\n127.8.0.1 many.test\n' >"$TMP/hosts"
printf '#!/bin/sh\nexec unshare -m sh -c '"'"'mount --bind "$1" /etc/hosts && shift && exec "$@"'"'"' sh %q %q "$@"\n' \
    "$TMP/hosts" "$BIN/proxy_run_hasty" >"$TMP/driver"
chmod +x "$TMP/driver"
BIN=$TMP PROXY_DRIVER=driver
run host="many.test:$SAME"
wait_for 30 status_is echo state up || fail "no session by a name with three addresses: $(ask status)"
[ "$(seen "HOST KEY NOT PINNED")" -ge 1 ] || fail "the wrong address was not tried"
lacks -E "Accepted|Failed|userauth" "$TMP/WRONG.log" || fail "a credential was offered to the wrong gateway"
works || fail "no data: $(ask status)"
quit_proxy; ok "a name with three addresses: one refuses, one has a wrong key, the third works"
