# Updates of a Linux device: the agent, confined, hands a verified file to its handler; exit status, confirm and rollback hooks;
# through a real sshd.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/agent_lib.sh"
command -v jq >/dev/null || skip "no jq"
cd "$TMP" || exit 1
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
"$BIN/cmxsafe" image key --key k.pem --pem >k.pub
head -c 3000000 /dev/urandom >bundle1
head -c 500000 /dev/urandom >bundle2
for b in bundle1 bundle2; do "$BIN/cmxsafe" image sign --opaque --key k.pem --out $b.signed $b >/dev/null || fail "sign"; done
start_sshd </dev/null
PORT=$(free_port) GATE=$(free_port)
URL=http://127.0.0.1:$GATE
echo 1.0 >version
cat >install <<'SH'
#!/bin/sh
cat >installed
[ ! -e broken ] || { echo "signature of the bundle is not ours"; exit 3; }
echo 2.0 >version
echo done
SH
chmod +x install
config() { # config [lines of [ota]]
    { gateway_section; printf '[ota]\ninstall = cd %s && ./install\nversion = cat %s/version\nkey_file = %s/k.pub\nspool = %s/spool\nport = %s\n%s\n' \
        "$TMP" "$TMP" "$TMP" "$TMP" "$PORT" "$*"; reverse ota "$PORT" "$GATE"; } >"$CONF"
}
get() { curl -sS -m 10 "$URL/update" 2>/dev/null | jq -r "$1"; }
is() { [ "$(get "$1")" = "$2" ]; }

# ---- a handler whose work takes effect at once ----
config
start_agent
wait_for 40 is .running.version 1.0 || fail "the service does not answer through the gateway"
[ "$(get .signature_required)" = true ] || fail "a signature is not asked for"
code=$(curl -sS -m 60 -o answer -w '%{http_code}' -F update=@bundle1 "$URL/update")
[ "$code" = 422 ] && grep -q "not signed" answer || { cat answer; fail "an unsigned bundle: $code"; }
[ ! -e installed ] || fail "the handler saw a bundle that was not verified"
curl -sS -m 60 -F update=@bundle1.signed "$URL/update" >answer || fail curl
grep -q "^OK version=- slot=handler sha256=$(sha256sum <bundle1 | cut -d' ' -f1)$" answer || { cat answer; fail "the answer"; }
cmp installed bundle1 || fail "the handler did not get the bundle as it was"
is .running.version 2.0 && is .state idle || fail "the new version is not told"
ok "a verified bundle reaches the handler's standard input"

touch broken
code=$(curl -sS -m 60 -o answer -w '%{http_code}' --data-binary @bundle2.signed "$URL/update")
[ "$code" != 200 ] && grep -q "the handler failed: signature of the bundle is not ours" answer || { cat answer; fail "a failing handler: $code"; }
is .state idle || fail "after a failure"
rm broken
timeout 60 "$BIN/cmxsafe" update --opaque --url "$URL" bundle2.signed >out 2>err || { cat out err; fail "cmxsafe update --opaque"; }
cmp installed bundle2 && grep -q "^installed; the device takes it without a restart" out || { cat out; fail "the second bundle"; }
ok "the exit status is the outcome"
# A reload replaces the configuration's texts; what the service says of itself must not be among them.
kill -HUP "$AGENT"
wait_for 20 logged "read again" || fail "no reload"
is .device "$SSHD_USER" || fail "the device's name after a reload: $(get .)"
ok "reload"
json | jq -e '[.confinement[]? | select(.applied)] | length > 0' >/dev/null 2>&1 || logged "confinement: seccomp: applied" || fail "the agent is not confined"
end_agent
ok "under confinement"

# ---- a handler that needs a restart: trial, confirm, rollback ----
config "$(printf 'restart = touch %s/restarted\nconfirm = touch %s/confirmed\nrollback = echo back >%s/rolled; echo 1.0 >%s/version\nconfirm_within = 4s' "$TMP" "$TMP" "$TMP" "$TMP")"
start_agent
wait_for 40 is .running.version 2.0 || fail "restart"
curl -sS -m 60 -F update=@bundle1.signed "$URL/update" | grep -q '^OK ' || fail "upload"
wait_for 20 test -e restarted || fail "the restart hook is not run"
[ ! -e confirmed ] || fail "confirmed before the restart"
end_agent
start_agent
wait_for 40 test -e confirmed || fail "the confirm hook is not run"
wait_for 10 is .running.confirmed true || fail "not confirmed"
ok "restart and confirm hooks"

rm restarted confirmed
curl -sS -m 60 -F update=@bundle2.signed "$URL/update" | grep -q '^OK ' || fail "upload"
wait_for 20 test -e restarted || fail "the restart hook"
end_agent
stop_sshd
start_agent
wait_for 40 test -e rolled || fail "the rollback hook is not run"
[ ! -e confirmed ] || fail "confirmed without a session"
wait_for 10 logged "is rolled back: no session" || fail "the rollback is not said"
end_agent
start_sshd </dev/null
start_agent
wait_for 40 is .rolled_back.why "no session" || { get .; fail "the rollback is not told"; }
end_agent
ok "rollback hook"

printf '[ota]\ninstall = cat\n' >>"$CONF"; sed -i '/^key_file = .*k.pub/d' "$CONF"
"$BIN/cmxsafed" --check -c "$CONF" 2>err && fail "two [ota] sections"
config; sed -i "s|^key_file = $TMP/k.pub|key_file = $TMP/version|" "$CONF"
! "$BIN/cmxsafed" --check -c "$CONF" 2>err && grep -q "no P-256 public key" err || { cat err; fail "a key that is none"; }
config; sed -i "/^key_file = .*k.pub/d" "$CONF"
! "$BIN/cmxsafed" --check -c "$CONF" 2>err && grep -q "allow_unsigned" err || { cat err; fail "no key, and not said"; }
ok "configuration"
