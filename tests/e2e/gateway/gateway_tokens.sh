#!/usr/bin/env bash
# A person's platform logs in with the key of a FIDO2 token (here a token in software, which stock ssh loads), reaches
# only the services for which it has grants, and is revoked. Devices cannot use such a key, because each login needs a
# touch.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces
cc -shared -fPIC -o "$TMP/sk.so" "$ROOT/tests/support/sk_software.c" -lcrypto || fail "the software token does not compile"
export SSH_SK_PROVIDER=$TMP/sk.so
ssh-keygen -q -t ed25519-sk -N '' -C token -f "$TMP/token" || fail "ssh-keygen does not use the token"

start_gateway
web one
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81,82 >/dev/null || fail "enroll"
A=$(address_of cam-17)
client a -N -R "[$A]:81:127.0.0.1:$WEB" & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 connected cam-17 || fail "no login"
! gw enroll cam-18 --key "$TMP/token.pub" --ports 81 2>"$TMP/err" >/dev/null && grep -q "needs a person" "$TMP/err" || fail "a token's key was enrolled for a device: $(cat "$TMP/err")"

gw platform ann --key "$TMP/token.pub" >/dev/null || fail "platform"
gw grant ann cam-17:81 >/dev/null || fail "grant"
page() { printf 'GET / HTTP/1.0\r\n\r\n' | try_client token -o SecurityKeyProvider="$TMP/sk.so" -W "cam-17.cmx:$1" 2>"$TMP/ssh.err"; }
page 81 | grep -qx one || fail "the token's holder does not reach the device: $(cat "$TMP/ssh.err")"
refused_open token -o SecurityKeyProvider="$TMP/sk.so" -W cam-17.cmx:82 || fail "a port without a grant"
logged "ann: logged in from" || fail "the login is not logged: $(tail -3 "$TMP/gateway.log")"
gw whois platform:ann | grep -q 'platform:ann$' || fail "no identity: $(gw whois platform:ann)"
# A login without the touch and a login with another token are refused.
ssh-keygen -q -t ed25519-sk -N '' -O no-touch-required -f "$TMP/lazy" && gw platform lazy --key "$TMP/lazy.pub" >/dev/null && gw grant lazy cam-17:81 >/dev/null || fail "platform"
refused_login lazy -o SecurityKeyProvider="$TMP/sk.so" -N || fail "a key that needs no touch logs in"
ssh-keygen -q -t ed25519-sk -N '' -f "$TMP/other" || fail "ssh-keygen"
refused_login other -o SecurityKeyProvider="$TMP/sk.so" -N || fail "an unknown token logs in"
gw revoke --platform ann >/dev/null || fail "revoke"
refused_login token -o SecurityKeyProvider="$TMP/sk.so" -N || fail "a revoked token logs in"
stop_gateway
ok "a platform with the key of a FIDO2 token"
