# Tests the Python tools of python/, installed by `pip install`: every command prints the same bytes as the C program.
# Each program accepts the files that the other signs. Both refuse the same files with the same messages.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
. "$(dirname "$0")/../desk_lib.sh"
desk_ready

# both ARGUMENT...: runs both programs with these arguments; they must have the same output, messages and exit status.
# Sets $status.
both() {
    local other
    status=0 other=0
    "$BIN/cmxsafe" "$@" >out.c 2>err.c || status=$?
    tools "$@" >out.py 2>err.py || other=$?
    sed -i 's/cmxsafe-tools/cmxsafe/g' err.py
    [ "$status" = "$other" ] && cmp out.c out.py && cmp err.c err.py || {
        head -5 out.c err.c out.py err.py
        fail "$*: C ends with $status and Python with $other"
    }
}
same() { both "$@"; [ "$status" = 0 ] || { cat err.c; fail "$*: exit status $status"; }; }
refused() { both "$@"; [ "$status" = 1 ] || fail "$*: exit status $status"; }
misused() { # misused TEXT ARGUMENT...: expects that both programs refuse the command line with this text
    both "${@:2}"
    [ "$status" = 2 ] && grep -qF -- "$1" err.c || { cat err.c; fail "${*:2}: exit status $status"; }
}

# The tools run on Windows, so they may import no module that only Unix has.
lacks -rE '^ *(import|from) (fcntl|grp|mmap|posix|pty|pwd|resource|syslog|termios|tty)\b' "$ROOT/python/cmxsafe_tools" || fail "a module that Windows lacks"

make_key
make_flash $((4 << 20))
same identity public
cp out.c identity.pub
same identity public --json
head -c 31 private_key.bin >short.key
refused identity public --key short.key
refused identity public --key nothing
refused identity public --key identity.pub
grep -q "identity.pub: holds public keys, not the device's 32-byte hardware key" err.py || fail "wrong message for public keys in place of the hardware key"
ok "identity"

make_image a.bin 1.4.2 esp32c3 3
make_image "an app.bin" 'esp-idf: v5.5 #1' esp32s3
for k in k other; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $k.pem 2>/dev/null
    same image key --key $k.pem
    cp out.c $k.hex
done
same image key --key k.pem --pem
tools image sign --key k.pem --out s.bin a.bin >/dev/null || fail "sign"
"$BIN/cmxsafe" image sign --key other.pem --out o.bin "an app.bin" >/dev/null || fail "cmxsafe image sign"
"$ESPTOOL" -m espsecure generate-signing-key --version 2 --scheme ecdsa256 sb.pem >log 2>&1 || fail "espsecure key"
"$ESPTOOL" -m espsecure sign-data --version 2 --keyfile sb.pem --output sb.bin a.bin >log 2>&1 || fail "espsecure sign"
tools image sign --key k.pem --out both.bin sb.bin >/dev/null || fail "a Secure Boot v2 image can't be signed"
same image verify --key k.hex --chip ESP32-C3 s.bin
same image verify --key k.hex --key other.hex o.bin
same image verify --key k.hex both.bin
for image in a.bin s.bin "an app.bin" sb.bin both.bin; do
    same image info "$image"
    same image info --json "$image"
    same image manifest --flash-size 8MB --mask 0x9000-0xe000=nvs --require isolation --require hardware-key "$image"
done
seq 100 >plain
tools image sign --opaque --key k.pem --out plain.signed plain >/dev/null || fail "sign --opaque"
same image verify --opaque --key k.hex plain.signed
same image info --opaque plain.signed
openssl rand -out fill.key 32
mkdir folder
refused image verify --key k.hex a.bin
refused image verify --key other.hex s.bin
refused image verify --key k.hex --chip esp32s3 s.bin
refused image verify --key k.hex --min-secure-version 4 s.bin
refused image verify --key k.hex nothing.bin
refused image sign --key k.pem s.bin
refused image key --key nothing
refused image key --key folder
refused image fill --key fill.key --end 0x10010 a.bin x
refused image info plain
: >empty; refused image info empty
both image fill --key fill.key --end 0x20000 a.bin f.c && mv f.c f1 && tools image fill --key fill.key --end 0x20000 a.bin f.c && cmp f.c f1 || fail "fill"
cp a.bin in_place && same image fill --key fill.key --end 0x20000 in_place in_place && cp a.bin in_place &&
    tools image fill --key fill.key --end 0x20000 in_place in_place && cmp in_place f1 || fail "fill in place"
cp fill.key fill.was && cp k.pem k.was
refused image fill --key fill.key a.bin fill.key
refused image sign --key k.pem --out k.pem a.bin
cmp fill.key fill.was && cmp k.pem k.was || fail "a key was replaced"
ln -s /dev/null sink
tools image sign --key k.pem --out sink a.bin >/dev/null && [ -L sink ] && [ -c /dev/null ] || fail "a device was replaced by an image"
cp a.bin target && chmod 600 target && ln -s target link && (umask 027; tools image sign --key k.pem --out fresh a.bin >/dev/null) &&
    tools image sign --key k.pem --out link a.bin >/dev/null && [ -L link ] && tools image verify --key k.hex target >/dev/null || fail "output through a link fails"
equal "$(stat -c %a target fresh | tr '\n' ' ')" "600 640 " || fail "the modes of files that are written"
tools image key --key k.pem >&- 2>err && fail "a closed stdout is not an error"
equal "$(cat err)" "cmxsafe: writing the output failed: Bad file descriptor" || { cat err; fail "wrong reason"; }
tools image key --key k.pem >/dev/full 2>err && fail "output that cannot be written"
equal "$(cat err)" "cmxsafe: writing the output failed: No space left on device" || { cat err; fail "wrong reason"; }
same image manifest --fill fill.key --end 0x20000 f1
same image manifest --fill fill.key a.bin
refused image manifest --end 0x10100 a.bin
refused image manifest --end 0x90100 a.bin # no device measures a part of a chunk
grep -q "a.bin: a region must begin and end at a multiple of 4096" err.c || { cat err.c; fail "wrong reason"; }
refused image manifest --at 0x10010 a.bin
# Without a terminal a key with a passphrase is refused.
openssl pkey -in k.pem -aes256 -passout pass:secret -out locked.pem
setsid -w "$BIN/cmxsafe" image key --key locked.pem </dev/null >out 2>err.c && fail "a locked key is accepted without its passphrase"
PYTHONPATH=$TMP/site setsid -w "$PYTHON" -m cmxsafe_tools image key --key locked.pem </dev/null >out 2>err.py && fail "a locked key is accepted without its passphrase"
for f in err.c err.py; do
    grep -q "locked.pem: no private key can be read from it; give a private key in PEM or DER, and its passphrase if it has one" $f && lacks -e Traceback -e "make one" $f ||
        { cat $f; fail "wrong message for a locked key"; }
done
for word in wrong ""; do
    PYTHONPATH=$TMP/site setsid -w "$PYTHON" -W ignore -m cmxsafe_tools image key --key locked.pem <<<"$word" >out 2>err && fail "a wrong passphrase is accepted"
    grep -q "passphrase if it has one" err && lacks Traceback err || { cat err; fail "wrong message for a wrong passphrase"; }
done
# Windows PowerShell writes the output of a command as UTF-16.
for f in k.hex:"image verify --opaque plain.signed --key" identity.pub:"attest --evidence --manifest m --attest-key"; do
    iconv -f UTF-8 -t UTF-16 "${f%%:*}" >wide
    # shellcheck disable=SC2086
    refused ${f#*:} wide
    grep -q "wide: it is UTF-16 text; save it as UTF-8" err.py || { cat err.py; fail "UTF-16: $f"; }
done
"$BIN/cmxsafe" image manifest a.bin | iconv -f UTF-8 -t UTF-16 >wide
refused attest --evidence --attest-key identity.pub --manifest wide
grep -q "wide:1: it is UTF-16 text; save it as UTF-8" err.py || { cat err.py; fail "wrong message for a manifest in UTF-16"; }
mkdir elsewhere && "$BIN/cmxsafe" image manifest a.bin >elsewhere/manifest
refused attest --evidence --attest-key identity.pub --manifest elsewhere/manifest
grep -q "a.bin' No such file or directory; make the manifest again, in the folder of the files that it names" err.py || { cat err.py; fail "wrong message for a manifest in another folder"; }
ok "image"

start_board --keyfile private_key.bin
same attest --url "$URL" --challenge 'a challenge / with ümlaut & more'
same attest --url "$URL" --challenge c --ranges 0x20000-0x30000,0x10000-0x11000 --json
same attest --compute --challenge c
head -c $((0x80000)) firmware.bin >app.bin
same image manifest --end 0x90000 app.bin
cp out.c manifest
nonce=$(printf '00%.0s' $(seq 32))
same attest --url "$URL" --evidence --manifest manifest --nonce "$nonce" --save token
"$BIN/cmxsafe" identity public >device.pub
same attest --url "$URL" --evidence --manifest manifest --nonce "$nonce" --attest-key device.pub --save signed
for token in "token" "signed --attest-key device.pub"; do
    # shellcheck disable=SC2086
    for format in --json ""; do same attest --evidence --manifest manifest --nonce "$nonce" $format --token $token; done
    # shellcheck disable=SC2086
    refused attest --evidence --manifest manifest --nonce "11$nonce" --token $token
done
refused attest --evidence --manifest manifest --nonce "$nonce" --token signed
refused attest --evidence --manifest manifest --nonce "$nonce" --token token --attest-key device.pub
refused attest --evidence --manifest manifest --nonce "$nonce" --token token --session 00
refused attest --evidence --manifest manifest --nonce "$nonce" --token token --gateway "SHA256:$(printf 'A%.0s' $(seq 43))"
flip flash.bin $((0x20000 + 5))
refused attest --url "$URL" --challenge c --locate
refused attest --url "$URL" --evidence --manifest manifest --nonce "$nonce"
stop_board
refused attest --url "$URL" --challenge c --image nothing.bin
ok "attest: the value of /hash, MACed and signed evidence"

# Empty values, and options that would have no effect, are refused. If an empty --gateway counted as no option, evidence
# that came through any gateway would be accepted.
for option in gateway session nonce token save attest-key manifest; do misused "--$option is empty" attest --evidence --manifest manifest --nonce "$nonce" --token token --$option ""; done
for option in gateway device ssh-config attest-key; do misused "--$option is empty" update a.bin --$option=; done
for command in "image info" "image verify --key k.hex" update; do
    # shellcheck disable=SC2086
    misused "an argument is empty" $command ""
done
for option in "--url $URL" "--timeout 3"; do
    # shellcheck disable=SC2086
    misused "${option% *} can't be used with --token" attest --evidence --manifest manifest --nonce "$nonce" --token token $option
done
for option in "--url $URL" "--timeout 3" --locate; do
    # shellcheck disable=SC2086
    misused "${option% *} can't be used with --compute" attest --compute --challenge c $option
done
misused "--at can't be used with --evidence" attest --evidence --manifest manifest --at 0x10000
for option in "--chip esp32" "--min-secure-version 1"; do
    # shellcheck disable=SC2086
    misused "${option% *} can't be used with --opaque" image verify --key k.hex --opaque $option plain.signed
done
misused "--wait can't be used with --no-wait" update --no-wait --wait 3 a.bin
ok "command lines that are refused"

# Compares the common output of both programs with golden files, so that the same change to both programs is noticed.
cp "$ROOT"/tests/golden/desk/* .
for f in key:private_key.bin image:app.bin token:token signed:signed key_exchange:with_kex; do xxd -r -p "${f%%:*}.hex" >"${f#*:}"; done
same identity public; cmp out.c identity.txt || fail "the output differs from identity.txt"
same image info app.bin; cmp out.c info.txt || fail "the output differs from info.txt"
same image manifest --any-version app.bin; cmp out.c manifest || fail "manifest"
same attest --compute --challenge vector --image app.bin; cmp out.c hash.txt || fail "the output differs from hash.txt"
same attest --evidence --manifest manifest --nonce "$nonce" --token token; cmp out.c verdict.txt || fail "the output differs from verdict.txt"
same attest --evidence --manifest manifest --nonce "$nonce" --token signed --attest-key identity.txt; cmp out.c verdict.txt || fail "the output differs from verdict.txt"
sed 's/^flash-size/require post-quantum\nflash-size/' manifest >pq
same attest --evidence --manifest pq --nonce "$nonce" --token with_kex; grep -q '^ok *key-exchange *mlkem768x25519-sha256$' out.c || fail "key_exchange.hex"
refused attest --evidence --manifest pq --nonce "$nonce" --token token; grep -q '^FAILED *key-exchange *absent$' out.c || fail "evidence without the claim is not refused"
ok "golden files"

cp identity.txt device.pub
PYTHONPATH=$TMP/site "$PYTHON" "$ROOT/tests/e2e/desk/desk_tools.py" "$BIN/cmxsafe" "$TMP" "${CMX_SEED:-$RANDOM}" "${CMX_ROUNDS:-40}" || fail "the two differ"
ok "broken images, manifests and tokens"
