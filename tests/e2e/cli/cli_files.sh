#!/usr/bin/env bash
# Every command that reads a file which the operator names: an endless file, a FIFO without a writer, a folder, an empty and a
# missing file each end with a message that names the file. Public keys are also read from a pipe.
. "$(dirname "$0")/../lib.sh"

export CMXSAFE_GATEWAY=$TMP/gateway
"$BIN/cmxsafe" gateway init --user --host 127.0.0.1 --listen 127.0.0.1:1 >/dev/null || fail "init"
ssh-keygen -q -t ed25519 -N '' -f "$TMP/key"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$TMP/ota.pem" 2>/dev/null || fail "openssl"
head -c 32 /dev/urandom >"$TMP/private_key.bin"
mkfifo "$TMP/fifo"
mkdir "$TMP/folder"
: >"$TMP/empty"
URL=http://127.0.0.1:1

# refused FILE COMMAND...: fails by itself with a message that names FILE, and does not wait
refused() {
    local file=$1 rc
    shift
    timeout -s KILL 120 "$BIN/cmxsafe" "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
    rc=$?
    [ "$rc" != 137 ] || fail "does not end: $*"
    [ "$rc" = 1 ] || fail "exit status $rc: $*: $(cat "$TMP/out" "$TMP/err")"
    grep -qF "$file" "$TMP/err" || fail "the message does not name the file: $*: $(cat "$TMP/err")"
}

for f in /dev/zero "$TMP/fifo" "$TMP/folder" "$TMP/empty" "$TMP/missing"; do
    refused "$f" image info "$f"
    refused "$f" image verify --key "$f" "$f"
    refused "$f" image sign --key "$TMP/ota.pem" "$f"
    refused "$f" image manifest "$f"
    refused "$f" image fill --key "$TMP/private_key.bin" "$f" "$TMP/filled"
    refused "$f" identity public --key "$f"
    refused "$f" attest --url "$URL" --key "$f" --image "$f"
    refused "$f" attest --url "$URL" --key "$TMP/private_key.bin" --image "$f"
    refused "$f" attest --url "$URL" --evidence --attest-key "$f" --manifest "$f"
    refused "$f" update --url "$URL" "$f"
    refused "$f" gateway enroll cam-17 --key "$f" --ports 81
    refused "$f" gateway enroll cam-17 --hwkey "$f" --ports 81
    refused "$f" gateway enroll cam-17 --key "$TMP/key.pub" --attest-key "$f" --ports 81
    refused "$f" gateway platform vms --key "$f"
    refused "$f" gateway policy set @cameras --manifest "$f" --max-age 1h --enforce yes
    refused "$f" gateway campaign start may --all --image "$f"
done
for f in /dev/zero "$TMP/folder" "$TMP/missing"; do
    refused "$f" gateway import "$f"
done
[ "$("$BIN/cmxsafe" gateway list --json)" = "[]" ] || fail "a refused command enrolled something"
ok "an endless file, a FIFO, a folder, an empty and a missing file are refused by name"

"$BIN/cmxsafe" gateway enroll cam-17 --key <(cat "$TMP/key.pub") --ports 81 >/dev/null || fail "a key from a pipe"
"$BIN/cmxsafe" gateway platform vms --key - <"$TMP/key.pub" 2>/dev/null && fail "the key of a device is registered for a platform"
ssh-keygen -q -t ed25519 -N '' -f "$TMP/vms"
"$BIN/cmxsafe" gateway platform vms --key - <"$TMP/vms.pub" >/dev/null || fail "a key from stdin"
{ echo "name,key,ports"; ssh-keygen -q -t ed25519 -N '' -f "$TMP/c"; echo "cam-18,$(cat "$TMP/c.pub"),81"; } | "$BIN/cmxsafe" gateway import - >/dev/null || fail "CSV from stdin"
equal "$("$BIN/cmxsafe" gateway list --json | jq -r '[.[].name] | join(" ")')" "cam-17 cam-18" || fail "list"
ok "public keys and CSV are read from pipes"
