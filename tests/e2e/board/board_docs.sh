#!/usr/bin/env bash
# docs/BOARD.md: runs its five-minute introduction with free ports, and compares its tables with the program's output.
. "$(dirname "$0")/../lib.sh"
DOC=$ROOT/docs/BOARD.md

"$BIN/cmxsafe-board" keys >"$TMP/keys" && [ -s "$TMP/keys" ] || fail "cmxsafe-board keys"
sed -n '/<!-- cmxsafe-board keys -->/,/<!-- end -->/{//!p}' "$DOC" | diff - "$TMP/keys" ||
    fail "docs/BOARD.md: the tables differ from 'cmxsafe-board keys'"
ok "the tables are current"

block() { awk '/^```sh$/ { n++; on = n == 1; next } /^```/ { on = 0 } on' "$DOC"; }
[ "$(block | wc -l)" -gt 20 ] || fail "no block of commands found"

ssh_port=$(free_port) stream_port=$(free_port) offset=$(free_offset) ota_port=$(free_port) attest_port=$(free_port)
block | sed "s/2222/$ssh_port/; s/port = 2222/port = $ssh_port/; s/8081/$stream_port/; s/18000/$offset/; s/28989/$ota_port/; s/28888/$attest_port/" >"$TMP/five_minutes.sh"
echo 'kill $!; wait $!' >>"$TMP/five_minutes.sh"
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd
CLEANUP+=('[ -f "$TMP/work/sshd.pid" ] && kill "$(cat "$TMP/work/sshd.pid")"')
mkdir "$TMP/work"
(cd "$TMP/work" && PATH=$BIN:$PATH bash -eu "$TMP/five_minutes.sh") >"$TMP/five_minutes.log" 2>&1 || fail "the introduction fails"
head -c 2 "$TMP/work/frame.jpg" | xxd -p | grep -qx ffd8 || fail "no frame"
no_sanitizer_report "$TMP/five_minutes.log" || fail "a sanitizer complains"
ok "the commands of the introduction work, and fetch a frame"

# The files that README's commands name exist, and a board without a gateway reports that the gateway is missing and
# keeps running.
readme() { sed -n '/<!-- test: board.sh -->/,/^```$/p' "$ROOT/README.md" | grep "^cmxsafe-board $1" | sed 's/ *#.*//'; }
cd "$TMP" || exit 1
PATH=$BIN:$PATH bash -eu -c "$(readme create)" >/dev/null || fail "README: create"
PATH=$BIN:$PATH bash -eu -c "exec $(readme run | head -n 1) --set board.port_offset=$(free_offset)" 2>"$TMP/readme.log" &
pid=$!
PIDS+=("$pid")
wait_for 20 grep -q 'gateway host: missing' "$TMP/readme.log" || fail "README: run"
kill "$pid"
wait "$pid" || fail "README: run ends with $?"
if [ "$(id -u)" = 0 ] && [ -e /dev/net/tun ]; then
    PATH=$BIN:$PATH unshare -n bash -eu -c "exec $(readme run | tail -n 1)" 2>"$TMP/readme.log" &
    pid=$!
    PIDS+=("$pid")
    wait_for 20 grep -q 'lwIP on cam0' "$TMP/readme.log" || fail "the README's commands do not start the board on the TAP device"
    kill "$pid"
    wait "$pid" || fail "README: the TAP line ends with $?"
fi
ok "README's lines"
