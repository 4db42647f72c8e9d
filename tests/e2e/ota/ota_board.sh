# Updates the virtual board through a real sshd: with the README's command, and with `cmxsafe update` when the
# connection is lost, the device refuses the image, the user presses Ctrl-C, or the new image cannot reach its gateway.
. "$(dirname "$0")/../lib.sh"
. "$ROOT/tests/tools/ota_image.sh"
esptool_ready
cd "$TMP" || exit 1
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
signed() { make_image "$@" && "$BIN/cmxsafe" image sign --key k.pem "$1" >/dev/null || fail "image $1"; }
signed v1.bin 1.0.0
signed v2.bin 2.0.0 esp32c3 0 300
signed v3.bin 3.0.0 esp32c3 0 1200
signed v4.bin 4.0.0 esp32c3 0 30
make_image bare.bin 9.0.0

start_sshd </dev/null
stream=$(free_port) ota=$(free_port) attest=$(free_port) offset=$(free_offset)
URL=http://127.0.0.1:$ota
"$BIN/cmxsafe-board" create board --chip esp32c3 --image v1.bin >/dev/null || fail "create"
head -c 32 /dev/urandom >private_key.bin
cp private_key.bin board/ # the board needs the key's bits, which efuse.bin lacks because the key is read-protected
echo BURN | "$ESPTOOL" -m espefuse --chip esp32c3 --virt --path-efuse-file board/efuse.bin burn-key BLOCK_KEY3 private_key.bin HMAC_UP \
    >espefuse.out 2>&1 || { cat espefuse.out; fail "espefuse"; }
"$BIN/cmxsafe-board" run board --gateway "127.0.0.1:$SSHD_PORT" --set "gateway.user=$SSHD_USER" --set "gateway.key_file=$KEY" \
    --set "gateway.host_key=$PIN" --set "board.port_offset=$offset" --set "context stream.local_port=81" \
    --set "context stream.remote_port=$stream" --set "context ota.local_port=8989" --set "context ota.remote_port=$ota" \
    --set "context attest.local_port=8888" --set "context attest.remote_port=$attest" \
    --set "ota.public_key=$("$BIN/cmxsafe" image key --key k.pem)" --set "ota.confirm_s=20" 2>>board.log &
PIDS+=($!)
get() { curl -sS -m 10 "$URL/update" 2>/dev/null | jq -r "$1"; }
is() { [ "$(get "$1")" = "$2" ]; }
wait_for 40 is .running.version 1.0.0 || fail "the board does not answer through the tunnel"
ok "the board runs 1.0.0"

# Updates with the README's command.
cp v2.bin firmware.bin
curl -sS -m 120 -X POST -F "update=@firmware.bin" "http://127.0.0.1:$ota/update" >answer || fail "curl"
grep -q '^OK version=2.0.0 slot=ota_1 sha256=' answer || { cat answer; fail "wrong answer"; }
wait_for 60 is .running.version 2.0.0 || fail "2.0.0 does not run"
wait_for 20 is .running.confirmed true || fail "2.0.0 is not confirmed"
ok "curl through the tunnel"
grep -rhq 'upload begins at byte 0, from 127.0.0.1' "$TMP"/*.log ./*.log 2>/dev/null || fail "the log does not name the client of the upload"
ok "the log names the client that the gateway reports"

# Updates with `cmxsafe update`, which starts its own ssh. The session that carries the upload is ended halfway.
cat >ssh_config <<CONF
Host gw
    HostName 127.0.0.1
    Port $SSHD_PORT
    User $SSHD_USER
    IdentityFile $KEY
    UserKnownHostsFile $TMP/known_hosts
CONF
echo "[127.0.0.1]:$SSHD_PORT $(cut -d' ' -f1,2 host_ed25519.pub)" >known_hosts
update() { "$BIN/cmxsafe" update --gateway gw --ssh-config ssh_config --port "$ota" "$@"; }
far() { [ "$(get .received)" -ge 200000 ]; }
(
    wait_for 60 far || fail "the board does not answer through the gateway"
    for p in $(sshd_children); do kill "$p" 2>/dev/null; done
) &
killer=$!
update --limit-rate 250 v3.bin >out 2>err || { cat out err; fail "update over a lost connection"; }
wait "$killer"
grep -q 'continuing at byte' out || { cat out err; fail "the upload did not continue where it stopped"; }
grep -q '^version 3.0.0 is running from ota_0, confirmed$' out || { cat out err; fail "wrong last line of update"; }
is .running.version 3.0.0 || fail "3.0.0"
ok "cmxsafe update continues over a lost connection"

# After a refusal the command prints the cause and exits with status 1, and nothing has changed.
rc=0; update bare.bin >out 2>err || rc=$?
[ $rc = 1 ] && grep -q "the device refused: not signed" err || { cat out err; fail "an unsigned image is not refused: $rc"; }
head -c 1000 v4.bin >short.bin; rc=0; update short.bin >out 2>err || rc=$?
[ $rc = 1 ] && grep -q "too early" err || fail "wrong message or exit status for a file that ends too early"
rc=0; update >out 2>err || rc=$?; [ $rc = 2 ] || fail "usage"
for bad in "update --url ftp://x v4.bin" "update --attest-url x v4.bin" "attest --url https://x"; do
    # shellcheck disable=SC2086 # the command is several words
    rc=0; "$BIN/cmxsafe" $bad >out 2>err || rc=$?
    [ $rc = 2 ] && grep -q "not a URL of the form http://HOST" err && lacks 'refused' err || { cat out err; fail "$bad: $rc"; }
done
is .running.version 3.0.0 || fail "a refusal changed the version"
ok "refusals"

# Ctrl-C ends the command.
signed v5.bin 5.0.0 esp32c3 0 1500
"$BIN/cmxsafe" update --gateway gw --ssh-config ssh_config --port "$ota" --limit-rate 100 v5.bin >out 2>err &
pid=$!
wait_for 60 far || fail "the upload of 5.0.0 does not begin"
kill -INT "$pid"
rc=0; wait "$pid" || rc=$?
[ $rc = 1 ] && grep -q stopped err || { cat out err; fail "Ctrl-C: $rc"; }
is .running.version 3.0.0 && is .running.slot ota_0 || fail "Ctrl-C changed something"
ok "an update stopped by Ctrl-C changes nothing on the device"

# The new image cannot reach its gateway: the device rolls back by itself and reports why. The gateway is stopped
# before the upload, so that no session of the new image can come up. The upload goes directly to the device.
stop_sshd
"$BIN/cmxsafe" update --no-wait --json --url "http://127.0.0.1:$((8989 + offset))" v4.bin >out 2>err || { cat out err; fail "upload of 4.0.0"; }
json_is '.outcome == "sent"' out || fail "the outcome with --no-wait: $(cat out)"
wait_for 60 grep -q '4.0.0 at 0x.*, first boot' board.log || fail "4.0.0 was not tried"
wait_for 60 grep -q 'version 4.0.0 is rolled back: no session' board.log || fail "4.0.0 was not rolled back"
start_sshd </dev/null
wait_for 60 is .running.version 3.0.0 || fail "3.0.0 is not back"
is .rolled_back.version 4.0.0 && is .rolled_back.why "no session" || { get .; fail "the cause is not reported"; }
ok "an image without a gateway is rolled back"

update --attest-key private_key.bin --attest-url "http://127.0.0.1:$attest" v4.bin >out 2>err || { cat out err; fail "4.0.0 again"; }
grep -q '^MATCH' out || { cat out; fail "the attestation of the new slot fails"; }
grep -q '^version 4.0.0 is running from ota_1, confirmed$' out || fail "4.0.0"
no_sanitizer_report board.log || fail "a sanitizer complains"
ok "once the gateway is reachable the same image is accepted, and the new slot's measurement matches the file"
