#!/usr/bin/env bash
# In a system gateway, a principal has the same identity with every key and serial number of its certificates. The
# device sees that identity, and the packet filter (the judge) decides by it. Access and refusals are logged with the
# principal's name.
. "$(dirname "$0")/../gateway_system_lib.sh"
system_gateway
for k in a ca alice phone; do key $k; done
gw enroll cam-17 --key "$TMP/a.pub" --ports 81,82 >/dev/null || fail "enroll"
gw platform corp --ca "$TMP/ca.pub" >/dev/null && gw grant alice@corp cam-17:81 >/dev/null && gw grant bob@corp cam-17:82 >/dev/null || fail "platform"
ssh-keygen -q -s "$TMP/ca" -I alice-1 -z 1 -n alice "$TMP/alice.pub" && ssh-keygen -q -s "$TMP/ca" -I alice-2 -z 2 -n alice "$TMP/phone.pub" || fail "certificates"
A=$(address_of cam-17)
ALICE=$(identity platform:alice@corp)
equal "$ALICE" "$(gw platform --json | jq -r '.[] | select(.name == "alice@corp") | .identity')" || fail "platform --json shows another identity for alice@corp"
differ "$ALICE" "$(identity platform:bob@corp)" || fail "alice and bob have the same identity"
gw whois "$ALICE" | grep -qx "$ALICE platform:alice@corp" || fail "whois: $(gw whois "$ALICE")"
gw show cam-17 | grep -q "platform:alice@corp (port 81) as $ALICE" || fail "show: $(gw show cam-17)"
# The device's ssh logs the originator that the gateway reports for each forwarded connection.
web one
serve_system
client a -v -N -R "[$A]:81:127.0.0.1:$WEB" -R "[$A]:82:127.0.0.1:$WEB" -o LogLevel=DEBUG1 2>"$TMP/device.log" & PIDS+=("$!")
wait_for 20 connected cam-17 || fail "no login"
page() { printf 'GET / HTTP/1.0\r\n\r\n' | try_client "$1" -o CertificateFile="$TMP/$1-cert.pub" -W "cam-17.cmx:$2" 2>"$TMP/ssh.err"; }
originated() { grep -c "client_request_forwarded_tcpip: .*originator $ALICE" "$TMP/device.log"; }
for k in alice phone; do page $k 81 | grep -qx one || fail "$k does not reach the device: $(cat "$TMP/ssh.err")"; done
[ "$(originated)" -ge 2 ] || fail "the device does not see alice: $(grep originator "$TMP/device.log")"
! page alice 82 >/dev/null || fail "alice reaches bob's port"
reported() { [ "$(gw access --consumer alice@corp --json | jq -r 'select(.event == "close" and (.device | endswith("cam-17"))) | .consumer' | sort -u)" = platform:alice@corp ]; }
wait_for 20 reported || fail "access: $(gw access --consumer alice@corp --json)"

# One of two grants is removed during a session. Access to this grant's port ends, and the session continues without a
# new login.
gw grant alice@corp cam-17:82 >/dev/null || fail "grant"
L=$(free_port)
client alice -o CertificateFile="$TMP/alice-cert.pub" -N -L "127.0.0.1:$L:cam-17.cmx:81" 2>"$TMP/held.err" & HELD=$!; PIDS+=("$HELD")
got() { curl -sS -m 3 "http://127.0.0.1:$L/" 2>/dev/null | grep -qx one; }
lost() { ! got; }
wait_for 20 got || fail "no page: $(cat "$TMP/held.err")"
gw grant --remove alice@corp cam-17:81 >/dev/null || fail "grant --remove"
wait_for 5 lost || fail "without a grant alice still reaches the port"
kill -0 "$HELD" || fail "the session ended although the other grant still permits it"
gw revoke --platform alice@corp >/dev/null || fail "revoke --platform"
ended() { ! kill -0 "$HELD" 2>/dev/null; }
wait_for 5 ended || fail "a principal without grants stays connected"
! page phone 82 >/dev/null || fail "a revoked principal logs in"

# sshd of a system gateway reads the KRL from a file, and doctor compares this file with the registry.
gw grant alice@corp cam-17:81 >/dev/null && page alice 81 | grep -qx one || fail "a new grant: $(cat "$TMP/ssh.err")"
echo 'serial: 1' | ssh-keygen -q -k -f "$TMP/krl" -s "$TMP/ca.pub" - && gw krl "$TMP/krl" >/dev/null || fail "krl"
! page alice 81 >/dev/null || fail "a revoked certificate logs in"
page phone 81 | grep -qx one || fail "alice's other certificate does not reach the device: $(cat "$TMP/ssh.err")"
finding() { gw doctor --json | jq -r '.[] | select(.check == "sshd has the list of revoked keys") | .finding'; }
[ "$(finding)" = ok ] || fail "doctor: $(gw doctor)"
: >"$GW/krl"
[ "$(finding)" = bad ] || fail "doctor does not see another KRL"
! page alice 81 >/dev/null || fail "a revoked certificate logs in while sshd's file is empty"
rm "$GW/krl"
! page phone 81 >/dev/null || fail "a login succeeds without the KRL's file"
gw init >/dev/null && [ "$(finding)" = ok ] && page phone 81 | grep -qx one || fail "init does not write the KRL again"
stop_gateway
ok "a principal's identity, the judge and the KRL in a system gateway"
