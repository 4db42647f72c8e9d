#!/usr/bin/env bash
# Two devices with the same ports at one gateway; each asks for all that it must not have; only who has a grant gets in.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/gateway/lib.sh"
need_namespaces

start_gateway --fleet fd12:3456:789a::/48
grep -q "SHA256:" "$TMP/init.out" || fail "init prints no pin"
key a; key b; key stranger; key vms
gw enroll cam-17 --key "$TMP/a.pub" --ports 81,8989 >"$TMP/enroll.out" || fail "enroll"
gw enroll cam-18 --key "$TMP/b.pub" --ports 81,8989 >/dev/null || fail "enroll"
A=$(address_of cam-17) B=$(address_of cam-18)
[[ $A == fd12:3456:789a:* && $B == fd12:3456:789a:* && $A != "$B" ]] || fail "addresses: $A $B"
grep -q "remote_address = $A" "$TMP/enroll.out" || fail "enroll prints no configuration"
ok "two devices have addresses of their own"

web one; WEB1=$WEB
web two; WEB2=$WEB
client a -N -R "[$A]:81:127.0.0.1:$WEB1" -R "[$A]:8989:127.0.0.1:$WEB1" & PIDS+=("$!")
client b -N -R "[$B]:81:127.0.0.1:$WEB2" & PIDS+=("$!")
wait_for 20 connected cam-17 && wait_for 20 connected cam-18 || fail "the devices do not connect"

# Nobody has a grant yet: not even the operator gets in, though the listener is there.
wait_for 20 sh -c "'$BIN/cmxsafe' gateway exec -- ss -Hltn | grep -qF '[$B]:81'" || fail "no listener"
! fetch http://cam-17.cmx:81/ 2>/dev/null || fail "reached without a grant"
gw grant "user:$(id -un)" cam-17:81 >/dev/null && gw grant "user:$(id -un)" cam-18 >/dev/null || fail "grant"
wait_for 10 answers http://cam-17.cmx:81/ one || fail "cam-17 does not answer by name"
answers "http://[$B]:81/" two || fail "cam-18 does not answer by address"
! fetch http://cam-17.cmx:8989/ 2>/dev/null || fail "a grant of port 81 opened 8989"
ok "both serve port 81 at once, each to who has a grant"
! "$BIN/cmxsafe" gateway exec --uid 1001 -- curl -s -m 5 http://cam-17.cmx:81/ >/dev/null || fail "another user gets in"
gw grant user:1001 cam-17:81 >/dev/null
"$BIN/cmxsafe" gateway exec --uid 1001 -- curl -s -m 5 http://cam-17.cmx:81/ >/dev/null || fail "user 1001 has a grant"
gw grant --remove user:1001 cam-17:81 >/dev/null
! "$BIN/cmxsafe" gateway exec --uid 1001 -- curl -s -m 5 http://cam-17.cmx:81/ >/dev/null || fail "a grant taken back still works"
ok "grants are by user, and end"

refused() { # refused WHAT ARGUMENTS...: cam-17 asks for it and must be refused by sshd
    local what=$1
    shift
    local status=0
    try_client a "$@" </dev/null >"$TMP/refused.out" 2>&1 || status=$?
    [ "$status" = 255 ] || fail "$what was not refused (status $status)"
    ok "refused: $what"
}
refused "another device's address" -N -R "[$B]:82:127.0.0.1:$WEB1"
grep -q "remote port forwarding failed" "$TMP/refused.out" || fail "refused for another reason: $(cat "$TMP/refused.out")"
refused "another device's port" -N -R "[$B]:8989:127.0.0.1:$WEB1"
refused "a wildcard" -N -R "*:81:127.0.0.1:$WEB1"
refused "::" -N -R "[::]:81:127.0.0.1:$WEB1"
refused "localhost" -N -R "localhost:81:127.0.0.1:$WEB1"
refused "127.0.0.1" -N -R "127.0.0.1:81:127.0.0.1:$WEB1"
refused "the empty address" -N -R ":81:127.0.0.1:$WEB1"
refused "no address" -N -R "81:127.0.0.1:$WEB1"
refused "an unlisted port" -N -R "[$A]:82:127.0.0.1:$WEB1"
refused "a port of sshd's choice" -N -R "[$A]:0:127.0.0.1:$WEB1"
refused "another spelling of its address" -N -R "[${A}%lo]:81:127.0.0.1:$WEB1"
refused "a UNIX socket" -N -R "/tmp/cmx-e2e-socket:127.0.0.1:$WEB1"
refused "a shell" -T
refused "a command" -T true
refused "a terminal" -tt
refused "sftp" -s -T sftp
refused "the way to another device" -W "[$B]:81"
refused "the way to the gateway's loopback" -W "127.0.0.1:22"
refused "the name for nowhere" -N -R "none.invalid:1:127.0.0.1:$WEB1"
refused "a tunnel" -N -w 0:0
# An agent is forwarded within a session channel, which does not come to be.
(unset SSH_AUTH_SOCK; refused "an agent" -A -T true)
wait_for 10 logged "cam-17 from .*refused remote forward to host .* port 82" || fail "refusals are not logged"
try_client stranger -N 2>/dev/null && fail "a stranger got in"
ok "refused: a stranger's key"

# A platform logs in with its own key and reaches by name what it was granted, and nothing else.
gw platform vms --key "$TMP/vms.pub" >/dev/null && gw grant vms cam-17:81 >/dev/null || fail "platform"
ask_through() { printf 'GET / HTTP/1.0\r\n\r\n' | try_client vms -W "$1" 2>/dev/null; }
ask_through cam-17.cmx:81 | grep -q one || fail "the platform does not reach cam-17"
ask_through "[$A]:81" | grep -q one || fail "the platform does not reach cam-17 by address"
! ask_through cam-18.cmx:81 | grep -q two || fail "the platform reaches cam-18 without a grant"
! ask_through cam-17.cmx:8989 | grep -q one || fail "the platform reaches another port"
! try_client vms -N -R "[$A]:8989:127.0.0.1:$WEB1" 2>/dev/null || fail "a platform may listen"
ok "a platform reaches what it was granted, by name and address"

# A socks proxy, as a platform's software may use.
SOCKS=$(free_port)
client vms -N -D "127.0.0.1:$SOCKS" & PIDS+=("$!")
wait_for 20 listening "$SOCKS" || fail "no socks listener"
[ "$(curl -s -m 10 --socks5-hostname "127.0.0.1:$SOCKS" http://cam-17.cmx:81/)" = one ] || fail "ssh -D by name"
ok "ssh -D works with names"
gw revoke --platform vms >/dev/null
wait_for 10 sh -c "! ss -Hltn 'sport = :$SOCKS' | grep -q ." || fail "a revoked platform stays connected"
ok "a revoked platform is out at once"

# Everything twice changes nothing.
gw enroll cam-17 --key "$TMP/a.pub" --ports 81,8989 --json | jq -e '.outcome == "unchanged"' >/dev/null || fail "enroll is not idempotent"
connected cam-17 || fail "an unchanged device was thrown out"
stop_gateway
