#!/usr/bin/env bash
# A small deployment with one server: each port of the server's loopback belongs to one device. As in the original
# CMXsafe-ESP32, a device requests its port without a bind address.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

P1=$(free_port) P2=$(free_port) P3=$(free_port)
start_gateway --simple
key a; key b; key p
gw enroll cam-17 --key "$TMP/a.pub" --ports "$P1,$P2" >"$TMP/enroll.out" || fail "enroll"
lacks remote_address "$TMP/enroll.out" || fail "enroll prints an address in a small deployment"
! gw enroll cam-18 --key "$TMP/b.pub" --ports "$P2,$P3" 2>"$TMP/overlap.err" || fail "overlap was not refused"
grep -q "port $P2 belongs to another device" "$TMP/overlap.err" || fail "the message does not name the port"
gw enroll cam-18 --key "$TMP/b.pub" --ports "$P3" >/dev/null || fail "enroll"
ok "overlap is refused at enrolment"
web one
# The device requests its first port without a bind address, as the original CMXsafe-ESP32 does, and its second port with
# the bind address localhost.
client a -N -R "$P1:127.0.0.1:$WEB" -R "localhost:$P2:127.0.0.1:$WEB" & OLD=$!; PIDS+=("$OLD")
wait_for 20 listening "$P1" && wait_for 20 listening "$P2" || fail "no listeners"
[ "$(curl -s -m 10 "http://127.0.0.1:$P1/")" = one ] || fail "no answer"
prints_no '^([^ ]+ +){3}(0\.0\.0\.0|\*|\[::\]):' ss -Hltn "sport = :$P1" || fail "the gateway listens on more than the loopback"
ok "ports on the loopback"
gw status --json | json_is .confined || skip_part "confined sessions: the kernel has no Landlock"
session=$(gw status --json | jq -r '.sessions[0].pid')
[ "$(awk '/^NoNewPrivs/ {print $2}' "/proc/$session/status")" = 1 ] || fail "a session's sshd is not confined"
ok "sessions are confined"
refused_listen b -N -R "$P1:127.0.0.1:$WEB" || fail "a device listens on another device's port"
refused_listen b -N -R "$((P3 + 1)):127.0.0.1:$WEB" || fail "a device listens on a port that no device has"
refused_session b -T true || fail "a device can run a command"
refused_open b -W "127.0.0.1:$P1" || fail "a device can connect to another device's port"
ok "a device gets its own ports and nothing else"
client b -N -R "0.0.0.0:$P3:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 listening "$P3" || fail "no listener"
prints_no '^([^ ]+ +){3}(0\.0\.0\.0|\*|\[::\]):' ss -Hltn "sport = :$P3" || fail "a wildcard address is served"
ok "a wildcard ends up on the loopback"
gw platform vms --key "$TMP/p.pub" >/dev/null && gw grant vms "cam-17:$P1" >/dev/null || fail "platform"
printf 'GET / HTTP/1.0\r\n\r\n' | try_client p -W "localhost:$P1" 2>/dev/null | grep -q one || fail "the platform does not reach the service"
refused_open p -W "localhost:$P2" || fail "a port without a grant"
! gw grant "user:$(id -un)" "cam-17:$P1" 2>/dev/null || fail "a grant to a local user is accepted, although every user reaches the loopback"
# A grant is removed while a platform logs in: sshd has already received the platform's permissions, but the gateway has not yet
# seen the login.
ssh-keygen -q -t ecdsa -m PEM -N phrase -C '' -f "$TMP/slow" || fail "ssh-keygen"
gw platform slow --key "$TMP/slow.pub" >/dev/null && gw grant slow "cam-17:$P1" >/dev/null || fail "platform"
rm "$TMP/slow.pub" # ssh then offers this key only with a signature
server=$(gw status --json | jq -r .pid)
printf '#!/bin/sh\nkill -STOP %s\necho phrase\n' "$server" >"$TMP/askpass" && chmod 700 "$TMP/askpass"
LOCAL=$(free_port)
SSH_ASKPASS=$TMP/askpass SSH_ASKPASS_REQUIRE=force timeout 60 ssh -i "$TMP/slow" -p "$GW_PORT" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
    -o LogLevel=ERROR -o IdentitiesOnly=yes -o IdentityAgent=none -F none -l cmxsafe-gw 127.0.0.1 -N -L "$LOCAL:localhost:$P1" & SLOW=$!; PIDS+=("$SLOW")
helper_runs() { ps -o comm= -p "$(descendants "$server" | paste -sd ,)" | grep -q cmxsafe-authkey; }
wait_for 10 helper_runs || fail "sshd's helper does not run"
sleep 0.5 # by now, the helper has read the registry and waits for the gateway
gw grant --remove slow "cam-17:$P1" >/dev/null & REMOVE=$!
removed() { gw grant --json 2>/dev/null | json_is 'all(.[]; .consumer != "platform:slow" and .consumer != "slow")'; }
wait_for 10 removed || fail "the grant is not removed"
kill -CONT "$server"
wait "$REMOVE" || fail "grant --remove"
for _ in 1 2 3 4 5 6; do
    [ -z "$(curl -s -m 2 "http://127.0.0.1:$LOCAL/")" ] || fail "a platform that logged in while its grant was removed has access"
    sleep 0.5
done
stop "$SLOW"
ok "a grant that is removed during a login gives no access"

# After an upgrade of the package, the former gateway runs with the new helper, which may write a key's line in another way.
cat >"$GW/newer" <<SH
#!/bin/sh
$(sed -n 's/^AuthorizedKeysCommand \([^ ]*\) .*/\1/p' "$GW/sshd_config") "\$@" && exec python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1] + "/run/control")
s.sendall(("login %s\\n1 99.0\\n" % sys.argv[2]).encode()); s.recv(16)' "\$@"
SH
chmod 755 "$GW/newer" && cp "$GW/sshd_config" "$TMP/sshd_config" && sed -i "s|^AuthorizedKeysCommand [^ ]*|AuthorizedKeysCommand /cmxsafe/newer|" "$GW/sshd_config"
printf 'GET / HTTP/1.0\r\n\r\n' | try_client p -W "localhost:$P1" 2>/dev/null | grep -q one || fail "no login with the helper of another version: $(tail -n 5 "$TMP/gateway.log")"
cp "$TMP/sshd_config" "$GW/sshd_config"
ok "the gateway works with a helper of another version"
# Takeover and revocation work in a small deployment.
kill -STOP "$OLD"; CLEANUP+=("kill -CONT $OLD 2>/dev/null")
web two
client a -N -R "$P1:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 sh -c "[ \"\$(curl -s -m 2 http://127.0.0.1:$P1/)\" = two ]" || fail "the second session does not take over the port"
gw revoke cam-17 >/dev/null
wait_for 20 prints_no . ss -Hltn "sport = :$P1" || fail "the revoked device is still connected"
ok "takeover and revocation"
stop_gateway
! (ulimit -n 270 && timeout 20 "$BIN/cmxsafe" gateway serve 2>"$TMP/few.err") || fail "a gateway that can accept no device starts"
grep -q "it may open only 270 files, and needs at least 280; raise the hard limit" "$TMP/few.err" || fail "the message does not name the limit: $(cat "$TMP/few.err")"
ok "a limit of open files that would exclude every device is refused"

# systemd opens the socket, and the first device starts the gateway.
if command -v systemd-socket-activate >/dev/null; then
    systemd-socket-activate -l "127.0.0.1:$GW_PORT" --setenv="CMXSAFE_GATEWAY=$GW" --setenv=HOME --setenv=PATH \
        "$BIN/cmxsafe" gateway serve 2>>"$TMP/gateway.log" & GW_PID=$!; PIDS+=("$GW_PID")
    wait_for 10 listening "$GW_PORT" || fail "systemd-socket-activate does not listen"
    client b -N -R "$P3:127.0.0.1:$WEB" & PIDS+=("$!")
    wait_for 20 connected cam-18 || fail "an inherited socket is not served"
    ok "the gateway serves a socket that systemd opened"
    stop_gateway
else
    skip_part "socket activation: no systemd-socket-activate"
fi

# A gateway that is killed with SIGKILL, during its start or later, leaves no process behind.
of_ours() { grep -lzsx "CMXSAFE_GATEWAY=$GW" /proc/[0-9]*/environ | grep -v "/$$/" | cut -d/ -f3 | xargs -r ps -o comm= -p | grep -E 'cmxsafe|sshd'; }
none_of_ours() { ! of_ours >/dev/null; }
for delay in 0 0.01 0.02 0.05 0.1 0.2 up; do
    "$BIN/cmxsafe" gateway serve 2>>"$TMP/gateway.log" & GW_PID=$!; PIDS+=("$GW_PID")
    if [ $delay = up ]; then wait_for 20 gw status || fail "the gateway does not come up"; else sleep $delay; fi
    kill -KILL "$GW_PID"; wait "$GW_PID" 2>/dev/null
    wait_for 20 none_of_ours || fail "after SIGKILL at $delay these processes still run: $(of_ours)"
done
ok "killed at any moment, it leaves no process behind"

# Only the server is killed with SIGKILL, as when memory runs out. No session outlives the server, because
# no revocation would reach such a session.
serve_gateway
client b -N -R "$P3:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 connected cam-18 || fail "cam-18 does not connect"
PROCESSES=$(descendants "$GW_PID" | paste -sd ,)
all_ended() { ! ps -o stat= -p "$PROCESSES" | grep -qv Z; }
! all_ended || fail "the gateway has no processes"
kill -KILL "$(gw status --json | jq -r .pid)"
wait_for 20 all_ended || fail "after the server was killed these processes still run: $(ps -o pid,args -p "$PROCESSES")"
ok "a session ends with the server"
