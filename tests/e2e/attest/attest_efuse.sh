# The real espefuse provisions the virtual board's eFuse as the README says, for five chips with the HMAC peripheral.
# Other states of the eFuse are refused, and the message names the problem or the command that corrects it.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
python=$(python_with esptool==5.6.0) || fail "no esptool"
espefuse=$(dirname "$python")/espefuse
make_key
make_flash $((4 << 20))
fuse() { (cd "$TMP" && "$espefuse" --chip "$1" --virt --path-efuse-file efuse.bin --do-not-confirm "${@:2}") >"$TMP/espefuse.log" 2>&1 || { tail -5 "$TMP/espefuse.log"; fail "espefuse $*"; }; }
refused() { # refused WORD: expects that attest_board does not start and that its message contains WORD
    (cd "$TMP" && timeout 20 "$BIN/attest_board" flash.bin 1 --efuse efuse.bin) >"$TMP/refused.log" 2>&1 && fail "attest_board starts"
    grep -q "$1" "$TMP/refused.log" || { cat "$TMP/refused.log"; fail "does not say '$1'"; }
}

expected=$(cd "$TMP" && python3 "$ROOT/remote_attestation.py" x | sed -n 's/.*HMAC: //p')
for chip in esp32s3 esp32s2 esp32c3 esp32c6 esp32h2; do
    rm -f "$TMP/efuse.bin"
    fuse "$chip" burn_key BLOCK_KEY3 private_key.bin HMAC_UP
    start_board --efuse efuse.bin
    [ "$(curl -sf "$URL/hash?challenge=x")" = "$expected" ] || fail "$chip: another value"
    curl -sf -H 'Accept: application/json' "$URL/evidence?nonce=0011223344556677" >"$TMP/out"
    json_is '.key == "efuse" and .oemboot == false and .flash_encryption == "off" and .dbgstat == "enabled"' "$TMP/out" >/dev/null || fail "$chip: facts"
    stop_board
done
ok "espefuse burn_key BLOCK_KEY3 private_key.bin HMAC_UP, five chips"

rm -f "$TMP/efuse.bin"
fuse esp32s3 burn_key BLOCK_KEY3 private_key.bin HMAC_UP burn-efuse SECURE_BOOT_EN 1 DIS_PAD_JTAG 1 DIS_USB_JTAG 1 SPI_BOOT_CRYPT_CNT 7 DIS_DOWNLOAD_MANUAL_ENCRYPT 1
start_board --efuse efuse.bin
curl -sf -H 'Accept: application/json' "$URL/evidence?nonce=0011223344556677" >"$TMP/out"
json_is '.oemboot and .flash_encryption == "release" and .dbgstat == "disabled-permanently"' "$TMP/out" >/dev/null || { cat "$TMP/out"; fail "wrong claims of a locked chip"; }
stop_board
ok "secure boot, flash encryption and debug state are read from eFuse"

rm -f "$TMP/efuse.bin"
fuse esp32s3 summary
refused 'burn_key BLOCK_KEY3 private_key.bin HMAC_UP'
fuse esp32s3 burn_key BLOCK_KEY3 private_key.bin HMAC_UP --no-read-protect
refused 'read_protect_efuse BLOCK_KEY3'
fuse esp32s3 read-protect-efuse BLOCK_KEY3 # the message named this command
start_board --efuse efuse.bin
[ "$(curl -sf "$URL/hash?challenge=x")" = "$expected" ] || fail "the value of /hash changed with read-protection"
stop_board
rm -f "$TMP/efuse.bin"
fuse esp32s3 burn_key BLOCK_KEY3 private_key.bin HMAC_DOWN_JTAG
refused 'a purpose other than HMAC_UP and cannot be changed; move this eFuse file away, then make a new one; espefuse '
mv "$TMP/efuse.bin" "$TMP/spoiled.bin"
fuse esp32s3 burn_key BLOCK_KEY3 private_key.bin HMAC_UP # the message named this command
start_board --efuse efuse.bin
stop_board
rm -f "$TMP/efuse.bin"
fuse esp32s3 burn_key BLOCK_KEY2 private_key.bin HMAC_UP
refused 'BLOCK_KEY3 holds no key'
ok "no key, a readable key and a wrong purpose are refused"
