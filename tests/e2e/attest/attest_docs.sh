# The test vectors in docs/ATTESTATION.md equal those that `cmxsafe` computes, and those that Python computes from the
# page's definitions.
. "$(dirname "$0")/../lib.sh"
python3 - "$ROOT/docs/ATTESTATION.md" "$TMP" <<'PY' || fail "a published vector is wrong"
import hashlib, hmac, re, struct, sys
page = open(sys.argv[1]).read()
key = bytes(range(32))
def label(text, counter=0):
    return hmac.digest(key, text.encode().ljust(31, b"\0") + bytes([counter]), "sha256")
def chain(data, challenge):
    h = bytes(32)
    for at in range(0, len(data), 4096):
        h = hmac.digest(key, h + data[at:at + 4096] + challenge, "sha256")
    return h
def measure(nonce, begin, data):
    message = b"cmxsafe measurement 3\0" + struct.pack(">II", begin, begin + len(data)) + nonce
    m = hashlib.sha256(hmac.digest(label("cmxsafe evidence mac 1"), message, "sha256"))
    for at in range(0, len(data), 4096):
        chunk = data[at:at + 4096]
        m.update(b"\1" if chunk == b"\xff" * len(chunk) else b"\0" + chunk)
    return m.digest()
flash = bytes((7 * a + (a >> 8)) & 255 for a in range(0x10000, 0x10000 + 8292))
nonce = bytes(range(8))
values = {
    "evidence key": label("cmxsafe evidence mac 1"),
    "ueid": b"\1" + label("cmxsafe ueid 1"),
    "scalar": label("cmxsafe ssh ecdsa-p256 1"),
    "attestation scalar": label("cmxsafe attest ecdsa-p256 1"),
    "appraisal key": label("cmxsafe appraisal 1"),
    "hash": chain(flash, b"string_to_use_as_challenge"),
    "measurement": measure(nonce, 0x10000, flash),
    "erased": measure(nonce, 0x20000, b"\xff" * 4196),
    "filler": b"".join(hmac.digest(b"0123456789abcdef", b"cmxsafe fill 1\0" + struct.pack(">Q", i), "sha256") for i in (2048, 2049)),
}
for name, value in values.items():
    assert value.hex() in page, name
assert all(text in page for text in ("`cmxsafe evidence mac 1`", "`cmxsafe ssh ecdsa-p256 1`", "`cmxsafe ueid 1`"))
open(sys.argv[2] + "/key", "wb").write(key)
PY
"$BIN/cmxsafe" identity public --key "$TMP/key" >"$TMP/out" || fail "identity public"
grep -qF "$(head -n 1 "$TMP/out")" "$ROOT/docs/ATTESTATION.md" || fail "the authorized_keys line differs"
grep -qF "$(sed -n 2p "$TMP/out")" "$ROOT/docs/ATTESTATION.md" || fail "the attestation key differs"
grep -qF "$(sed -n 's/^ueid //p' "$TMP/out")" "$ROOT/docs/ATTESTATION.md" || fail "the ueid differs"
ok "the published vectors"

# Every key that the documents generate is readable by its owner alone.
grep -rhoE --include=*.md '\(?(umask [0-7]+; )?openssl (rand|genpkey) .*-out .*' "$ROOT/README.md" "$ROOT/docs" "$ROOT/examples" "$ROOT/python" >"$TMP/lines"
[ "$(wc -l <"$TMP/lines")" = 4 ] || fail "the documents do not have four commands that make keys: $(cat "$TMP/lines")"
while read -r line; do
    rm -rf "$TMP/made" && mkdir "$TMP/made" && (cd "$TMP/made" && umask 022 && eval "$line") || fail "$line"
    equal "$(stat -c %a "$TMP/made"/*)" 600 || fail "others can read the key: $line"
done <"$TMP/lines"
ok "keys that the documents generate are readable by their owner alone"
