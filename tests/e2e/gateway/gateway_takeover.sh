#!/usr/bin/env bash
# A device that reconnects while its old session is frozen gets its ports back at most two seconds later than at a plain
# login. Another login with the same key never ends a live session. Revocation, key rotation and changed ports end live
# sessions at once.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

start_gateway
key a; key b; key c; key ref
gw enroll cam-17 --key "$TMP/a.pub" --ports 81,8989 >/dev/null || fail "enroll"
gw grant "user:$(id -un)" cam-17 >/dev/null
A=$(address_of cam-17)
web one; WEB1=$WEB
web two; WEB2=$WEB
now_ms() { date +%s%3N; }

client a -N -R "[$A]:81:127.0.0.1:$WEB1" & OLD=$!; PIDS+=("$OLD")
client a -N -R "[$A]:8989:127.0.0.1:$WEB1" & OTHER=$!; PIDS+=("$OTHER")
wait_for 20 answers http://cam-17.cmx:81/ one && wait_for 20 answers http://cam-17.cmx:8989/ one || fail "the device's sessions are not up"
ok "one device, two sessions with the same key"

# Another client logs in with the same key while the device is alive: its request for the port is refused, and the device keeps the port.
refused_listen a -N -R "[$A]:81:127.0.0.1:$WEB2" || fail "a second holder of the key gets the port of a live session"
answers http://cam-17.cmx:81/ one || fail "the live session lost its port"
wait_for 10 logged "refused port 81: a live session holds it" || fail "the refused port is not logged"
kill -0 "$OLD" 2>/dev/null || fail "the live session was ended"
ok "a live session keeps its port, and the attempt is logged"

# plain_login: sets plain to the duration in ms of a login that takes over no session.
gw enroll cam-18 --key "$TMP/ref.pub" --ports 81 >/dev/null || fail "enroll"
REF=$(address_of cam-18)
gw grant "user:$(id -un)" cam-18 >/dev/null
plain_login() {
    local start pid
    start=$(now_ms)
    client ref -N -R "[$REF]:81:127.0.0.1:$WEB1" & pid=$!; PIDS+=("$pid")
    wait_for 20 answers http://cam-18.cmx:81/ one || fail "no plain login"
    plain=$(($(now_ms) - start))
    kill "$pid"
    wait_for 20 gone cam-18 || fail "a session that ended is still listed"
}

# take_over TEXT PORT: freezes the client OLD and logs in again with a forward to the service on PORT, which answers TEXT.
# Sets took to the time in ms that the takeover needs beyond a plain login. Sets OLD to the new client.
take_over() {
    plain_login
    kill -STOP "$OLD"
    CLEANUP+=("kill -CONT $OLD 2>/dev/null")
    local start
    start=$(now_ms)
    client a -N -R "[$A]:81:127.0.0.1:$2" & OLD=$!; PIDS+=("$OLD")
    wait_for 20 answers http://cam-17.cmx:81/ "$1" || fail "no takeover"
    took=$(($(now_ms) - start - plain))
    echo "a takeover takes $took ms longer than a plain login of $plain ms"
}
take_over two "$WEB2"
# A slow takeover is repeated, twice at most, because the machine may be busy with other tests.
[ "$took" -le 2000 ] || take_over one "$WEB1"
[ "$took" -le 2000 ] || take_over two "$WEB2"
[ "$took" -le 2000 ] || fail "takeover took $took ms"
answers http://cam-17.cmx:8989/ one || fail "the device's other session was ended although it is alive"
wait_for 10 logged "takeover" || fail "the takeover is not logged"
ok "a frozen session is taken over; the device's other session continues"

# A takeover also ends a session whose sshd processes on the gateway are frozen.
pid=$(gw status --json | jq -r '.sessions[] | select(.forwards[] | endswith(":81")) | .pid')
group=$(pgrep -g "$pid" | tr '\n' ' ')
# shellcheck disable=SC2086
kill -STOP $group
web three; WEB3=$WEB
client a -N -R "[$A]:81:127.0.0.1:$WEB3" & PIDS+=("$!")
wait_for 20 answers http://cam-17.cmx:81/ three || fail "no takeover from a frozen sshd"
ok "a session whose sshd is frozen is taken over"
TAKEOVERS=$(gw status --json | jq .counters.takeovers)
[ "$TAKEOVERS" -ge 2 ] || fail "takeovers are not counted"

# status, metrics and watch show the session and the takeovers.
gw status --json | json_is '.sessions[] | select(.forwards == [$a]) | .bytes_in > 0 and .since > 0 and (.from | startswith("127.0.0.1:"))' --arg a "[$A]:81" >/dev/null || fail "status"
gw status | grep -q "cam-17 .*127.0.0.1" || fail "status does not list the session"
gw metrics | grep -q '^cmxsafe_gateway_sessions 2$' || fail "metrics"
gw metrics | grep -q "^cmxsafe_gateway_takeovers_total $TAKEOVERS\$" || fail "metrics"
gw watch --times 1 | grep -q "2 connected" || fail "watch"
rc=0; timeout 20 "$BIN/cmxsafe" gateway watch --every 1 >/dev/full 2>"$TMP/err" || rc=$?
[ $rc = 1 ] && grep -q "writing the output failed" "$TMP/err" || { cat "$TMP/err"; fail "watch does not report a full disk: exit status $rc"; }
gw metrics --file "$TMP/metrics.prom" && grep -q "^cmxsafe_gateway_up 1$" "$TMP/metrics.prom" || fail "metrics --file fails, or reports the gateway as down"
ok "status, watch and metrics show the takeovers"

# Other users cannot use the control socket.
if [ "$(id -u)" = 0 ]; then
    [ -z "$(setpriv --reuid 1234 --regid 1234 --clear-groups python3 -c "
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect('$GW/run/control')
s.sendall(b'status\\n')
sys.stdout.write(s.recv(100).decode())" 2>/dev/null)" ] || fail "another user gets an answer"
fi

# When a device's ports change, the gateway ends its session; the device has to reconnect to use its new rights.
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "change of ports"
wait_for 20 gone cam-17 || fail "the old rights are still in force"
refused_listen a -N -R "[$A]:8989:127.0.0.1:$WEB1" || fail "a removed port can still be requested"
ok "changed rights end the session"

client a -N -R "[$A]:81:127.0.0.1:$WEB1" & PIDS+=("$!")
wait_for 20 answers http://cam-17.cmx:81/ one || fail "the device is not up again"
gw rotate cam-17 --key "$TMP/b.pub" >/dev/null || fail "rotate"
wait_for 20 gone cam-17 || fail "a session with a replaced key continues"
refused_login a -N || fail "a replaced key can log in"
[ "$(address_of cam-17)" = "$A" ] || fail "rotation changed the address"
client b -N -R "[$A]:81:127.0.0.1:$WEB1" & PIDS+=("$!")
wait_for 20 answers http://cam-17.cmx:81/ one || fail "the new key cannot log in"
gw rename cam-17 cam-42 >/dev/null || fail "rename"
wait_for 20 sh -c "'$BIN/cmxsafe' gateway exec -- grep -q cam-42.cmx /etc/hosts" || fail "no new name"
ok "rotation and renaming"

client b -N -R "[$A]:81:127.0.0.1:$WEB1" 2>/dev/null & PIDS+=("$!")
wait_for 20 answers http://cam-42.cmx:81/ one || fail "the device is not up under the new name"
start=$(now_ms)
gw revoke cam-42 >/dev/null || fail "revoke"
wait_for 20 gone cam-42 || fail "a revoked device's session continues"
echo "revocation: $(($(now_ms) - start)) ms"
refused_login b -N || fail "a revoked key can log in"
! gw enroll cam-9 --key "$TMP/b.pub" --ports 81 2>"$TMP/again.err" || fail "a revoked key was enrolled again"
grep -q "revoked or replaced" "$TMP/again.err" || fail "the message does not say why"
gw enroll cam-42 --key "$TMP/c.pub" --ports 81 >/dev/null || fail "a revoked name was enrolled with a new key"
ok "revocation ends the session at once, and the key stays refused"
stop_gateway
