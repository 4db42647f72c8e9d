#!/usr/bin/env bash
# The small deployment: one server, ports on its loopback, each one device's; the original's way of asking for them.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/gateway/lib.sh"
need_namespaces

P1=$(free_port) P2=$(free_port) P3=$(free_port)
start_gateway --simple
key a; key b; key p
gw enroll cam-17 --key "$TMP/a.pub" --ports "$P1,$P2" >"$TMP/enroll.out" || fail "enroll"
! grep -q remote_address "$TMP/enroll.out" || fail "an address in a small deployment"
! gw enroll cam-18 --key "$TMP/b.pub" --ports "$P2,$P3" 2>"$TMP/overlap.err" || fail "overlap was not refused"
grep -q "port $P2 is another device's" "$TMP/overlap.err" || fail "the message does not name the port"
gw enroll cam-18 --key "$TMP/b.pub" --ports "$P3" >/dev/null || fail "enroll"
ok "overlap is refused at enrolment"
web one
# Without an address, as the original asks; and by the names of the loopback.
client a -N -R "$P1:127.0.0.1:$WEB" -R "localhost:$P2:127.0.0.1:$WEB" & OLD=$!; PIDS+=("$OLD")
wait_for 20 listening "$P1" && wait_for 20 listening "$P2" || fail "no listeners"
[ "$(curl -s -m 10 "http://127.0.0.1:$P1/")" = one ] || fail "no answer"
! ss -Hltn "sport = :$P1" | grep -vE '127\.0\.0\.1:|\[::1\]:' || fail "a listener beyond the loopback"
ok "ports on the loopback"
refused() { local status=0; try_client "$@" </dev/null >/dev/null 2>&1 || status=$?; [ "$status" = 255 ] || fail "not refused: $*"; ok "refused: $*"; }
refused b -N -R "$P1:127.0.0.1:$WEB"
refused b -N -R "$((P3 + 1)):127.0.0.1:$WEB"
refused b -T true
refused b -W "127.0.0.1:$P1"
client b -N -R "0.0.0.0:$P3:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 listening "$P3" || fail "no listener"
! ss -Hltn "sport = :$P3" | grep -vE '127\.0\.0\.1:|\[::1\]:' || fail "a wildcard was granted"
ok "a wildcard ends up on the loopback"
gw platform vms --key "$TMP/p.pub" >/dev/null && gw grant vms "cam-17:$P1" >/dev/null || fail "platform"
printf 'GET / HTTP/1.0\r\n\r\n' | try_client p -W "localhost:$P1" 2>/dev/null | grep -q one || fail "the platform does not get in"
refused p -W "localhost:$P2"
! gw grant "user:$(id -un)" "cam-17:$P1" 2>/dev/null || fail "a local grant can't mean anything here"
# Takeover and revocation, here too.
kill -STOP "$OLD"; CLEANUP+=("kill -CONT $OLD 2>/dev/null")
web two
client a -N -R "$P1:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 sh -c "[ \"\$(curl -s -m 2 http://127.0.0.1:$P1/)\" = two ]" || fail "no takeover"
gw revoke cam-17 >/dev/null
wait_for 5 sh -c "! ss -Hltn 'sport = :$P1' | grep -q ." || fail "revoked, and still there"
ok "takeover and revocation"
stop_gateway

# systemd opens the socket: the first device starts the gateway.
if command -v systemd-socket-activate >/dev/null; then
    systemd-socket-activate -l "127.0.0.1:$GW_PORT" --setenv="CMXSAFE_GATEWAY=$GW" --setenv=HOME --setenv=PATH \
        "$BIN/cmxsafe" gateway serve 2>>"$TMP/gateway.log" & GW_PID=$!; PIDS+=("$GW_PID")
    wait_for 10 listening "$GW_PORT" || fail "systemd-socket-activate does not listen"
    client b -N -R "$P3:127.0.0.1:$WEB" & PIDS+=("$!")
    wait_for 20 connected cam-18 || fail "an inherited socket is not served"
    ok "a socket of systemd's"
    stop_gateway
fi

# Killed without a chance to clean up, at any instant of its start or after it, the gateway leaves no process behind.
of_ours() { grep -lzsx "CMXSAFE_GATEWAY=$GW" /proc/[0-9]*/environ | grep -v "/$$/" | cut -d/ -f3 | xargs -r ps -o comm= -p | grep -E 'cmxsafe|sshd'; }
none_of_ours() { ! of_ours >/dev/null; }
for delay in 0 0.01 0.02 0.05 0.1 0.2 up; do
    "$BIN/cmxsafe" gateway serve 2>>"$TMP/gateway.log" & GW_PID=$!; PIDS+=("$GW_PID")
    if [ $delay = up ]; then wait_for 20 gw status || fail "the gateway does not come up"; else sleep $delay; fi
    kill -KILL "$GW_PID"; wait "$GW_PID" 2>/dev/null
    wait_for 20 none_of_ours || fail "killed after $delay, and left: $(of_ours)"
done
ok "killed at any instant, it leaves nothing behind"
