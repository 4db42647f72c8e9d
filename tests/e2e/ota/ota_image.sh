# `cmxsafe image`: signs, verifies and describes images made by esptool, with keys in files and in a PKCS#11 token. It
# also accepts images that espsecure signed for Secure Boot v2.
. "$(dirname "$0")/../lib.sh"
. "$ROOT/tests/tools/ota_image.sh"
esptool_ready
cd "$TMP" || exit 1

make_image a.bin 1.4.2 esp32c3 3
make_image s3.bin 1.4.2 esp32s3
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem 2>/dev/null
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.pem 2>/dev/null
for k in k other; do "$BIN/cmxsafe" image key --key $k.pem >$k.hex; openssl pkey -in $k.pem -pubout -out $k.pub 2>/dev/null; done
"$BIN/cmxsafe" image key --key k.pem --pem | cmp - k.pub || fail "image key --pem differs from openssl's"

"$BIN/cmxsafe" image sign --key k.pem --out s.bin a.bin || fail "sign"
! "$BIN/cmxsafe" image sign --key k.pem --out - a.bin 2>dash.err && grep -q "^cmxsafe: -: this command writes a file" dash.err && [ ! -e ./- ] || fail "sign to '-' is not refused, or has a wrong message: $(cat dash.err)"
[ "$(($(stat -c %s s.bin) - $(stat -c %s a.bin)))" = 96 ] || fail "the trailer's length differs from docs/OTA.md"
for k in k.hex k.pub; do "$BIN/cmxsafe" image verify --key $k --chip esp32c3 s.bin || fail "verify with $k"; done
"$BIN/cmxsafe" image verify --key other.hex --key k.hex s.bin || fail "verify does not accept the second of two keys"
"$BIN/cmxsafe" image info --json s.bin | json_is '.chip == "ESP32-C3" and .version == "1.4.2" and .project == "camera" and
    .secure_version == 3 and .bytes == '"$(stat -c %s a.bin)"' and .sha256 == "'"$(sha256sum <a.bin | cut -d' ' -f1)"'"' >/dev/null || fail "info"
ok "sign, verify, info"

# Verifies the trailer with openssl, according to its description in docs/OTA.md.
n=$(stat -c %s a.bin)
{ tail -c 96 s.bin | head -c 32; openssl dgst -sha256 -binary a.bin; } >message
tail -c 64 s.bin | xxd -p -c 64 >sig.hex
r=$(cut -c1-64 sig.hex) s=$(cut -c65-128 sig.hex)
printf 'asn1=SEQUENCE:s\n[s]\nr=INTEGER:0x%s\ns=INTEGER:0x%s\n' "$r" "$s" >sig.cnf
openssl asn1parse -genconf sig.cnf -noout -out sig.der
openssl dgst -sha256 -verify k.pub -signature sig.der message >/dev/null || fail "openssl does not verify the trailer as documented"
ok "the documented format"

# In a manifest, a version and a file name may contain blanks. Versions of Arduino's cores contain blanks.
make_image "an app.bin" "esp-idf: v5.5 #1"
"$BIN/cmxsafe" image manifest "an app.bin" >manifest || fail "no manifest for a version with blanks"
grep -qx 'version "esp-idf: v5.5 #1"' manifest && grep -q ' file "an app.bin" 0x0 ' manifest || { cat manifest; fail "the manifest does not quote"; }
ok "a version with blanks in a manifest"

refused() { # refused WHAT ARGUMENTS...: checks that the exit status is 1 and that the message contains WHAT
    local what=$1 rc=0
    shift
    "$BIN/cmxsafe" image "$@" >out 2>err || rc=$?
    [ $rc = 1 ] || fail "$*: exit status $rc"
    grep -q "^cmxsafe: .*$what" err || { cat err; fail "$*: not '$what'"; }
}
refused "not signed" verify --key k.hex a.bin
refused "signer is not trusted" verify --key other.hex s.bin
refused "another chip" verify --key k.hex --chip esp32s3 s.bin
refused "secure version is below" verify --key k.hex --min-secure-version 4 s.bin
refused "signed already" sign --key k.pem s.bin
refused "not an ECDSA P-256 key" sign --key p384.pem --out x a.bin
refused "no private key" sign --key k.hex --out x a.bin
refused "private key" verify --key k.pem s.bin
refused "No such file" sign --key k.pem nothing.bin
head -c 2000 a.bin >short.bin; refused "too early" info short.bin
cp s.bin t.bin; flip t.bin 400; refused "checksum\|SHA-256" verify --key k.hex t.bin
cp s.bin t.bin; flip t.bin $((n + 40)); refused "signature does not match" verify --key k.hex t.bin
cp s.bin t.bin; tail -c 96 s.bin >>t.bin; refused "bytes follow the signature" verify --key k.hex t.bin
seq 100 >t.bin; refused "not an ESP-IDF application image" sign --key k.pem t.bin
rc=0; "$BIN/cmxsafe" image verify s.bin 2>err || rc=$?; [ $rc = 2 ] || fail "no key is a usage error"
"$BIN/cmxsafe" image sign --replace --key other.pem s.bin && "$BIN/cmxsafe" image verify --key other.hex s.bin || fail "--replace"
ok "refusals"

"$BIN/cmxsafe" image sign --opaque --key k.pem --out t.signed t.bin && "$BIN/cmxsafe" image verify --opaque --key k.hex t.signed || fail "opaque"
printf y >>t.signed; refused "not signed" verify --opaque --key k.hex t.signed
ok "opaque files"

# espsecure signs an image for Secure Boot v2.
"$ESPTOOL" -m espsecure generate-signing-key --version 2 --scheme ecdsa256 sb.pem >log 2>&1 || fail "espsecure key"
"$ESPTOOL" -m espsecure sign-data --version 2 --keyfile sb.pem --output sb.bin a.bin >log 2>&1 || { cat log; fail "espsecure sign"; }
"$BIN/cmxsafe" image info --json sb.bin | json_is '.secure_boot_v2 and .signed_by == null' >/dev/null || fail "info does not recognise a Secure Boot v2 image"
"$BIN/cmxsafe" image sign --key k.pem --out both.bin sb.bin && "$BIN/cmxsafe" image verify --key k.hex both.bin || fail "an image with both signatures is not verified"
"$ESPTOOL" -m espsecure verify-signature --version 2 --keyfile sb.pem sb.bin >log 2>&1 || fail "espsecure does not verify its own signature"
ok "Secure Boot v2"

# The key is in a PKCS#11 token.
command -v softhsm2-util >/dev/null && command -v pkcs11-tool >/dev/null || skip "no softhsm2: signing by PKCS#11"
module=$(ls /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so 2>/dev/null | head -1)
mkdir tokens
echo "directories.tokendir = $TMP/tokens" >hsm.conf
export SOFTHSM2_CONF=$TMP/hsm.conf PKCS11_MODULE_PATH=$module
softhsm2-util --init-token --free --label ota --pin 4711 --so-pin 1234 >log 2>&1 || fail "softhsm2-util"
pkcs11-tool --module "$module" --login --pin 4711 --keypairgen --key-type EC:prime256v1 --label sign --id 01 >log 2>&1 || fail "pkcs11-tool"
uri='pkcs11:token=ota;object=sign;type=private?pin-value=4711'
"$BIN/cmxsafe" image sign --key "$uri" --out hsm.bin a.bin || fail "signing with a token fails"
"$BIN/cmxsafe" image key --key "$uri" >hsm.hex
"$BIN/cmxsafe" image verify --key hsm.hex hsm.bin || fail "verify refuses an image that a token signed"
# Runs the commands in docs/OTA.md.
mkdir docs && cp s3.bin docs/firmware.bin
sed -n '/^## Keys and signing/,/^For a key in a token/p' "$ROOT/docs/OTA.md" | sed -n '/^```/,/^```/p' | grep -v '^```' >docs/lines
(cd docs && PATH=$BIN:$PATH bash -e lines >out 2>&1) && grep -q '^firmware.bin: good, signed with key' docs/out || { cat docs/out; fail "the commands of docs/OTA.md fail"; }
ok "docs/OTA.md"
# The OpenSSL engine leaks memory when it fails.
export ASAN_OPTIONS=detect_leaks=0
refused "no such key" sign --key "${uri/object=sign/object=none}" --out x a.bin
lacks 4711 err || fail "the PIN is printed"
refused "no such key, a wrong PIN" sign --key "${uri/4711/0000}" --out x a.bin
# The token holds a private key and, under the same name, the public key of another pair. This public key does not verify the
# private key's signatures.
openssl pkey -in k.pem -outform DER -out k.der && openssl pkey -in other.pem -pubout -outform DER -out other.der || fail "openssl pkey"
for object in "k.der --type privkey" "other.der --type pubkey"; do
    # shellcheck disable=SC2086
    pkcs11-tool --module "$module" --login --pin 4711 --write-object $object --id 03 --label mixed >log 2>&1 || { cat log; fail "pkcs11-tool"; }
done
refused "signing failed" sign --key "${uri/object=sign/object=mixed}" --out mixed.bin a.bin
lacks 4711 err || fail "the PIN is printed"
[ ! -e mixed.bin ] || fail "a file with a wrong signature is left"
ok "PKCS#11"
