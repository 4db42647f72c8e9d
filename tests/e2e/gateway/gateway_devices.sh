#!/usr/bin/env bash
# Two devices use the same ports on one gateway. Each also requests forwards that it is not allowed to have. Only
# consumers with a grant reach the devices.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

start_gateway --fleet fd12:3456:789a::/48
grep -q "SHA256:" "$TMP/init.out" || fail "init prints no pin"
key a; key b; key stranger; key vms
gw enroll cam-17 --key "$TMP/a.pub" --ports 81,8989 >"$TMP/enroll.out" || fail "enroll"
gw enroll cam-18 --key "$TMP/b.pub" --ports 81,8989 >/dev/null || fail "enroll"
A=$(address_of cam-17) B=$(address_of cam-18)
[[ $A == fd12:3456:789a:* && $B == fd12:3456:789a:* && $A != "$B" ]] || fail "addresses: $A $B"
grep -q "remote_address = $A" "$TMP/enroll.out" || fail "enroll prints no configuration"
ok "two devices have different addresses"

web one; WEB1=$WEB
web two; WEB2=$WEB
client a -N -R "[$A]:81:127.0.0.1:$WEB1" -R "[$A]:8989:127.0.0.1:$WEB1" & PIDS+=("$!")
client b -N -R "[$B]:81:127.0.0.1:$WEB2" & PIDS+=("$!")
wait_for 20 connected cam-17 && wait_for 20 connected cam-18 || fail "the devices do not connect"

# There is no grant yet: not even the operator reaches the listener.
wait_for 20 sh -c "'$BIN/cmxsafe' gateway exec -- ss -Hltn | grep -qF '[$B]:81'" || fail "no listener"
! fetch http://cam-17.cmx:81/ 2>/dev/null || fail "reached without a grant"
gw grant "user:$(id -un)" cam-17:81 >/dev/null && gw grant "user:$(id -un)" cam-18 >/dev/null || fail "grant"
wait_for 10 answers http://cam-17.cmx:81/ one || fail "cam-17 does not answer by name"
answers "http://[$B]:81/" two || fail "cam-18 does not answer by address"
! fetch http://cam-17.cmx:8989/ 2>/dev/null || fail "a grant of port 81 opened 8989"
ok "both serve port 81 at the same time, each to consumers with a grant"
! "$BIN/cmxsafe" gateway exec --uid 1001 -- curl -s -m 5 http://cam-17.cmx:81/ >/dev/null || fail "another user reaches the device"
gw grant user:1001 cam-17:81 >/dev/null
"$BIN/cmxsafe" gateway exec --uid 1001 -- curl -s -m 5 http://cam-17.cmx:81/ >/dev/null || fail "user 1001 has a grant"
gw grant --remove user:1001 cam-17:81 >/dev/null
! "$BIN/cmxsafe" gateway exec --uid 1001 -- curl -s -m 5 http://cam-17.cmx:81/ >/dev/null || fail "a removed grant still works"
ok "grants are for one user and can be removed"

refused() { # refused WHAT ARGUMENTS...: expects that sshd refuses cam-17's request for WHAT
    local what=$1
    shift
    refused_with 'forwarding failed for listen|channel 0: open failed' a "$@" || fail "$what was not refused"
    ok "refused: $what"
}
refused "another device's address" -N -R "[$B]:82:127.0.0.1:$WEB1"
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
refused "a connection to another device" -W "[$B]:81"
refused "a connection to the gateway's loopback" -W "127.0.0.1:22"
refused "a connection to the name that never resolves" -N -R "none.invalid:1:127.0.0.1:$WEB1"
refused "a tunnel" -N -w 0:0
# Agent forwarding needs a session channel, which sshd refuses.
(unset SSH_AUTH_SOCK; refused "an agent" -A -T true)
wait_for 10 logged "cam-17 from .*refused remote forward to host .* port 82" || fail "refusals are not logged"
refused_login stranger -N || fail "an unknown key can log in"
ok "refused: an unknown key"

# A platform logs in with its own key and reaches, by name, exactly the services that it has grants for.
gw platform vms --key "$TMP/vms.pub" >/dev/null && gw grant vms cam-17:81 >/dev/null || fail "platform"
ask_through() { printf 'GET / HTTP/1.0\r\n\r\n' | try_client vms -W "$1" 2>/dev/null; }
ask_through cam-17.cmx:81 | grep -q one || fail "the platform does not reach cam-17"
ask_through "[$A]:81" | grep -q one || fail "the platform does not reach cam-17 by address"
[ -z "$(ask_through cam-18.cmx:81)" ] || fail "the platform reaches cam-18 without a grant"
[ -z "$(ask_through cam-17.cmx:8989)" ] || fail "the platform reaches another port"
refused_listen vms -N -R "[$A]:8989:127.0.0.1:$WEB1" || fail "a platform may listen"
ok "a platform reaches granted services by name and address"

# The platform's software can use ssh's SOCKS proxy.
SOCKS=$(free_port)
client vms -N -D "127.0.0.1:$SOCKS" & PIDS+=("$!")
wait_for 20 listening "$SOCKS" || fail "no socks listener"
[ "$(curl -s -m 10 --socks5-hostname "127.0.0.1:$SOCKS" http://cam-17.cmx:81/)" = one ] || fail "ssh -D does not reach the device by name"
ok "ssh -D works with names"
gw revoke --platform vms >/dev/null
wait_for 10 prints_no . ss -Hltn "sport = :$SOCKS" || fail "a revoked platform stays connected"
ok "a revoked platform is disconnected at once"

# Repeated commands change nothing.
gw enroll cam-17 --key "$TMP/a.pub" --ports 81,8989 --json | json_is '.outcome == "unchanged"' >/dev/null || fail "enroll is not idempotent"
connected cam-17 || fail "an unchanged device was disconnected"
stop_gateway
