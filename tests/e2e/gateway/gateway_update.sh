#!/usr/bin/env bash
# `cmxsafe gateway update --all` updates three boards through a real gateway, first one board, then the others. Each
# board restarts into the new version, is confirmed and attested. Then the boards refuse another image: the rollout
# stops at the first board and changes nothing.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$ROOT/tests/tools/ota_image.sh"
need_namespaces
esptool_ready
cd "$TMP" || exit 1
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
public=$("$BIN/cmxsafe" image key --key k.pem)
for v in 1 2 3; do make_image v$v.bin $v.0.0 esp32c3 0 60; done
for v in 1 2; do "$BIN/cmxsafe" image sign --key k.pem v$v.bin >/dev/null || fail "sign"; done
mkdir keys
openssl rand -out keys/b1.bin 32
echo BURN | "$ESPTOOL" -m espefuse --chip esp32c3 --virt --path-efuse-file efuse.bin burn-key BLOCK_KEY3 keys/b1.bin HMAC_UP >espefuse.log 2>&1 || fail "espefuse"

start_gateway --fleet fd12:3456:789a::/48
pin=$(grep -oE 'SHA256:[A-Za-z0-9+/]{43}' init.out | head -n 1)
for n in 1 2 3; do
    "$BIN/cmxsafe-board" create b$n --chip esp32c3 --image v1.bin >/dev/null || fail "create b$n"
    [ -f keys/b$n.bin ] || openssl rand -out keys/b$n.bin 32
    # All boards have the same efuse.bin, which lacks the read-protected key. Each board has its own key in a file.
    cp efuse.bin b$n/ && cp keys/b$n.bin b$n/private_key.bin
    gw enroll b$n --hwkey keys/b$n.bin --ports 81,8989,8888 --group boards >/dev/null || fail "enroll b$n"
    gw grant "user:$(id -un)" b$n >/dev/null || fail "grant" # needed only by this scenario's own requests, not by a rollout
    offset=$(free_offset)
    "$BIN/cmxsafe-board" run b$n --gateway "127.0.0.1:$GW_PORT" --set gateway.user=cmxsafe-gw --set "gateway.host_key=$pin" \
        --set "gateway.remote_address=$(address_of b$n)" --set "board.port_offset=$offset" --set "ota.public_key=$public" \
        --set ota.confirm_s=60 2>>b$n.log &
    PIDS+=($!)
done
told() { inside curl -sS -m 10 "http://[$(address_of "$1")]:8989/update" 2>/dev/null | jq -r "$2"; }
runs() { [ "$(told "$1" '"\(.running.version) \(.running.confirmed)"')" = "$2 true" ]; }
for n in b1 b2 b3; do wait_for 60 runs $n 1.0.0 || fail "$n does not answer through the gateway"; done
boots() { told "$1" .boot; }
before=$(for n in b1 b2 b3; do boots $n; done)

gw update --all --first 1 --parallel 2 -- "$TMP/v2.bin" --quiet --wait 120 --attest-key "$TMP/keys/{name}.bin" >update.out 2>update.err || { cat update.out update.err; fail "update --all"; }
grep -qx '3 ok, 0 failed, 0 untouched' update.out || { cat update.out; fail "wrong summary"; }
[ "$(grep -c '^ok ' update.out)" = 3 ] && [[ $(head -n 1 update.out) == "ok "*b1* ]] || { cat update.out; fail "the first board was not updated alone"; }
for n in b1 b2 b3; do runs $n 2.0.0 || fail "$n does not run 2.0.0, confirmed"; done
ok "update --all: $(grep '^ok' update.out | head -n 1)"

! gw update --all --json --first 1 -- "$TMP/v3.bin" --quiet --wait 60 >refused.out 2>&1 || fail "an unsigned image is accepted"
grep -q '"ok":0,"failed":1,"untouched":2' refused.out && grep -q 'not signed' refused.out || { cat refused.out; fail "a refusal does not stop the rollout"; }
for n in b1 b2 b3; do runs $n 2.0.0 || fail "$n changed"; done
after=$(for n in b1 b2 b3; do boots $n; done)
[ "$before" != "$after" ] || fail "no board restarted"
stop_gateway
no_sanitizer_report b?.log || fail "a sanitizer complains"
ok "a refused image stops the rollout at the first device; the others got no request"
