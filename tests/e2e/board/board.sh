#!/usr/bin/env bash
# Tests the virtual board with the network stack of this machine: creates and boots it. Fetches its stream through a
# real sshd, and its page directly, because the page is not forwarded.
. "$(dirname "$0")/../lib.sh"
BOARD=$BIN/cmxsafe-board

start_sshd </dev/null
remote=$(free_port) ota=$(free_port) attest=$(free_port)
offset=$(free_offset)
BOARD_PID=
logins() { grep -c 'Accepted publickey' "$TMP/sshd.log"; }

start_board() { # start_board [OPTION...]: starts the board with these options
    : >"$TMP/board.log"
    "$BOARD" run "$TMP/board" --gateway "127.0.0.1:$SSHD_PORT" --set "gateway.user=$SSHD_USER" --set "gateway.key_file=$KEY" \
        --set "board.port_offset=$offset" --set "context stream.local_port=81" --set "context stream.remote_port=$remote" \
        --set "context ota.local_port=8989" --set "context ota.remote_port=$ota" \
        --set "context attest.local_port=8888" --set "context attest.remote_port=$attest" "$@" \
        2>>"$TMP/board.log" &
    BOARD_PID=$!
    PIDS+=("$BOARD_PID")
}
end_board() { # stops the board, which must exit with status 0
    kill "$BOARD_PID"
    wait "$BOARD_PID" || fail "the board ended with $?"
    no_sanitizer_report "$TMP/board.log" || fail "a sanitizer complains"
}
here() { curl -fsS --max-time 60 "http://127.0.0.1:$((81 + offset))$1"; }
through() { curl -fsS --max-time 60 "http://127.0.0.1:$remote$1"; }

"$BOARD" create "$TMP/board" >/dev/null || fail "create"
! "$BOARD" create "$TMP/board" 2>/dev/null || fail "create overwrites a board"
"$BOARD" create "$TMP/board" 2>&1 | grep -q '^cmxsafe: .*File exists; choose another folder' || fail "create does not report why"
for version in "" "$(printf '1%.0s' {1..32})" $'1\n2' $'1\e[2J'; do
    "$BOARD" image --version "$version" "$TMP/image" 2>"$TMP/err"
    [ $? = 2 ] && [ ! -e "$TMP/image" ] || fail "an image of version '$version' is made"
done
"$BOARD" create "$TMP/odd" >/dev/null && rm "$TMP/odd/flash.bin" && mkdir "$TMP/odd/flash.bin" || fail "create"
"$BOARD" run "$TMP/odd" 2>&1 | grep -q "^cmxsafe: flash.bin: Is a directory; " || fail "the reason is not printed if flash.bin is a folder"
ok "a board is created once"

python3 -c "
import http.server
http.server.HTTPServer(('127.0.0.1', 80 + $offset), http.server.BaseHTTPRequestHandler).serve_forever()" & HOLDER=$!
PIDS+=("$HOLDER")
wait_for 10 listening $((80 + offset)) || fail "cannot occupy the page's port"
start_board --set "gateway.host_key=$PIN"
wait "$BOARD_PID" && fail "the board starts although the page's port is in use"
grep -q "web page on port $((80 + offset)): " "$TMP/board.log" || { cat "$TMP/board.log"; fail "the message does not name the real port"; }
kill "$HOLDER"
wait "$HOLDER" 2>/dev/null
ok "the message about a port in use names the port with the offset"

# User 1000 of a user namespace has no capabilities, like an ordinary user.
if [ "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" -gt 81 ] && unshare --user --map-user=1000 true 2>/dev/null; then
    "$BOARD" create "$TMP/user" >/dev/null || fail "create"
    ! timeout 20 unshare --user --map-user=1000 "$BOARD" run "$TMP/user" 2>"$TMP/user.log" || fail "an ordinary user has port 80"
    grep -q "cmxsafe: board: .*add --set board.port_offset=18000" "$TMP/user.log" || { cat "$TMP/user.log"; fail "the log lacks the hint about low ports"; }
    ok "an ordinary user learns how to run a board"
fi

start_board --set "gateway.host_key=$PIN"
wait_for 30 through /frame.jpg || fail "the stream does not come through the gateway"
grep -q "attestation on port $((8888 + offset))$" "$TMP/board.log" || { cat "$TMP/board.log"; fail "attestation does not name the real port"; }
ok "the stream comes through the gateway"

for n in 0 1 99 4294967294; do
    here "/frame.jpg?n=$n" >"$TMP/here.jpg" && through "/frame.jpg?n=$n" | cmp -s - "$TMP/here.jpg" && [ -s "$TMP/here.jpg" ] || fail "frame $n differs"
done
ok "frames are the same byte for byte"

through "/stream?frames=5" >"$TMP/stream" || fail "stream"
[ "$(grep -ac '^--cmxsafe-frame' "$TMP/stream")" = 5 ] || fail "the stream does not have five frames"
grep -aq 'Content-Type: image/jpeg' "$TMP/stream" || fail "no JPEG in the stream"
ok "MJPEG"

pids=()
for i in 1 2 3 4; do through "/stream?frames=10" >"$TMP/stream.$i" & pids+=($!); done
for p in "${pids[@]}"; do wait "$p" || fail "one of four viewers fails"; done
ok "four simultaneous viewers"

[ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$((80 + offset))/")" = 200 ] || fail "no page on the board"
curl -s "http://127.0.0.1:$((80 + offset))/" | grep -q '<h1>Camera</h1>' || fail "the page has no heading 'Camera'"
for bad in '/frame.jpg?n=x' '/frame.jpg?n=1&n=2' '/stream?frames=-1' '/frame.jpg?n=99999999999'; do
    [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$remote$bad")" = 400 ] || fail "$bad is not refused"
done
ok "the page answers, and bad queries are refused"

"$BOARD" run "$TMP/board" 2>"$TMP/second" && fail "a board runs twice"
grep -q 'this board is running already' "$TMP/second" || fail "does not report that the board runs already"
end_board
ok "a board runs only once at a time, and exits with status 0"

before=$(logins)
start_board
wait_for 20 grep -q 'gateway host_key: missing' "$TMP/board.log" || fail "a missing pin is not reported"
! through /frame.jpg 2>/dev/null || fail "connects without a pin"
end_board
start_board --set "gateway.host_key=SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
wait_for 20 grep -qi 'host key' "$TMP/board.log" || fail "a wrong pin is not reported"
! through /frame.jpg 2>/dev/null || fail "connects with a wrong pin"
end_board
[ "$(logins)" = "$before" ] || fail "a credential was sent"
ok "no pin or a wrong one: no connection"

check_refused() { # check_refused TEXT ARGUMENT...: expects that the command fails and prints TEXT
    local text=$1
    shift
    "$BOARD" "$@" >"$TMP/out" 2>&1
    [ $? -ne 0 ] || fail "accepted: $*"
    grep -qF -- "$text" "$TMP/out" || { cat "$TMP/out"; fail "the message is missing: $text"; }
}
check_refused "did you mean 'create'" creat
check_refused "no command given"
check_refused "give 1MB, 2MB" create "$TMP/x" --flash-size 3MB
check_refused "give one of esp32s2|esp32s3" create "$TMP/x" --chip esp8266
check_refused "No such file" run "$TMP/none"
check_refused "did you mean 'port'" run "$TMP/board" --set gateway.prt=1
check_refused "'host:0' is not a list of 1 to 8 gateways, each HOST" run "$TMP/board" --gateway "host:0"
check_refused "not a number from 1 to 65535" run "$TMP/board" --set gateway.port=0
check_refused "unknown section [gatway]" run "$TMP/board" --set gatway.host=x
printf '[gateway]\nhost = x\nusr = y\n' >"$TMP/board/board.ini"
check_refused "board.ini:3: unknown key 'usr' in [gateway]; did you mean 'user'?" run "$TMP/board"
printf '[gateway]\nhost\n' >"$TMP/board/board.ini"
check_refused "board.ini:2: neither 'key = value' nor '[section]'" run "$TMP/board"
ok "errors name the problem and the line"
