# A TPM 2.0 HMAC key is the hardware key: tpm2-tools imports private_key.bin into a real software TPM (swtpm).
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
command -v swtpm >/dev/null && command -v tpm2_import >/dev/null || skip "no swtpm or tpm2-tools"
make_key
make_flash $((1 << 20))
start_tpm

start_board --tpm "$TPM2TOOLS_TCTI" 0x81000100
device=$(curl -sf -m 300 "$URL/hash?challenge=x&ranges=0x10000-0x18000") || fail "no answer"
head -c 32768 "$TMP/firmware.bin" >"$TMP/part.bin"
python=$(cd "$TMP" && python3 "$ROOT/remote_attestation.py" x --image part.bin | sed -n 's/.*HMAC: //p')
equal "$device" "$python" || fail "device $device, Python $python"
long=$(printf 'y%.0s' $(seq 512)) # the longest message, which is sent to the TPM in several pieces
python=$(cd "$TMP" && python3 "$ROOT/remote_attestation.py" "$long" --image part.bin | sed -n 's/.*HMAC: //p')
equal "$(curl -sf -m 300 "$URL/hash?challenge=$long&ranges=0x10000-0x18000")" "$python" || fail "the value for the longest challenge is wrong"
curl -sf -m 300 -H 'Accept: application/json' "$URL/evidence?nonce=0011223344556677" | json_is '.key == "tpm"' >/dev/null || fail "the evidence does not name the TPM"
cmx image manifest --flash-size 1MB firmware.bin >"$TMP/manifest"
echo 'require hardware-key' >>"$TMP/manifest"
cmx attest --evidence --manifest manifest --url "$URL" >"$TMP/out" || { cat "$TMP/out"; fail "the evidence is not trusted"; }
stop_board
ok "attestation by a TPM 2.0"

refused() { # refused WORD HANDLE: expects that the program does not start with the key at HANDLE, and that its message contains WORD
    (cd "$TMP" && timeout 30 "$BIN/attest_board" flash.bin 1 --tpm "$TPM2TOOLS_TCTI" "$2") >"$TMP/refused.log" 2>&1 && fail "attest_board starts"
    grep -q "$1" "$TMP/refused.log" || { cat "$TMP/refused.log"; fail "does not say '$1'"; }
}
refused 'no object at handle 0x81000777' 0x81000777
tpm tpm2_createprimary -C o -c other.ctx
tpm tpm2_evictcontrol -C o -c other.ctx 0x81000200
refused 'not an HMAC-SHA256 key' 0x81000200
(cd "$TMP" && timeout 30 "$BIN/attest_board" flash.bin 1 --tpm "swtpm:host=127.0.0.1,port=1" 0x81000100) >"$TMP/refused.log" 2>&1 && fail "attest_board starts without a TPM"
grep -q 'does not answer' "$TMP/refused.log" || fail "does not say that the TPM is missing"
ok "no object, another object and no TPM are refused"
