# Tests `cmxsafe-tools update` through a real sshd to the virtual board: a lost connection, a refusal, SIGTERM, and an
# image that cannot reach its gateway.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../desk_lib.sh"
desk_ready
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
signed() { make_image "$@" && tools image sign --key k.pem "$1" >/dev/null || fail "image $1"; }
signed v1.bin 1.0.0
signed v2.bin 2.0.0 esp32c3 0 600
signed v3.bin 3.0.0 esp32c3 0 30
make_image bare.bin 9.0.0

start_sshd </dev/null
ota=$(free_port) attest=$(free_port) offset=$(free_offset)
"$BIN/cmxsafe-board" create board --chip esp32c3 --image v1.bin >/dev/null || fail "create"
head -c 32 /dev/urandom >private_key.bin
cp private_key.bin board/ # a chip has the key in its eFuse, but espefuse leaves read-protected bits out of efuse.bin
echo BURN | "$ESPTOOL" -m espefuse --chip esp32c3 --virt --path-efuse-file board/efuse.bin burn-key BLOCK_KEY3 private_key.bin HMAC_UP \
    >espefuse.out 2>&1 || { cat espefuse.out; fail "espefuse"; }
"$BIN/cmxsafe-board" run board --gateway "127.0.0.1:$SSHD_PORT" --set "gateway.user=$SSHD_USER" --set "gateway.key_file=$KEY" \
    --set "gateway.host_key=$PIN" --set "board.port_offset=$offset" \
    --set "context ota.local_port=8989" --set "context ota.remote_port=$ota" \
    --set "context attest.local_port=8888" --set "context attest.remote_port=$attest" \
    --set "ota.public_key=$(tools image key --key k.pem)" --set "ota.confirm_s=20" 2>>board.log &
PIDS+=($!)
get() { curl -sS -m 10 "http://127.0.0.1:$ota/update" 2>/dev/null | jq -r "$1"; }
is() { [ "$(get "$1")" = "$2" ]; }
wait_for 40 is .running.version 1.0.0 || fail "the board does not answer through the tunnel"
cat >ssh_config <<CONF
Host gw
    HostName 127.0.0.1
    Port $SSHD_PORT
    User $SSHD_USER
    IdentityFile $KEY
    UserKnownHostsFile $TMP/known_hosts
    ForkAfterAuthentication yes
CONF
echo "[127.0.0.1]:$SSHD_PORT $(cut -d' ' -f1,2 host_ed25519.pub)" >known_hosts
update() { tools update --gateway gw --ssh-config ssh_config --port "$ota" "$@"; }
far() { [ "$(get .received)" -ge 100000 ]; }

(
    wait_for 120 far || fail "the upload does not begin"
    for p in $(sshd_children); do kill "$p" 2>/dev/null; done
) &
killer=$!
update --limit-rate 150 --attest-key private_key.bin --attest-url "http://127.0.0.1:$attest" v2.bin >out 2>err || { cat out err; fail "update over a lost connection"; }
wait "$killer"
grep -q 'continuing at byte' out || { cat out err; fail "the update did not continue where it stopped"; }
grep -q '^version 2.0.0 is running from ota_1, confirmed$' out && grep -qx MATCH out || { cat out err; fail "confirmation and attestation"; }
ok "an update over a lost connection is confirmed and attested"

rc=0; update bare.bin >out 2>err || rc=$?
[ $rc = 1 ] && grep -q "^cmxsafe: the device refused: not signed" err || { cat out err; fail "an unsigned image is not refused: $rc"; }
rc=0; tools update --url "http://127.0.0.1:$attest" v3.bin >out 2>err || rc=$?
[ $rc = 1 ] && grep -q "not an update service: .*; check the port" err || { cat out err; fail "another service: $rc"; }
rc=0; tools update --url "http://127.0.0.1:$(free_port)" v3.bin >out 2>err || rc=$?
[ $rc = 1 ] && grep -q "refused; check that the device is connected" err || { cat out err; fail "no service: $rc"; }
rc=0; update --url http://127.0.0.1 v3.bin >out 2>err || rc=$?; [ $rc = 2 ] || fail "usage"
is .running.version 2.0.0 || fail "a refusal changed the version"
ok "refusals"

signed v4.bin 4.0.0 esp32c3 0 1200
PYTHONPATH=$TMP/site "$PYTHON" -m cmxsafe_tools update --gateway gw --ssh-config ssh_config --port "$ota" --limit-rate 100 v4.bin >out 2>err &
pid=$!
wait_for 120 far || { cat out err; fail "the upload of 4.0.0 does not begin"; }
ssh=$(pgrep -P "$pid")
socket=$(tr '\0' '\n' <"/proc/$ssh/cmdline" | sed -n '/^-L$/{n;s/:.*//p}')
equal "$(stat -c %a "$(dirname "$socket")")" 700 || fail "other users can reach ssh's listener '$socket'"
kill -TERM "$pid"
rc=0; wait "$pid" || rc=$?
[ $rc = 1 ] && grep -q "update: stopped; the device keeps" err || { cat out err; fail "SIGTERM: $rc"; }
gone() { ! kill -0 "$ssh" 2>/dev/null; }
wait_for 10 gone || fail "the ssh of the update still runs"
[ ! -e "$(dirname "$socket")" ] || fail "the socket's folder is left"
is .running.version 2.0.0 || fail "stopping changed something"
ok "a stopped update changes nothing on the device"

stop_sshd
tools update --no-wait --quiet --url "http://127.0.0.1:$((8989 + offset))" v3.bin >out 2>err || { cat out err; fail "upload of 3.0.0"; }
wait_for 60 grep -q 'version 3.0.0 is rolled back: no session' board.log || fail "3.0.0 was not rolled back"
start_sshd </dev/null
wait_for 60 is .running.version 2.0.0 || fail "2.0.0 is not back"
update v3.bin >out 2>err || { cat out err; fail "the update to 3.0.0 fails although the gateway is reachable"; }
no_sanitizer_report board.log || fail "a sanitizer complains"
ok "an image without a gateway is rolled back; with one it is confirmed"
