# Tests the value of /hash: the device, remote_attestation.py and `cmxsafe attest` agree for 4, 8 and 16 MB; a change is
# detected and located; malformed and excessive requests over HTTP do no harm.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
make_key

for mb in 4 8 16; do
    make_flash $((mb << 20))
    start_board --keyfile private_key.bin
    device=$(curl -sf "$URL/hash?challenge=string_to_use_as_challenge") || fail "$mb MB: no answer"
    python=$(cd "$TMP" && python3 "$ROOT/remote_attestation.py" string_to_use_as_challenge | sed -n 's/.*HMAC: //p')
    c=$(cmx attest --compute --challenge string_to_use_as_challenge)
    [ "$device" = "$python" ] && [ "$device" = "$c" ] || fail "$mb MB: device $device, Python $python, C $c"
    cmx attest --url "$URL" >"$TMP/out" && grep -qx MATCH "$TMP/out" || fail "$mb MB: no MATCH"
    [ "$mb" = 16 ] || stop_board
done
ok "device, Python and C agree for 4, 8 and 16 MB"

mkfifo "$TMP/fifo"
truncate -s 4G "$TMP/huge.bin"
for bad in "--image fifo" "--image /dev/zero" "--image huge.bin"; do
    # shellcheck disable=SC2086 # an option and its value
    rc=0; (cd "$TMP" && timeout 20 python3 "$ROOT/remote_attestation.py" c $bad) >"$TMP/out" 2>"$TMP/err" || rc=$?
    [ "$rc" = 1 ] && grep -q "'${bad#* }': is not a regular file of at most 4 GB" "$TMP/err" || { cat "$TMP/err"; fail "$bad: $rc"; }
done
rm "$TMP/fifo" "$TMP/huge.bin"
ok "remote_attestation.py reads regular files only"
(cd "$TMP" && python3 "$ROOT/remote_attestation.py" c >&- 2>err) && fail "a closed stdout"
grep -q "output: it is closed; the value was not written" "$TMP/err" || { cat "$TMP/err"; fail "wrong reason"; }
ok "remote_attestation.py fails when its output is closed"

for challenge in 'a b+c%/?&=#' 'äöü€' "$(printf 'x%.0s' $(seq 512))"; do
    device=$(curl -sf -G --data-urlencode "challenge=$challenge" "$URL/hash?ranges=0x10000-0x20000")
    head -c 65536 "$TMP/firmware.bin" >"$TMP/part.bin"
    python=$(cd "$TMP" && python3 "$ROOT/remote_attestation.py" --image part.bin -- "$challenge" | sed -n 's/.*HMAC: //p')
    [ -n "$device" ] && [ "$device" = "$python" ] || fail "challenge '$challenge': device $device, Python $python"
    cmx attest --url "$URL" --image part.bin --ranges 0x10000-0x20000 --challenge "$challenge" >/dev/null || fail "C: '$challenge'"
done
ok "challenges of any characters"

cmx attest --url "$URL" --image flash.bin --at 0 --ranges 0x10000-0x200000,0x8000-0x9000,0-0x1000 >/dev/null || fail "ranges"
head -c $((0x9400)) "$TMP/flash.bin" >"$TMP/part.bin"
head -c $((0xc00)) /dev/zero | tr '\0' '\377' | dd of="$TMP/flash.bin" bs=1 seek=$((0x9400)) conv=notrunc status=none
cmx attest --url "$URL" --image part.bin --at 0 >/dev/null || fail "an image that ends within a chunk, with erased flash after it"
ok "ranges, bootloader and partition table too"

# One byte in each of three chunks differs, on the device only.
cp "$TMP/firmware.bin" "$TMP/good.bin"
for at in 0x10000 0xabcdef 0xffffff; do
    flip "$TMP/flash.bin" $((at))
done
cmx attest --url "$URL" --image good.bin --locate >"$TMP/out" && fail "a changed flash matches"
[ $? = 1 ] || fail "wrong exit status"
grep -qx DIFFERS "$TMP/out" || fail "no DIFFERS"
found=$(sed -n 's/differs at \(0x[0-9a-f]*\).*/\1/p' "$TMP/out" | tr '\n' ' ')
[ "$found" = "0x010000 0xabc000 0xfff000 " ] || fail "found $found"
cmx attest --url "$URL" --image good.bin --locate --json | json_is '.ok == false and (.differs | length) == 3' >/dev/null || fail "JSON"
ok "the chunks that differ are found: $found"
openssl rand -out "$TMP/other.bin" 32
cmx attest --url "$URL" --image firmware.bin --key other.bin >/dev/null && fail "another key matches"

ulimit -n "$(ulimit -Hn)"
# A thousand requests are sent at the same time. Each is answered with 200 or 503. While the server is full, a connection may
# also be closed, if the head of its request arrives too late. No request hangs, and the device still answers
# afterwards.
make_flash $((4 << 20)) # a smaller flash, so that the test is short
stop_board
start_board --keyfile private_key.bin
python3 - "$BOARD_PORT" >"$TMP/codes" <<'PY'
import asyncio, sys
async def one(i):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    writer.write(b"GET /hash?challenge=%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % i)
    answer = await asyncio.wait_for(reader.read(), 120)
    writer.close()
    return answer.split()[1].decode() if answer else "closed"
async def main():
    for code in await asyncio.gather(*(one(i) for i in range(1000)), return_exceptions=True):
        print(code)
asyncio.run(main())
PY
[ "$(grep -cxE '200|503|closed' "$TMP/codes")" = 1000 ] || { sort "$TMP/codes" | uniq -c; fail "not all requests were answered or closed"; }
grep -qx 200 "$TMP/codes" || fail "none was served"
ok "1,000 requests: $(sort "$TMP/codes" | uniq -c | tr -s ' \n' ' ')"
python3 -c "
import socket, time
held = [socket.create_connection(('127.0.0.1', $BOARD_PORT)) for _ in range(4)]
for s in held: s.send(b'GET /hash?challenge=x')
open('$TMP/held', 'w').write('held'); time.sleep(60)" &
PIDS+=($!)
wait_for 20 test -s "$TMP/held" || fail "cannot connect"
code() { curl -s -o "$TMP/body" -m 60 -w '%{http_code}' "$@"; }
[ "$(code "$URL/hash?challenge=ok")" = 200 ] || fail "slow clients block other clients"
[ "$(code "$URL/hash?challenge=$(head -c 3000 /dev/zero | tr '\0' x)")" = 414 ] || fail "a long URL is not refused"
[ "$(code "$URL/hash?challenge=a&challenge=b")" = 400 ] || fail "a repeated parameter is not refused"
[ "$(code "$URL/hash?challenge=%zz")" = 400 ] || fail "a malformed escape is not refused"
[ "$(code -X POST -d x "$URL/hash?challenge=a")" = 405 ] || fail "POST"
[ "$(code "$URL/hash?challenge=c&ranges=0x9000-0x9001")" = 400 ] || fail "a range of one byte, which makes flash readable byte by byte"
[ "$(code "$URL/hash?challenge=c&ranges=0x400000-0x400001")" = 400 ] || fail "a range beyond the flash is accepted"
grep -q 'beyond the flash' "$TMP/body" || fail "the answer gives no reason"
stop_board
heap=$(sed -n 's/heap //p' "$TMP/board.out")
[ "$heap" -le 8192 ] || fail "the computations used $heap bytes of heap"
ok "slow clients, long URLs, repeated and broken parameters; heap $heap"
