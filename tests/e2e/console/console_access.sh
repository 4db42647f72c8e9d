#!/usr/bin/env bash
# Tests the console of a system gateway: an open and a refused connection on the map and in the access log, the shell
# command for a grant with an end and a reason, and a consumer that logged in with a certificate that expires soon.
. "$(dirname "$0")/../gateway_system_lib.sh"
. "$(dirname "$0")/../console_lib.sh"
need_console npm
system_gateway
key a; key ca; key alice
web one
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null && gw grant user:1234 cam-17:81 >/dev/null || fail "enroll"
gw platform corp --ca "$TMP/ca.pub" >/dev/null && gw grant alice@corp cam-17:81 >/dev/null && gw grant bob@corp cam-17:81 >/dev/null || fail "platform"
ssh-keygen -q -s "$TMP/ca" -I alice-1 -z 7 -n alice -V +50m "$TMP/alice.pub" || fail "certificate"
serve_system
client a -N -R "[$(address_of cam-17)]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 connected cam-17 && wait_for 20 judged || fail "the device does not connect, or the guard does not start"
wait_for 10 gets 1234 http://cam-17.cmx:81/ one || fail "a user with a grant does not reach the device"
denied 1235 http://cam-17.cmx:81/ || fail "a user without a grant"
as 1234 /usr/bin/python3 -c 'import socket, time; s = socket.create_connection(("cam-17.cmx", 81)); time.sleep(600)' 2>"$TMP/held.log" & PIDS+=("$!")
client alice -o CertificateFile="$TMP/alice-cert.pub" -N & PIDS+=("$!")
wait_for 20 connected alice@corp || fail "the holder of a certificate does not connect"

start_cockpit
test_page access

# An unprivileged account that may not read the gateway's folder opens the page.
mkdir -m 777 "$TMP/shots"
COCKPIT_AS="setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=$TMP/shots XDG_RUNTIME_DIR=$TMP/shots" start_cockpit
test_page stranger
no_complaints
