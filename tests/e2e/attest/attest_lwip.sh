#!/usr/bin/env bash
# Runs the README's curl commands with an isolated board on lwIP over a TAP device; espefuse has burned the board's key.
# Hash and evidence are available through a real tunnel, and nowhere else.
if [ -z "${CMX_IN_NETNS:-}" ]; then
    [ "$(id -u)" = 0 ] && [ -e /dev/net/tun ] || { echo "SKIPPED: a network namespace with a TAP device needs root and /dev/net/tun" >&2; exit 77; }
    . "$(dirname "$0")/../lib.sh" # pip packages are installed while the network is reachable
    python_with esptool==5.6.0 >/dev/null || fail "no esptool"
    trap - EXIT TERM INT
    rm -rf "$TMP"
    exec env CMX_IN_NETNS=1 unshare -n bash "$0"
fi
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
espefuse=$(dirname "$(python_with esptool==5.6.0)")/espefuse

ip link set lo up
ip tuntap add dev cmx0 mode tap
ip addr add 10.77.0.1/24 dev cmx0
ip link set cmx0 up
SSHD_ADDRESS=0.0.0.0
SSHD_PORT=2222
start_sshd </dev/null

"$BIN/cmxsafe-board" create "$TMP/board" >/dev/null || fail "create"
(cd "$TMP/board" && openssl rand -out private_key.bin 32 &&
    "$espefuse" --chip esp32s3 --virt --path-efuse-file efuse.bin --do-not-confirm burn_key BLOCK_KEY3 private_key.bin HMAC_UP) >"$TMP/espefuse.log" 2>&1 || fail "espefuse"
cp "$TMP/board/private_key.bin" "$TMP/"
cmx identity public | head -n 1 >"$TMP/authorized_keys" || fail "identity public"
"$BIN/cmxsafe-board" run "$TMP/board" --net tap:cmx0 --set net.address=10.77.0.2/24 --set net.gateway=10.77.0.1 \
    --gateway "10.77.0.1:$SSHD_PORT" --set "gateway.user=$SSHD_USER" --set "gateway.host_key=$PIN" 2>"$TMP/board.log" &
BOARD_PID=$!
PIDS+=("$BOARD_PID")
wait_for 60 listening 8888 || fail "the attestation port is not forwarded"

tail -c +65537 "$TMP/board/flash.bin" >"$TMP/firmware.bin"
value=$(curl -sf -m 60 "http://127.0.0.1:8888/hash?challenge=string_to_use_as_challenge") || fail "no answer"
[ "$value" = "$(cd "$TMP" && python3 "$ROOT/remote_attestation.py" string_to_use_as_challenge | sed -n 's/.*HMAC: //p')" ] || fail "another value"
cmx attest | grep -qx MATCH || fail "cmxsafe attest"
cmx image manifest --require hardware-key --require isolation firmware.bin >"$TMP/manifest"
cmx attest --evidence --manifest manifest --gateway "$PIN" >"$TMP/out" || { cat "$TMP/out"; fail "evidence"; }
curl -sf -m 60 -H 'Accept: application/json' "http://127.0.0.1:8888/evidence?nonce=0011223344556677" >"$TMP/out"
json_is '.isolation and (.policy | length) == 64 and (.session | length) == 64 and (.key_exchange | test("25519"))' "$TMP/out" >/dev/null || { cat "$TMP/out"; fail "claims"; }
echo "policy $(jq -r .policy "$TMP/out")" >>"$TMP/manifest"
cmx attest --evidence --manifest manifest >/dev/null || fail "a manifest with the device's own policy is not met"
sed -i "s/^policy .*/policy $(printf '%064d' 1)/" "$TMP/manifest"
cmx attest --evidence --manifest manifest >"$TMP/out" && fail "another policy is trusted"
grep -q '^FAILED *policy' "$TMP/out" || fail "does not report that the policy differs"
! curl -sf -m 3 "http://10.77.0.2:8888/hash?challenge=x" >/dev/null 2>&1 || fail "attestation answers outside the tunnel"
kill "$BOARD_PID"
wait "$BOARD_PID" || fail "the board ended with $?"
no_sanitizer_report "$TMP/board.log" || fail "a sanitizer complains"
ok "hash and evidence through the tunnel on lwIP, isolated, and nowhere else"
