# Evidence is verified by `cmxsafe attest --evidence` against a manifest and by an independent implementation (cbor2, pycose);
# replayed, cut, re-signed and foreign tokens are refused.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
python=$(python_with cbor2==5.6.5 pycose==1.1.0 cryptography==43.0.3) || fail "no Python packages"
make_key
make_flash $((4 << 20))
start_board --keyfile private_key.bin

head -c $((0x80000)) "$TMP/firmware.bin" >"$TMP/app.bin"
tail -c 65536 "$TMP/firmware.bin" >"$TMP/last.bin"
cmx image manifest --end 0x3f0000 app.bin >"$TMP/manifest"
echo "region 0x3f0000 0x400000 file last.bin 0 $(sha256sum <"$TMP/last.bin" | cut -d' ' -f1)" >>"$TMP/manifest"
nonce=$(openssl rand -hex 32)
attest() { # attest OPTION...: verifies the device's evidence, or with --token a saved one
    local from=(--url "$URL")
    [[ " $* " != *" --token "* ]] || from=()
    cmx attest --evidence --manifest manifest "${from[@]}" "$@" >"$TMP/out" 2>&1
}
attest --nonce "$nonce" --save token || { cat "$TMP/out"; fail "the evidence is not trusted"; }
grep -qx TRUSTED "$TMP/out" || fail "no TRUSTED"
attest --json && json_is '.ok and (.checks | map(select(.check == "region")) | length) == 3' "$TMP/out" >/dev/null || fail "JSON"
ok "trusted by cmxsafe"
"$python" "$ROOT/tests/e2e/attest/attest_evidence.py" "$TMP/token" "$TMP/private_key.bin" "$TMP/flash.bin" "$nonce" || fail "cbor2 and pycose do not verify it"
ok "verified by cbor2 and pycose"
curl -sf -H 'Accept: application/json' "$URL/evidence?nonce=$nonce" | json_is '.swname == "attest_board" and .key == "software" and (.token | length) > 100' >/dev/null || fail "wrong evidence in JSON"
curl -sf -D "$TMP/head" -o "$TMP/second" "$URL/evidence?nonce=$nonce"
grep -qi '^content-type: application/eat+cwt' "$TMP/head" || fail "evidence has a wrong media type"
"$python" "$ROOT/tests/e2e/attest/attest_evidence.py" "$TMP/second" "$TMP/private_key.bin" "$TMP/flash.bin" "$nonce" || fail "evidence over the default ranges is not verified"

# Signed evidence is verified without the hardware key: the verifier has only the public lines that `cmxsafe identity
# public` prints when the device is made.
cmx identity public --key private_key.bin >"$TMP/device.pub" || fail "identity public"
grep -v '^cmxsafe-attest-1 ' "$TMP/device.pub" >"$TMP/no_attest.pub"
mkdir "$TMP/secrets" && mv "$TMP/private_key.bin" "$TMP/secrets/"
attest --attest-key device.pub --nonce "$nonce" --save signed || { cat "$TMP/out"; fail "signed evidence is not trusted"; }
grep -qx TRUSTED "$TMP/out" || fail "no TRUSTED for signed evidence"
"$python" "$ROOT/tests/e2e/attest/attest_evidence.py" "$TMP/signed" "$TMP/device.pub" "$TMP/flash.bin" "$nonce" || fail "cbor2 and pycose do not verify the signature"
mv "$TMP/secrets/private_key.bin" "$TMP/"
ok "signed evidence, by cmxsafe and by cbor2 and pycose, without a secret"

refused() { # refused WHAT WORD ARGUMENT...: expects that the token is not trusted, that the exit status is 1, and that the reason contains WORD
    local what=$1 word=$2 rc
    shift 2
    attest "$@"; rc=$?
    [ $rc = 1 ] || fail "$what: exit $rc"
    grep -q "$word" "$TMP/out" || { cat "$TMP/out"; fail "$what: the reason does not contain '$word'"; }
}
refused "a replayed token" 'FAILED *nonce' --token token --nonce "$(openssl rand -hex 32)"
head -c 200 "$TMP/token" >"$TMP/cut"
refused "a cut token" 'ends too early' --token cut --nonce "$nonce"
openssl rand -out "$TMP/other.bin" 32
refused "another device's key" 'MAC does not match' --token token --nonce "$nonce" --key other.bin
"$python" - "$TMP" <<'PY' # MACed with the hardware key itself instead of the key derived from it
import sys, cbor2, hmac
t = cbor2.loads(open(sys.argv[1] + "/token", "rb").read())
p, u, payload, tag = t.value.value
key = open(sys.argv[1] + "/private_key.bin", "rb").read()
tag = hmac.digest(key, cbor2.dumps(["MAC0", p, b"", payload]), "sha256")
open(sys.argv[1] + "/resigned", "wb").write(cbor2.dumps(cbor2.CBORTag(61, cbor2.CBORTag(17, [p, u, payload, tag]))))
PY
refused "a token signed without derivation" 'MAC does not match' --token resigned --nonce "$nonce"
openssl rand -out "$TMP/stranger.bin" 32
cmx identity public --key stranger.bin >"$TMP/stranger.pub"
refused "another device's attestation key" 'signature does not match' --attest-key stranger.pub --token signed --nonce "$nonce"
refused "a replayed signed token" 'FAILED *nonce' --attest-key device.pub --token signed --nonce "$(openssl rand -hex 32)"
refused "a token with a MAC where a signature is expected" 'a profile other than' --attest-key device.pub --token token --nonce "$nonce"
refused "a signed token where a MAC is expected" 'a profile other than' --token signed --nonce "$nonce"
refused "a file without an attestation key" 'holds no line' --attest-key no_attest.pub
"$python" - "$TMP" <<'PY' # a verifier cannot forge evidence with its appraisal key: a token with a MAC by this key is refused
import base64, sys, cbor2, hmac
line = [l for l in open(sys.argv[1] + "/device.pub") if l.startswith("cmxsafe-attest-1 ")][0]
appraisal = base64.b64decode(line.split()[1])[98:]
t = cbor2.loads(open(sys.argv[1] + "/token", "rb").read())
p, u, payload, tag = t.value.value
tag = hmac.digest(appraisal, cbor2.dumps(["MAC0", p, b"", payload]), "sha256")
open(sys.argv[1] + "/verifier", "wb").write(cbor2.dumps(cbor2.CBORTag(61, cbor2.CBORTag(17, [p, u, payload, tag]))))
PY
refused "a token that a verifier made" 'MAC does not match' --token verifier --nonce "$nonce"
curl -s "$URL/evidence?nonce=$nonce&alg=none" | grep -q "'alg' must be given once, as HS256 or ES256" || fail "alg=none is not refused"
refused "another session" 'FAILED *session' --session "$(openssl rand -hex 32)"
refused "another gateway" 'FAILED *gateway' --gateway SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
sed -i 's/^flash-size/require hardware-key\nflash-size/' "$TMP/manifest"
refused "a software key where hardware is required" 'FAILED *key'
sed -i '/hardware-key/d' "$TMP/manifest"
flip "$TMP/flash.bin" $((0x200000))
refused "one byte in erased flash" 'FAILED *region'
printf 'x' >>"$TMP/app.bin"
flip "$TMP/app.bin" 100
refused "a reference file that was changed after the manifest was made" 'changed since the manifest'
stop_board
ok "replayed, cut, foreign, re-signed tokens, other channels and changed flash are refused"

# Free flash is filled with pseudo-random bytes, and the manifest describes them.
openssl rand -out "$TMP/fill.key" 32
head -c 300001 "$TMP/firmware.bin" >"$TMP/app.bin"
cmx image fill --key fill.key app.bin filled.bin || fail "image fill"
[ "$(stat -c %s "$TMP/filled.bin")" = $((0x3f0000)) ] || fail "the filled image has another size than the flash after 0x10000"
head -c 65536 "$TMP/flash.bin" >"$TMP/new.bin"
cat "$TMP/filled.bin" >>"$TMP/new.bin"
cp "$TMP/new.bin" "$TMP/flash.bin"
cmx image manifest --fill fill.key filled.bin >"$TMP/manifest" || fail "image manifest --fill"
grep -q '^region .* fill fill.key' "$TMP/manifest" || fail "the manifest has no filler"
cmx image manifest --fill fill.key app.bin | diff - "$TMP/manifest" | grep -v app.bin | grep -q 'fill fill.key' && fail "filled and plain image differ in filler"
start_board --keyfile private_key.bin
attest || { cat "$TMP/out"; fail "a filled flash is not trusted"; }
printf '\xff\xff\xff\xff' | dd of="$TMP/flash.bin" bs=1 seek=$((0x200001)) conv=notrunc status=none
refused "a hole in the filler" 'FAILED *region'
[ "$(gzip -c "$TMP/filled.bin" | wc -c)" -gt $((0x3f0000 - 65536)) ] || fail "the filler can be compressed"
stop_board
ok "filler"
