#!/usr/bin/env bash
# Tests attestation by a confined cmxsafed: a key file or a TPM in [identity], the login with the derived key, and
# evidence through a real sshd.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
make_key
make_flash $((1 << 20))
start_sshd </dev/null
cmx identity public | head -n 1 >"$TMP/authorized_keys" || fail "identity public"
local_port=$(free_port) remote=$(free_port)
CREDENTIAL=' '
configure() { # configure IDENTITY-LINES: writes the configuration
    { gateway_section; printf '[identity]\n%b\n[attest]\nenabled = yes\nport = %s\nimage = %s\n' "$1" "$local_port" "$TMP/flash.bin"
      reverse attest "$local_port" "$remote"; } >"$CONF"
}

configure "key_file = $TMP/private_key.bin"
start_agent
wait_up
ok "logs in with the key derived from [identity]"
URL=http://127.0.0.1:$remote
cmx attest --url "$URL" | grep -qx MATCH || fail "no MATCH"
cmx image manifest --flash-size 1MB firmware.bin >"$TMP/manifest"
cmx attest --evidence --manifest manifest --url "$URL" --gateway "$PIN" --json >"$TMP/out" || { cat "$TMP/out"; fail "evidence"; }
json_is '.ok and .key == "software" and .swname == "cmxsafed"' "$TMP/out" >/dev/null || fail "facts"
curl -sf -H 'Accept: application/json' "$URL/evidence?nonce=0011223344556677" | json_is "(.session | length) == 64 and .isolation == false and .key_exchange == \"$(context attest .key_exchange)\"" >/dev/null || fail "claims"
cmx image manifest --flash-size 1MB --require post-quantum firmware.bin >"$TMP/pq"
case $(context attest .key_exchange) in
curve25519-sha256) ! cmx attest --evidence --manifest pq --url "$URL" >"$TMP/out" && grep -q '^FAILED *key-exchange *curve25519-sha256' "$TMP/out" ;;
mlkem* | sntrup*) cmx attest --evidence --manifest pq --url "$URL" >"$TMP/out" && grep -q '^ok *key-exchange' "$TMP/out" ;;
*) false ;;
esac || { cat "$TMP/out"; fail "wrong verdict on the key exchange $(context attest .key_exchange)"; }
equal "$(field '.modules.attest.authorized_key')" "$(cmx identity public | head -n 1)" || fail "the status names another key"
equal "$(field '.confinement[] | select(.what == "seccomp") | .applied')" true || fail "the agent is not confined"
sed -i 's/^port = '"$local_port"'/port = 1/' "$CONF"
kill -HUP "$AGENT"
wait_for 20 logged 'needs a restart' || fail "a reload changes attestation"
cmx attest --url "$URL" | grep -qx MATCH || fail "attestation fails after a refused reload"
# changed WORDS REASON: checks that the agent does not answer, because the file of the flash image has changed since the
# agent opened it, and that the agent logs REASON. WORDS name the change.
changed() {
    curl -sf "$URL/hash?challenge=x" >/dev/null && fail "an answer for an image that was $1"
    wait_for 10 logged "image $TMP/flash.bin: $2" || fail "the log does not say that the image was $1"
}
cp -p "$TMP/flash.bin" "$TMP/other.bin"
echo more >>"$TMP/flash.bin"
changed extended 'its size has changed'
truncate -s $((1 << 20)) "$TMP/flash.bin"
cmx attest --url "$URL" | grep -qx MATCH || fail "after the size was restored"
mv "$TMP/flash.bin" "$TMP/moved.bin"
changed removed 'it was removed'
mv "$TMP/other.bin" "$TMP/flash.bin"
changed replaced 'another file has replaced it'
for i in $(seq 40); do curl -s "$URL/hash?challenge=$i" >/dev/null; done
for line in 'no answer' 'another file has replaced it'; do # 10 lines a minute; the requests may be in two different minutes
    n=$(grep -c "$line" "$AGENT_LOG")
    [ "$n" -ge 1 ] && [ "$n" -le 20 ] || fail "41 requests write $n lines '$line'"
done
mv "$TMP/moved.bin" "$TMP/flash.bin"
cmx attest --url "$URL" | grep -qx MATCH || fail "after the file was moved back"
end_agent
ok "hash and evidence through the tunnel, confined; an image that is no longer the opened one is not attested; a reload that would need a restart is refused"

chmod 644 "$TMP/private_key.bin"
configure "key_file = $TMP/private_key.bin"
: >"$AGENT_LOG"
start_agent
wait_for 20 logged 'chmod 600' || fail "does not say how to fix it"
field_is '.contexts | length' 0 || fail "the agent logs in with a key that others can read"
end_agent
chmod 600 "$TMP/private_key.bin"
refused() { # refused WORD IDENTITY-LINES: expects that --check fails and its message contains WORD
    configure "$2"
    "$BIN/cmxsafed" -c "$CONF" --check >"$TMP/refused.log" 2>&1 && fail "accepted: $2"
    grep -q "$1" "$TMP/refused.log" || { cat "$TMP/refused.log"; fail "does not say '$1'"; }
}
refused 'not both' "key_file = $TMP/private_key.bin\ntpm_handle = 0x81000100"
refused 'tpm needs tpm_handle' "key_file = $TMP/private_key.bin\ntpm = device:/dev/tpmrm0"
refused 'attestation needs a key' ''
refused 'not a persistent handle' 'tpm_handle = 0x100'
ok "readable keys and incomplete configurations are refused"

command -v swtpm >/dev/null && command -v tpm2_import >/dev/null || skip "no swtpm or tpm2-tools"
start_tpm
# tpm2-tss 4.1 (Debian 13) leaks 96 bytes at each failed connection to the TPM.
echo leak:libtss2-tctildr >"$TMP/lsan"
export LSAN_OPTIONS=suppressions=$TMP/lsan:print_suppressions=0
configure "tpm = $TPM2TOOLS_TCTI\ntpm_handle = 0x81000100"
start_agent
wait_up
curl -sf -m 300 -H 'Accept: application/json' "$URL/evidence?nonce=0011223344556677&ranges=0-0x8000" | json_is '.key == "tpm"' >/dev/null || fail "the evidence does not name the TPM"
head -c 32768 "$TMP/firmware.bin" >"$TMP/part.bin"
expected=$(python3 "$ROOT/remote_attestation.py" x --key "$TMP/private_key.bin" --image "$TMP/part.bin" | sed -n 's/.*HMAC: //p')
equal "$(curl -sf -m 300 "$URL/hash?challenge=x&ranges=0x10000-0x18000")" "$expected" || fail "the TPM gives another value"
ok "the same with the key in a TPM"

tpm_answers() { # succeeds if the answer was computed with the key in the TPM
    [ "$(curl -sf -m 300 "$URL/hash?challenge=x&ranges=0x10000-0x18000")" = "$expected" ]
}
stop_swtpm
start_swtpm "$SWTPM_PORT"
tpm_answers || fail "the first use after a restart of the TPM fails"
stop_swtpm
tpm_answers && fail "a request is answered without a TPM"
wait_for 20 logged 'does not answer' || fail "the log does not say that the TPM is missing"
start_swtpm "$SWTPM_PORT"
wait_for 20 tpm_answers || fail "a TPM that came back is not used"
equal "$(field '.confinement[] | select(.what == "seccomp") | .applied')" true || fail "the agent is not confined"
ok "a TPM that restarts is used again"

kill -STOP "$SWTPM"
curl -s -m 2 "$URL/hash?challenge=x&ranges=0x10000-0x18000" >/dev/null && fail "a request is answered while the TPM is stopped"
equal "$(field '.modules.attest.authorized_key')" "$(cmx identity public | head -n 1)" || fail "the status command waits for the TPM"
kill -CONT "$SWTPM"
wait_for 20 tpm_answers || fail "a TPM that continues is not used"
ok "a TPM that does not answer does not block the status"
end_agent

# The login needs the key, and the TPM is not there at the start: the agent waits for it.
stop_swtpm
: >"$AGENT_LOG"
start_agent
wait_for 20 logged "no session is opened, because the login needs this key: [identity] tpm_handle: the TPM" || fail "the log does not say that the TPM is missing"
field_is '.contexts | length' 0 || fail "a session is open without the TPM"
start_swtpm "$SWTPM_PORT"
wait_up
wait_for 20 tpm_answers || fail "a TPM that appears after the start is not used"
end_agent
# The login does not need the key: the agent starts, and attestation works once the TPM is there.
stop_swtpm
CREDENTIAL="key_file = $KEY"
cat "$KEY.pub" >>"$TMP/authorized_keys"
configure "tpm = $TPM2TOOLS_TCTI\ntpm_handle = 0x81000100"
: >"$AGENT_LOG"
start_agent
wait_up
tpm_answers && fail "a request is answered without a TPM"
field .modules.identity.error | grep -q 'does not answer' || { json; fail "the status does not say that the TPM is missing"; }
start_swtpm "$SWTPM_PORT"
wait_for 20 tpm_answers || fail "a TPM that appears while the agent runs is not used"
end_agent
ok "a TPM that appears after the start"
