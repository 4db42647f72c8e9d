# Follows the README's steps with the virtual board. espefuse burns a key, and `cmxsafe identity` computes the public
# key, which is enrolled. The board logs in with the key derived from eFuse. curl and cmxsafe attest the board through a
# real sshd.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
python=$(python_with esptool==5.6.0) || fail "no esptool"
PATH=$(dirname "$python"):$PATH
BOARD=$BIN/cmxsafe-board
start_sshd </dev/null
remote=$(free_port)
offset=$(free_offset)
URL=http://127.0.0.1:$remote

"$BOARD" create "$TMP/board" --flash-size 4MB >/dev/null || fail "create"
(
    cd "$TMP/board" || exit 1
    openssl rand -out private_key.bin 32
    echo BURN | espefuse --chip esp32s3 --virt --path-efuse-file efuse.bin burn_key BLOCK_KEY3 private_key.bin HMAC_UP
) >"$TMP/espefuse.log" 2>&1 || { tail "$TMP/espefuse.log"; fail "espefuse"; }
cp "$TMP/board/private_key.bin" "$TMP/"
cmx identity public | head -n 1 >"$TMP/authorized_keys" || fail "identity public"

run_board() {
    "$BOARD" run "$TMP/board" --gateway "127.0.0.1:$SSHD_PORT" --set "gateway.user=$SSHD_USER" --set "gateway.host_key=$PIN" \
        --set "board.port_offset=$offset" --set "context attest.local_port=8888" --set "context attest.remote_port=$remote" \
        2>>"$TMP/board.log" &
    BOARD_PID=$!
    PIDS+=("$BOARD_PID")
}
run_board
wait_for 60 listening "$remote" || fail "the board does not log in with its derived key"
ok "enrolled before its first start; logs in with the key derived from eFuse"

tail -c +65537 "$TMP/board/flash.bin" >"$TMP/firmware.bin"
value=$(curl -sf "$URL/hash?challenge=string_to_use_as_challenge") || fail "no answer through the tunnel"
[ "$value" = "$(cd "$TMP" && python3 "$ROOT/remote_attestation.py" string_to_use_as_challenge | sed -n 's/.*HMAC: //p')" ] || fail "another value"
cmx attest --url "$URL" | grep -qx MATCH || fail "cmxsafe attest"
ok "curl, Python and cmxsafe agree through the tunnel"

cmx image manifest --require hardware-key firmware.bin >"$TMP/manifest" || fail "manifest"
grep -q '^name secure_services' "$TMP/manifest" || fail "the manifest does not describe the image"
cmx attest --evidence --manifest manifest --url "$URL" --gateway "$PIN" --json >"$TMP/out" || { cat "$TMP/out"; fail "evidence"; }
json_is '.ok and .key == "efuse" and .slot == "ota_0" and .slot_state == "valid" and .bootcount == 1' "$TMP/out" >/dev/null || { cat "$TMP/out"; fail "facts"; }
curl -sf -H 'Accept: application/json' "$URL/evidence?nonce=0011223344556677" >"$TMP/out"
json_is '.hwmodel == "ESP32-S3" and .swname == "secure_services" and (.session | length) == 64 and (.gateway | length) == 64 and (.key_exchange | test("25519"))' "$TMP/out" >/dev/null || { cat "$TMP/out"; fail "claims"; }
ok "evidence of the board is trusted, bound to gateway and session"

stop "$BOARD_PID"
no_sanitizer_report "$TMP/board.log" || fail "a sanitizer complains"
mv "$TMP/board/private_key.bin" "$TMP/away.bin"
: >"$TMP/board.log"
ssh-keygen -y -f "$KEY" >>"$TMP/authorized_keys"
"$BOARD" run "$TMP/board" --gateway "127.0.0.1:$SSHD_PORT" --set "gateway.user=$SSHD_USER" --set "gateway.host_key=$PIN" --set "gateway.key_file=$KEY" \
    --set "board.port_offset=$offset" --set "context attest.local_port=8888" --set "context attest.remote_port=$remote" 2>>"$TMP/board.log" &
BOARD_PID=$!
PIDS+=("$BOARD_PID")
wait_for 60 listening "$remote" || fail "a board without a key does not run"
wait_for 10 grep -q 'no hardware key: .*private_key.bin' "$TMP/board.log" || fail "the log does not say what is missing"
[ "$(curl -s -o "$TMP/body" -w '%{http_code}' "$URL/hash?challenge=x")" = 500 ] && grep -q burn_key "$TMP/body" || fail "answers without a key"
stop "$BOARD_PID"
ok "a board without a key reports this and attests nothing"
