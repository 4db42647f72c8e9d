#!/usr/bin/env bash
# A part of the agent that the SSH sessions do not need is missing at the start. The device is reachable nevertheless,
# the log and the status say what is missing, and no other process gets the requests for a service that does not run.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
for tool in jq python3 openssl; do command -v "$tool" >/dev/null || skip "no $tool"; done

start_sshd </dev/null
WEB=$(free_port) GATE=$(free_port) PORT=$(free_port) SERVICE=$(free_port)
mkdir "$TMP/www" "$TMP/false" "$TMP/images"
echo hello >"$TMP/www/index.html"
echo false >"$TMP/false/index.html"
head -c 32 /dev/urandom >"$TMP/hmac" && chmod 600 "$TMP/hmac"
serve_folder "$WEB" "$TMP/www"
SECTIONS=('' "[identity]\nkey_file = $TMP/hmac\n[attest]\nenabled = yes\nport = $PORT\n" "[ota]\ninstall = cat\nport = $PORT\nspool = $TMP/spool\n")
serves() { [ "$(curl -sS --max-time 10 "http://127.0.0.1:$GATE/" 2>/dev/null)" = hello ]; }
get() { curl -sS -m 60 -o "$TMP/answer" -w '%{http_code}' "http://127.0.0.1:$SERVICE$1" 2>/dev/null; }
answers() { [ "$(get "$1")" = "$2" ]; }

# begin SECTION LINES: starts an agent with the lines in SECTION (0: none, 1: [attest], 2: [ota]) and with a context for
# the service. The context `web` must come up.
begin() {
    { gateway_section; printf "${SECTIONS[$1]}${2:-}\n"; reverse web "$WEB" "$GATE"; reverse service "$PORT" "$SERVICE"; } >"$CONF"
    : >"$AGENT_LOG"
    start_agent
    wait_for 20 serves || { cat "$AGENT_LOG"; fail "the device is not reachable"; }
}
# reload LINE: reloads the configuration, and waits until the agent logs LINE.
reload() {
    kill -HUP "$AGENT"
    wait_for 20 logged "$1" || fail "a reload does not log: $1"
    serves || fail "a reload ended the context"
}
# off MODULE REASON: expects that the status names REASON, and that the context of the service is not opened.
off() {
    wait_up
    ! listening "$SERVICE" || { get /; cat "$TMP/answer"; fail "a context leads to a service that does not run"; }
    field ".modules.$1.error" | grep -qF "$2" || { json; fail "the status does not say why $1 does not work: $2"; }
    "$BIN/cmxsafed" status --socket "$RUN/s" | grep -qF "$2" || fail "the table does not say why $1 does not work: $2"
    logged "[context service] is left out while the agent does not serve port $PORT" || fail "the log does not name the context"
}

# ---- the control socket ----
AGENT_LINES='confine = no'
rmdir "$RUN"
begin 0
logged "there is no control socket $RUN/s: not found" || fail "a missing folder is not logged"
mkdir "$RUN"
reload "$RUN/s was created"
wait_up
end_agent
touch "$RUN/s"
begin 0
logged "there is no control socket $RUN/s: already there" || fail "a file in place of the socket is not logged"
kill -TERM "$AGENT" && wait "$AGENT" || fail "the agent does not end properly without a control socket"
[ -f "$RUN/s" ] || fail "the agent removed a file that is not its socket"
rm "$RUN/s"
AGENT_LINES=''
rmdir "$RUN"
begin 0
kill -TERM "$AGENT" && wait "$AGENT" || fail "the agent does not end properly without a folder for the socket"
no_sanitizer_report "$AGENT_LOG" || fail "a sanitizer complains"
mkdir "$RUN"
begin 0
timeout 20 "$BIN/cmxsafed" -c "$CONF" 2>"$TMP/second.log" && fail "two agents use one control socket"
grep -q "another cmxsafed answers there" "$TMP/second.log" || { cat "$TMP/second.log"; fail "the second agent does not say why it ends"; }
end_agent
ok "the control socket"

# ---- the image of [attest] ----
begin 1 "image = $TMP/images/image"
wait_up
logged "[attest] image $TMP/images/image: No such file or directory" || fail "a missing image is not logged"
for ranges in '' '&ranges=0-4096'; do
    answers "/evidence?nonce=0011223344556677$ranges" 500 || { cat "$TMP/answer"; fail "evidence leaves out the missing image"; }
    answers "/hash?challenge=abcd$ranges" 500 || { cat "$TMP/answer"; fail "/hash does not answer 500 without the image"; }
done
field .modules.attest.error | grep -qF "image $TMP/images/image" || { json; fail "the status does not report the missing image"; }
mkdir "$TMP/images/image" # no image either
reload "read again"
answers "/evidence?nonce=0011223344556677" 500 || fail "a request for evidence of a folder does not fail"
rmdir "$TMP/images/image"
head -c 70000 /dev/urandom >"$TMP/images/image"
answers "/evidence?nonce=0011223344556677" 200 || { cat "$TMP/answer"; fail "the image is there, but no evidence is given"; }
[ "$(curl -sS -m 60 -H 'Accept: application/json' "http://127.0.0.1:$SERVICE/evidence?nonce=0011223344556677" | jq '.measured | length')" = 1 ] || fail "the evidence does not measure the image"
field_is .modules.attest.error null || { json; fail "the status keeps an old error"; }
end_agent
ok "the image of [attest]"

# ---- a service whose port another process uses: that process does not get the gateway's requests ----
for module in attest ota; do
    serve_folder "$PORT" "$TMP/false"
    begin $([ $module = attest ] && echo 1 || echo 2 allow_unsigned=yes)
    off $module "port $PORT: already in use"
    stop "${PIDS[-2]}"
    reload "read again"
    wait_up
    wait_for 20 listening "$SERVICE" || fail "the context does not come up after the port is free"
    get / >/dev/null; lacks -x false "$TMP/answer" || fail "the other process answers"
    field_is .modules.$module.enabled true && field_is '.contexts | length' 2 || { json; fail "$module does not start after the port is free"; }
    end_agent
done
ok "a port that another process uses"

# ---- the key of [identity] ----
"$BIN/cmxsafe" identity public --key "$TMP/hmac" | head -n 1 >>"$TMP/authorized_keys" || fail "identity public"
mv "$TMP/hmac" "$TMP/real"
# Only attestation needs it: the agent starts, attestation fails, and the next request after the key appears gets an answer.
begin 1
wait_up
logged "[identity] key_file $TMP/hmac: No such file or directory; attestation fails" || fail "a missing key is not logged"
answers /evidence?nonce=0011223344556677 500 || { cat "$TMP/answer"; fail "/evidence does not answer 500 without the key"; }
field_is .modules.attest.key none && field .modules.identity.error | grep -qF "$TMP/hmac" || { json; fail "the status does not report the missing key"; }
mkfifo "$TMP/hmac" # no key either
answers /evidence?nonce=0011223344556677 500 || fail "a request for evidence with a FIFO as key does not fail"
rm "$TMP/hmac" && cp -p "$TMP/real" "$TMP/hmac"
wait_for 20 answers /evidence?nonce=0011223344556677 200 || { cat "$TMP/answer"; fail "the key is there, but no evidence is given"; }
field_is .modules.attest.key software && field_is .modules.identity null || { json; fail "the status keeps an old error"; }
end_agent
# The login needs it: no session is opened, the status says why, and the agent tries again, also in a folder that appears
# later. It does not log in with another credential.
CREDENTIAL=' '
SECTIONS[1]=${SECTIONS[1]/$TMP/$TMP/later}
waits() { # waits REASON: expects that the agent runs, has no session, and gives the reason
    wait_for 20 json || fail "the agent does not run"
    wait_for 20 sh -c "'$BIN/cmxsafed' status --socket '$RUN/s' | grep -qF '$1'" || { json; fail "the status does not say: $1"; }
    field_is .all_up false && field_is '.contexts | length' 0 && ! listening "$GATE" || { json; fail "a session without the key"; }
}
{ gateway_section; printf "${SECTIONS[1]}"; reverse web "$WEB" "$GATE"; } >"$CONF"
: >"$AGENT_LOG"
start_agent
waits "[identity] key_file $TMP/later/hmac: No such file or directory"
logged "no session is opened, because the login needs this key" || fail "the log does not say what the key is for"
kill -HUP "$AGENT"
wait_for 20 logged "read again" || fail "no reload while the agent waits for its key"
kill -TERM "$AGENT" && wait "$AGENT" || fail "the agent does not end properly while it waits for its key"
start_agent
mkdir "$TMP/later"
head -c 31 "$TMP/real" >"$TMP/later/hmac" && chmod 600 "$TMP/later/hmac"
waits "$TMP/later/hmac: is not a file of 32 bytes"
cp -p "$TMP/real" "$TMP/later/hmac" && chmod 644 "$TMP/later/hmac"
waits "others can read or change it"
chmod 600 "$TMP/later/hmac"
wait_for 30 serves || fail "the key is there, but the agent does not log in"
field_is .modules.identity null || { json; fail "the status keeps an old error"; }
equal "$(field '.confinement[] | select(.what == "seccomp") | .applied')" true || fail "the agent is not confined after it has waited"
end_agent
unset CREDENTIAL
ok "the key of [identity]"

# ---- the files of [ota] ----
begin 2 "key_file = $TMP/update.pub"
off ota "[ota] key_file $TMP/update.pub: No such file or directory"
reload "the old configuration stays in force"
field .config.reload_failed.error | grep -qF "[ota] key_file $TMP/update.pub" || { json; fail "the status does not report that a reload failed because of a missing file"; }
openssl ecparam -name prime256v1 -genkey -noout 2>/dev/null | openssl ec -pubout -out "$TMP/update.pub" 2>/dev/null
end_agent
begin 2 "key_file = $TMP/update.pub"
wait_up
field_is .modules.ota.enabled true || { json; fail "no update service although the key is there"; }
end_agent
serve_folder "$PORT" "$TMP/false"
SECTIONS[2]=${SECTIONS[2]/$TMP/$TMP/missing}
begin 2 "allow_unsigned = yes"
logged "there is no update service: $TMP/missing/spool: No such file or directory" || fail "a missing folder is not logged"
off ota "$TMP/missing/spool: No such file or directory"
reload "read again"
off ota "$TMP/missing/spool: No such file or directory"
end_agent
ok "the files of [ota]"
