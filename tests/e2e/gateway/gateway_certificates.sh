#!/usr/bin/env bash
# Platforms log in with SSH certificates that a CA issues to people. A principal has the access that its grants give,
# and no other. Every certificate that must not log in is refused, and the log has the reason. A live session ends when
# its certificate expires, when a KRL revokes the certificate, and when the CA is removed.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

# certificate NAME [SSH-KEYGEN-OPTION...]: creates a certificate for key NAME, signed by $CA (default: ca); serial
# numbers count up from 1.
SERIAL=0
certificate() {
    local name=$1
    shift
    key "$name"
    SERIAL=$((SERIAL + 1))
    ssh-keygen -q -s "$TMP/${CA:-ca}" -I "$name-$SERIAL" -z "$SERIAL" "$@" "$TMP/$name.pub" || fail "no certificate for $name"
}
# page KEY PORT: logs in with KEY's certificate and prints the page that the device serves on PORT.
page() { printf 'GET / HTTP/1.0\r\n\r\n' | try_client "$1" -o CertificateFile="$TMP/$1-cert.pub" -W "cam-17.cmx:$2" 2>"$TMP/ssh.err"; }
reaches() { page "$1" 81 | grep -qx one; }
# refused KEY REASON: expects that the key cannot log in with its certificate, and that the gateway then logs REASON.
refused() {
    local from
    from=$(wc -c <"$TMP/gateway.log")
    ! reaches "$1" || fail "$1 logs in although: $2"
    grep -q "Permission denied" "$TMP/ssh.err" || fail "$1 was not refused at the login: $(cat "$TMP/ssh.err")"
    said() { tail -c +"$((from + 1))" "$TMP/gateway.log" | grep -q -- "certificate or key refused: .*$2"; }
    wait_for 20 said "$1" "$2" || fail "the log does not say '$2': $(tail -c +"$((from + 1))" "$TMP/gateway.log")"
}
# stays KEY: starts a session with the certificate of KEY in the background. Sets HELD to its process ID.
stays() {
    client "$1" -o CertificateFile="$TMP/$1-cert.pub" -N -L "127.0.0.1:$(free_port):cam-17.cmx:81" 2>"$TMP/$1.err" &
    HELD=$!
    PIDS+=("$HELD")
}
has_ended() { ! kill -0 "$1" 2>/dev/null; }

key ca
key other_ca
start_gateway
web one
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81,82 >/dev/null || fail "enroll"
A=$(address_of cam-17)
client a -N -R "[$A]:81:127.0.0.1:$WEB" & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 connected cam-17 || fail "no login"

# Runs the commands of docs/GATEWAY.md unchanged, except that the login uses the host and port of this gateway.
mkdir "$TMP/docs" && ssh-keygen -q -t ed25519 -N '' -f "$TMP/docs/corp_ca" && ssh-keygen -q -t ed25519 -N '' -f "$TMP/docs/alice" || fail "keys"
sed -n '/^### SSH certificates/,/^## /p' "$ROOT/docs/GATEWAY.md" | sed -n '/^```sh/,/^```/p' | grep -v '^```' >"$TMP/docs/all.sh"
grep -v '^ssh ' "$TMP/docs/all.sh" >"$TMP/docs/commands.sh"
[ "$(grep -c 'cmxsafe gateway' "$TMP/docs/commands.sh")" -ge 4 ] && grep -q '^ssh -i alice -N -L' "$TMP/docs/all.sh" || fail "the commands are not in the page"
(cd "$TMP/docs" && PATH=$BIN:$PATH bash -e commands.sh) >"$TMP/docs.log" 2>&1 || fail "a command of the page fails"
grep -q "^alice@corp  *principal" "$TMP/docs.log" || fail "the list differs from the page's"
gw krl | grep -q '^sha256 ' || fail "the page's KRL is not installed"
gw revoke --platform corp >/dev/null && gw krl --remove >/dev/null || fail "revoke"
! gw revoke --platform corp >/dev/null 2>&1 || fail "a CA is removed twice"
ok "the page's commands"

# A login with a certificate is refused until the certificate's CA is registered and its principal has a grant.
certificate alice -n alice
refused alice "is signed by the CA SHA256:.* not registered"
! gw grant alice@corp cam-17:81 2>"$TMP/err" >/dev/null && grep -q "no CA 'corp'" "$TMP/err" || fail "a grant without the CA: $(cat "$TMP/err")"
gw platform corp --ca "$TMP/ca.pub" >/dev/null || fail "platform --ca"
[ "$(gw platform corp --ca "$TMP/ca.pub")" = "corp: unchanged" ] || fail "registering the CA is not idempotent"
refused alice "no principal of the certificate 'alice-1' has a grant; give one with 'cmxsafe gateway grant alice@corp DEVICE'"
gw grant alice@corp cam-17:81 >/dev/null || fail "grant"
reaches alice || fail "alice does not reach the device: $(cat "$TMP/ssh.err")"
logged "alice@corp: logged in from .* with the certificate 'alice-1', serial 1" || fail "the login is not logged: $(tail -3 "$TMP/gateway.log")"
ok "a certificate of a registered CA, with a grant"

# The gateway refuses a login with the key but without its certificate, and a login with the CA's own key. It registers
# no device with the CA's key, no platform with the CA's name, and no CA with a device's key.
refused_login alice -o CertificateFile=none -N || fail "the key without its certificate logs in"
refused_login ca -N || fail "the CA's key logs in as a key"
! gw enroll cam-18 --key "$TMP/ca.pub" --ports 81 2>"$TMP/err" >/dev/null && grep -q "this key belongs to corp" "$TMP/err" || fail "the CA's key was enrolled for a device: $(cat "$TMP/err")"
! gw platform corp --key "$TMP/alice.pub" 2>"$TMP/err" >/dev/null && grep -q "corp is a CA" "$TMP/err" || fail "a platform got the CA's name: $(cat "$TMP/err")"
! gw platform again --ca "$TMP/a.pub" 2>"$TMP/err" >/dev/null && grep -q "this key belongs to cam-17" "$TMP/err" || fail "a device's key was registered as a CA: $(cat "$TMP/err")"

# The gateway's restrictions also hold for certificates: no other port, no listener, no shell, whatever the certificate
# allows.
refused_open alice -o CertificateFile="$TMP/alice-cert.pub" -W cam-17.cmx:82 || fail "a port without a grant"
refused_listen alice -o CertificateFile="$TMP/alice-cert.pub" -N -R "[$A]:82:127.0.0.1:$WEB" || fail "a principal listens"
refused_session alice -o CertificateFile="$TMP/alice-cert.pub" -T || fail "a principal runs a command"
certificate shell -n alice -O force-command=id -O permit-pty -O permit-agent-forwarding
refused_session shell -o CertificateFile="$TMP/shell-cert.pub" -T || fail "a certificate's force-command runs"
reaches shell || fail "a certificate with more extensions reaches what alice reaches: $(cat "$TMP/ssh.err")"
certificate plain -n alice -O clear
! reaches plain || fail "a certificate without permit-port-forwarding forwards"
certificate far -n alice -O source-address=192.0.2.0/24
refused far "not from a permitted source address"
certificate near -n alice -O source-address=127.0.0.0/8
reaches near || fail "a certificate for this source address does not log in: $(cat "$TMP/ssh.err")"
ok "the gateway's limits hold for certificates"

# Certificates that must not log in are refused; each differs from alice's certificate in one point.
certificate none
refused none "names no principal"
certificate bob -n bob
refused bob "no principal of the certificate 'bob-.*' has a grant"
certificate late -n alice -V -2h:-1h
refused late "expired at "
certificate early -n alice -V +1h:+2h
refused early "is not valid before "
# A stock client does not offer a host certificate, so call sshd's helper directly. It must print no line for a host
# certificate. The helper reads a copy of the registry for which no gateway runs, so it queries no gateway.
mkdir "$TMP/alone" && gw backup "$TMP/alone/registry.db" >/dev/null || fail "backup"
helper() { "$BIN/cmxsafe-authkeys" "$TMP/alone" - $(cut -d' ' -f1,2 "$TMP/$1-cert.pub"); }
certificate host -h -n alice
[ -z "$(helper host)" ] && helper alice | grep -q '^cert-authority,principals="alice",restrict,' || fail "the helper's answer for a host certificate or a user certificate is wrong: $(helper host)"
CA=other_ca certificate forged -n alice
refused forged "is signed by the CA SHA256:.* not registered"
gw grant carol@corp cam-17:81 >/dev/null || fail "grant"
certificate both -n alice,carol
refused both "is for both alice@corp and carol@corp"
certificate comma -n 'carl,alic,e'
refused comma "no principal of the certificate"
certificate several -n 'root,alice,x'
reaches several || fail "one of several principals has a grant: $(cat "$TMP/ssh.err")"
gw status --json | json_is '.counters.certificates_refused >= 10' >/dev/null || fail "refusals are not counted"
ok "each invalid certificate is refused, and the log has the reason"

# A certificate does not make a revoked key valid again. A live session ends when its certificate's key is revoked.
key gone; key former
gw platform gone --key "$TMP/gone.pub" >/dev/null && gw enroll former --key "$TMP/former.pub" --ports 81 >/dev/null || fail "keys"
certificate gone -n alice
certificate former -n alice
reaches former || fail "a certificate for a valid key does not log in: $(cat "$TMP/ssh.err")"
stays gone
wait_for 20 connected alice@corp || fail "no session: $(cat "$TMP/gone.err")"
gw revoke --platform gone >/dev/null && gw revoke former >/dev/null && gw delete former >/dev/null || fail "revoke"
wait_for 5 has_ended "$HELD" || fail "a session continues although its certificate's key was revoked"
refused gone "the key of the certificate 'gone-.*', SHA256:.*, was revoked or replaced"
refused former "the key of the certificate 'former-.*', SHA256:.*, was revoked or replaced"
ok "a certificate for a revoked key"

# A CA cannot certify the principals of another CA.
gw platform guests --ca "$TMP/other_ca.pub" >/dev/null || fail "platform --ca"
refused forged "no principal of the certificate 'forged-.*' has a grant; give one with 'cmxsafe gateway grant alice@guests DEVICE'"
gw grant alice@guests cam-17:81 --for 1h >/dev/null || fail "grant"
reaches forged || fail "alice@guests has a grant"
[ "$(gw platform --json | jq -r '[.[] | .kind + " " + .name] | join(",")')" = "ca corp,ca guests,principal alice@corp,principal alice@guests,principal carol@corp" ] || fail "the list of platforms is wrong: $(gw platform)"
gw grant | grep -q '^platform:alice@guests .*cam-17:81' || fail "grant does not list: $(gw grant)"

# status shows a session's certificate, and the session ends when the certificate expires.
certificate brief -n alice -V -1m:+20s
stays brief
wait_for 20 connected alice@corp || fail "no session: $(cat "$TMP/brief.err")"
gw status --json | json_is '.sessions[] | select(.name == "alice@corp") | .ca == "corp" and (.certificate | startswith("brief-")) and .serial == ($n | tostring) and (.certificate_ends - now) < 25 and (.client | startswith("OpenSSH"))' --argjson n "$SERIAL" >/dev/null || fail "status: $(gw status --json)"
ENDS=$(ssh-keygen -L -f "$TMP/brief-cert.pub" | sed -n 's/.* to //p')
gw metrics | grep -qx "cmxsafe_gateway_certificate_end_timestamp_seconds $(date -d "$ENDS" +%s)" || fail "metrics: $(gw metrics | grep certificate)"
gw status | grep -q "by certificate 'brief-$SERIAL' (serial $SERIAL of corp) until " || fail "status: $(gw status)"
wait_for 30 has_ended "$HELD" || fail "a session outlives its certificate"
[ $(($(date +%s) - $(date -d "$ENDS" +%s))) -le $((3 * ${CMX_WAIT_FACTOR:-3})) ] || fail "the session ended too late: $(date -Is), $ENDS"
logged "alice@corp from .*: ended: its certificate has expired" || fail "the end of the session is not logged"
ok "a live session ends with its certificate"

# An invalid KRL changes nothing. A KRL that revokes a serial number ends the session of the certificate with this
# number and no other session; later logins with this certificate are refused.
certificate lost -n alice
LOST=$SERIAL
stays lost; FIRST=$HELD
stays alice; SECOND=$HELD
two() { [ "$(gw status --json | jq '[.sessions[] | select(.name == "alice@corp")] | length')" = 2 ]; }
wait_for 20 two || fail "no sessions"
echo "serial: 1" >"$TMP/bad.krl"
! gw krl "$TMP/bad.krl" 2>"$TMP/err" >/dev/null && grep -q "read the file as a KRL" "$TMP/err" || fail "a bad KRL: $(cat "$TMP/err")"
! gw krl "$TMP/missing.krl" 2>"$TMP/err" >/dev/null && grep -q "can't read" "$TMP/err" || fail "a missing KRL: $(cat "$TMP/err")"
! timeout 60 "$BIN/cmxsafe" gateway krl /dev/zero 2>"$TMP/err" >/dev/null && grep -q "/dev/zero is longer than 262144 bytes" "$TMP/err" || fail "a KRL without an end: $(cat "$TMP/err")"
mkfifo "$TMP/fifo.krl"
! timeout 60 "$BIN/cmxsafe" gateway krl "$TMP/fifo.krl" 2>"$TMP/err" >/dev/null && grep -q "read the file as a KRL" "$TMP/err" || fail "a FIFO without a writer: $(cat "$TMP/err")"
[ "$(gw krl)" = "no KRL is installed" ] || fail "a bad KRL was installed: $(gw krl)"
echo "serial: $LOST" | ssh-keygen -q -k -f "$TMP/revoked.krl" -s "$TMP/ca.pub" - || fail "ssh-keygen -k"
gw krl "$TMP/revoked.krl" >"$TMP/krl.out" || fail "krl"
wait_for 5 has_ended "$FIRST" || fail "a revoked certificate's session continues"
refused lost "revoked by file"
kill -0 "$SECOND" || fail "the session of a certificate that is not revoked has ended"
reaches alice || fail "a certificate that is not revoked does not log in: $(cat "$TMP/ssh.err")"
! gw krl "$TMP/bad.krl" 2>/dev/null >/dev/null || fail "krl accepts a file that is not a KRL"
equal "$(gw krl --json | jq -r .sha256)" "$(sha256sum <"$TMP/revoked.krl" | cut -d' ' -f1)" || fail "the KRL was lost: $(gw krl)"
# A KRL revokes a key ID, and the plain key of a device.
printf 'id: alice-1\n' >"$TMP/spec" && ssh-keygen -q -k -f "$TMP/id.krl" -s "$TMP/ca.pub" "$TMP/spec" && ssh-keygen -q -k -u -f "$TMP/id.krl" "$TMP/a.pub" || fail "ssh-keygen -k"
gw krl "$TMP/id.krl" >/dev/null || fail "krl"
wait_for 5 has_ended "$SECOND" || fail "a session whose key ID is revoked continues"
refused alice "revoked by file"
wait_for 5 has_ended "$DEVICE" || fail "a device whose key is revoked stays connected"
reaches lost 2>/dev/null && fail "the device is reached although its key is revoked"
gw krl --remove >/dev/null || fail "krl --remove"
client a -N -R "[$A]:81:127.0.0.1:$WEB" & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 connected cam-17 || fail "the device does not log in after the KRL was removed"
reaches lost || fail "nothing is revoked any more: $(cat "$TMP/ssh.err")"
# A KRL revokes the whole CA.
ssh-keygen -q -k -f "$TMP/ca.krl" "$TMP/ca.pub" && gw krl "$TMP/ca.krl" >/dev/null || fail "krl"
refused alice "revoked"
reaches forged || fail "a principal of the other CA does not reach the device"
gw krl --remove >/dev/null || fail "krl --remove"
ok "a KRL"

# Sessions end when their last grant is removed, and when their CA is removed.
stays alice
wait_for 20 connected alice@corp || fail "no session"
gw grant --remove alice@corp cam-17:81 >/dev/null || fail "grant --remove"
wait_for 5 has_ended "$HELD" || fail "a session without any grant continues"
refused alice "has a grant"
gw grant alice@corp cam-17:81 >/dev/null || fail "grant"
stays alice; FIRST=$HELD
stays forged; SECOND=$HELD
wait_for 20 connected alice@corp && wait_for 20 connected alice@guests || fail "no sessions"
gw revoke --platform corp >/dev/null || fail "revoke --platform"
wait_for 5 has_ended "$FIRST" || fail "a session of a removed CA continues"
kill -0 "$SECOND" || fail "a session of another CA ended"
refused alice "not registered"
for name in corp again; do
    ! gw platform "$name" --ca "$TMP/ca.pub" >/dev/null 2>"$TMP/err" && grep -q "this key was revoked or replaced (it belonged to corp); make a new key" "$TMP/err" || fail "a removed CA's key was registered as a CA: $(cat "$TMP/err")"
done
! gw enroll cam-20 --key "$TMP/ca.pub" --ports 81 >/dev/null 2>"$TMP/err" && grep -q "this key was revoked or replaced (it belonged to corp)" "$TMP/err" || fail "a removed CA's key was enrolled for a device: $(cat "$TMP/err")"
key second_ca
gw platform corp --ca "$TMP/second_ca.pub" >/dev/null || fail "platform --ca"
CA=second_ca certificate second -n alice
refused second "has a grant"
gw grant alice@corp cam-17:81 >/dev/null && reaches second || fail "no login after a new grant: $(cat "$TMP/ssh.err")"
# A new key of the CA replaces the former one permanently.
key new_ca
gw platform corp --ca "$TMP/new_ca.pub" >/dev/null || fail "platform --ca"
! gw platform corp --ca "$TMP/second_ca.pub" >/dev/null 2>"$TMP/err" && grep -q "this key was revoked or replaced (it belonged to corp)" "$TMP/err" || fail "a replaced CA's key: $(cat "$TMP/err")"
refused second "not registered"
CA=new_ca certificate renewed -n alice
reaches renewed || fail "a certificate of the CA's new key does not log in: $(cat "$TMP/ssh.err")"
ok "removed grants and CAs, and a CA with a new key"

# A certificate that expires while the gateway is stopped is refused after the restart.
CA=new_ca certificate brief -n alice -V -1m:+5s
stop_gateway
sleep_until() { [ "$(date +%s)" -ge "$1" ]; }
wait_for 20 sleep_until "$(date -d "$(ssh-keygen -L -f "$TMP/brief-cert.pub" | sed -n 's/.* to //p')" +%s)" || fail "the end of the certificate is not reached"
serve_gateway
client a -N -R "[$A]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 connected cam-17 || fail "no login after the restart"
refused brief "expired at "
reaches renewed || fail "a valid certificate does not log in after the restart: $(cat "$TMP/ssh.err")"

# A backup of the registry contains the CAs, their grants and the KRL.
gw krl "$TMP/revoked.krl" >/dev/null && gw backup "$TMP/copy.db" >/dev/null || fail "backup"
[ "$(python3 - "$TMP/copy.db" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=10)
print(*[row[0] for row in db.execute("SELECT name FROM authority ORDER BY name")], db.execute("SELECT count(*) FROM krl").fetchone()[0])
PY
)" = "corp guests 1" ] || fail "the backup lacks CAs or the KRL"
stop_gateway
ok "certificates over restarts and in backups"
