# The update service over HTTP, with curl as in a script: refusals, resuming, one upload at a time, rollback.
. "$(dirname "$0")/../lib.sh"
. "$ROOT/tests/tools/ota_image.sh"
esptool_ready
cd "$TMP" || exit 1

openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem 2>/dev/null
"$BIN/cmxsafe" image key --key k.pem >k.hex
signed() { # signed OUT VERSION [CHIP] [SECURE_VERSION] [KB]: creates a signed image
    make_image "$@" && "$BIN/cmxsafe" image sign --key k.pem "$1" >/dev/null || fail "image $1"
}
signed v1.bin 1.0.0 esp32c3 2
signed v2.bin 2.0.0 esp32c3 2 400
signed v3.bin 3.0.0 esp32c3 3
signed old.bin 0.9.0 esp32c3 1
signed s3.bin 2.0.0 esp32s3 2
make_image bare.bin 2.0.0 esp32c3 2
cp bare.bin wrong.bin; "$BIN/cmxsafe" image sign --key other.pem wrong.bin >/dev/null

board() { # board [options]: starts the board and sets URL
    [ ! -e board.out ] || mv board.out board.before # the "listening" line of the previous start must not count for this start
    "$BIN/ota_board" flash 0 --key k.hex --up up "$@" >board.out 2>>board.log &
    BOARD=$!
    PIDS+=("$BOARD")
    wait_for 20 grep -q listening board.out || fail "the board does not start"
    URL=http://127.0.0.1:$(awk '/^listening/ {print $2; exit}' board.out)
}
get() { curl -sS -m 20 "$URL/update" | jq -r "$1"; }
is() { [ "$(get "$1" 2>/dev/null)" = "$2" ]; }
post() { curl -sS -m 120 "$@" "$URL/update"; }
expect() { # expect STATUS TEXT CURL-ARGUMENTS...: sends a request and checks that its answer has this status and contains TEXT
    local status=$1 text=$2 got
    shift 2
    got=$(curl -sS -m 60 -o answer -w '%{http_code}' "$@" 2>curl.err) # curl's exit status is ignored: curl fails if the board answers before the end of the upload
    [ "$got" = "$status" ] && grep -q "$text" answer || { cat answer curl.err; fail "$*: $got instead of $status '$text'"; }
}

touch up
board --init v1.bin --deadline 10000
is .running.version 1.0.0 || fail "version"
[ "$(get .signature_required)" = true ] || fail "the service does not require a signature"

# ---- refusals: each has a status and a reason, and the running image stays ----
expect 422 "not signed" -F update=@bare.bin "$URL/update"
expect 422 "signer is not trusted" -F update=@wrong.bin "$URL/update"
expect 422 "another chip" -F update=@s3.bin "$URL/update"
expect 422 "secure version" -F update=@old.bin "$URL/update"
head -c 3000000 /dev/zero >big
expect 413 "larger than the slot" -F update=@big "$URL/update"
expect 413 "larger than the slot" --data-binary @big "$URL/update"
expect 400 "not an ESP-IDF application image" -F update=@k.pem "$URL/update"
expect 400 "no field" -F other=@v2.bin "$URL/update"
expect 400 "two fields" -F update=@v2.bin -F update=@v2.bin "$URL/update"
expect 400 "empty" -X POST "$URL/update"
expect 400 "multipart" -H 'Content-Type: multipart/form-data' --data-binary @v2.bin "$URL/update"
head -c 5000 v2.bin >short.bin; expect 400 "too early" --data-binary @short.bin "$URL/update"
{ cat v2.bin; tail -c 96 v2.bin; } >twice.bin; expect 400 "bytes follow the signature" --data-binary @twice.bin "$URL/update"
for at in 0 1 12 40 5000 100000; do
    cp v2.bin t.bin; flip t.bin "$at"
    [ "$(curl -sS -m 60 -o answer -w '%{http_code}' --data-binary @t.bin "$URL/update")" != 200 ] || fail "byte $at"
done
is .running.version 1.0.0 && is .state idle || fail "a refused update changed the state"
differ "$(get .error)" null || fail "the refusal is not reported"
# The service checks Host and Origin.
expect 403 "not known by the name" -H 'Host: evil.example' -F update=@v2.bin "$URL/update"
expect 403 "not known by the name" -H 'Host: evil.example' "$URL/update"
expect 403 "another site" -H 'Origin: http://evil.example' -F update=@v2.bin "$URL/update"
expect 403 "another site" -H 'Origin: null' -F update=@v2.bin "$URL/update"
expect 403 "another site" -H 'Sec-Fetch-Site: cross-site' -F update=@v2.bin "$URL/update"
expect 403 "another site" -H 'Origin: http://evil.example' -X POST "$URL/restart"
expect 409 "no update" -X POST "$URL/restart"
expect 302 "" "$URL/serverIndex"
expect 200 "Firmware update" --compressed -L "$URL/serverIndex"
expect 404 "not found" "$URL/nothing"
expect 405 "not allowed" -X DELETE "$URL/update"
curl -sS -I "$URL/" | grep -qi "^content-security-policy: default-src 'none'" || fail "no CSP"
ok "refusals"

# ---- resuming ----
size=$(stat -c %s v2.bin)
python3 - "$URL" v2.bin <<'PY' || fail "the client that stops halfway failed"
import socket, sys
host, port = sys.argv[1][7:].split(":")
data = open(sys.argv[2], "rb").read()
s = socket.create_connection((host, int(port)))
s.sendall(f"POST /update HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:150000])
s.shutdown(socket.SHUT_WR)
s.close()
PY
wait_for 20 is .state interrupted || fail "an upload that ends early is not reported as interrupted"
held=$(get .received)
[ "$held" -gt 100000 ] && [ "$held" -le 150000 ] && [ "$(get .total)" = "$size" ] || fail "held: $held"
crc=$(head -c "$held" v2.bin | python3 -c 'import sys, zlib; print("%08x" % zlib.crc32(sys.stdin.buffer.read()))')
is .crc32 "$crc" || fail "wrong CRC-32 of the received bytes"
tail -c +$((held + 1)) v2.bin >rest
expect 416 "wrong offset" -H "Content-Range: bytes $((held + 1))-$((size - 1))/$size" --data-binary @<(tail -c +2 rest) "$URL/update"
expect 400 "Content-Range" -H "Content-Range: bytes 7-3/$size" --data-binary @rest "$URL/update"
expect 400 "Content-Range" -H "Content-Range: bytes $held-$((size - 2))/$size" --data-binary @rest "$URL/update"
is .received "$held" || fail "a refused continuation discarded the bytes held"
# Sends a part of the remaining bytes, then the rest in chunked encoding.
head -c 100000 rest >part; tail -c +100001 rest >rest2
expect 202 "HELD" -H "Content-Range: bytes $held-$((held + 99999))/$size" --data-binary @part "$URL/update"
post -H 'Transfer-Encoding: chunked' -H "Content-Range: bytes $((held + 100000))-$((size - 1))/$size" -H 'Content-Type: application/octet-stream' --data-binary @rest2 >answer || fail "curl"
grep -q "^OK version=2.0.0 slot=ota_1 sha256=$(head -c $((size - 96)) v2.bin | sha256sum | cut -d' ' -f1)$" answer || { cat answer; fail "resumed"; }
wait_for 30 is .running.version 2.0.0 || fail "the board does not restart into 2.0.0"
wait_for 10 is .running.confirmed true || fail "2.0.0 is not confirmed"
ok "an interrupted upload continues"

# ---- the README's command, 100-continue (curl uses it above 1 MB), slow and fast links, one upload at a time ----
signed v4.bin 4.0.0 esp32c3 2 1500
curl -sS -F update=@v4.bin --limit-rate 100k "$URL/update" >answer4 2>curl4.err &
uploader=$!
wait_for 20 is .state receiving || fail "the service does not report that it receives"
[ "$(get .received)" -ge 0 ] || fail "the service does not report the received bytes"
expect 409 "under way" -F update=@v2.bin "$URL/update"
expect 409 "under way" -F update=@v2.bin "$URL/update"
kill "$uploader"; wait "$uploader" 2>/dev/null
wait_for 20 is .state interrupted || fail "curl ended by a signal"
post -F update=@v4.bin --limit-rate 1M >answer || fail "an upload at 1 MB/s fails"
grep -q "^OK version=4.0.0 slot=ota_0" answer || { cat answer; fail "1 MB/s"; }
wait_for 30 is .running.version 4.0.0 && wait_for 10 is .running.confirmed true || fail "4.0.0"
make_image small.bin 5.0.0 esp32c3 2 4 && "$BIN/cmxsafe" image sign --key k.pem small.bin >/dev/null
post --data-binary @small.bin --limit-rate 10k >answer && grep -q "^OK version=5.0.0" answer || { cat answer; fail "10 kB/s"; }
wait_for 30 is .running.version 5.0.0 && wait_for 10 is .running.confirmed true || fail "5.0.0"
ok "slow and fast links, one at a time"

# ---- rollback: sessions never come up ----
rm up
post --data-binary @v3.bin | grep -q "^OK version=3.0.0" || fail "upload of 3.0.0"
wait_for 30 is .running.version 3.0.0 || fail "3.0.0 does not boot"
is .running.confirmed false || fail "confirmed without a session"
expect 409 "not confirmed" -F update=@v2.bin "$URL/update"
wait_for 30 is .running.version 5.0.0 || fail "the update is not rolled back"
is .rolled_back.version 3.0.0 && is .rolled_back.why "no session" || { get .; fail "the rollback is not reported"; }
touch up
post --data-binary @v3.bin | grep -q "^OK version=3.0.0" && wait_for 30 is .running.version 3.0.0 && wait_for 10 is .running.confirmed true || fail "an update fails after a rollback"
expect 422 "secure version" -F update=@v2.bin "$URL/update"
ok "rollback and the minimum secure version"

# ---- an upload that sends nothing for too long is ended ----
stop "$BOARD"
board --idle 1
python3 - "$URL" v3.bin <<'PY' || fail "an idle upload is not ended"
import socket, sys
host, port = sys.argv[1][7:].split(":")
data = open(sys.argv[2], "rb").read()
s = socket.create_connection((host, int(port)))
s.settimeout(30)
s.sendall(f"POST /update HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:5000])
assert s.recv(100) == b"", "still open"
PY
wait_for 20 is .state interrupted || fail "idle"
# A client that sends only a byte now and then does not block the service: another client may update while the first one
# is still connected.
python3 - "$URL" v3.bin <<'PY' &
import socket, sys, time
host, port = sys.argv[1][7:].split(":")
data = open(sys.argv[2], "rb").read()
s = socket.create_connection((host, int(port)))
s.sendall(f"POST /update HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:20])
for byte in data[20:4000]:
    s.sendall(bytes([byte]))
    time.sleep(0.2)
PY
dripping=$!
PIDS+=("$dripping")
dripped() { [ "$(get '"\(.state) \(.received < 4000)"')" = "interrupted true" ]; } # distinguishes this upload from the former one, which sent 5000 bytes
wait_for 30 dripped || fail "a slow client keeps the update reserved"
kill -0 "$dripping" || fail "the slow client disconnected"
expect 422 "secure version" -F update=@v2.bin "$URL/update"
kill "$dripping"
stop "$BOARD"
heap=$(awk '/^heap/ { if ($2 > m) m = $2 } END { print m }' board.before board.out)
[ "$heap" -gt 1000 ] && [ "$heap" -le 16384 ] || fail "heap: $heap"
no_sanitizer_report board.log || fail "a sanitizer complains"
ok "idle and very slow uploads are ended; our heap at most $heap bytes"
