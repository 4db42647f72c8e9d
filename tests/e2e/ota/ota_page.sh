# The update page in a real Chromium: the running version, refusal, progress, success, use by keyboard only, stop and
# continue, a connection that is lost and restored, requests by pages of other sites. Screenshots are copied to the
# folder CMX_SCREENSHOTS if it is set.
. "$(dirname "$0")/../lib.sh"
. "$ROOT/tests/tools/ota_image.sh"
command -v chromedriver >/dev/null && command -v chromium >/dev/null || skip "chromium and chromium-driver are not installed"
esptool_ready
cd "$TMP" || exit 1
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
"$BIN/cmxsafe" image key --key k.pem >k.hex
make_image v1.bin 1.0.0
make_image bare.bin 9.0.0
make_image v2.bin 2.0.0 esp32c3 0 900
make_image v3.bin 3.0.0 esp32c3 0 900
make_image v4.bin 4.0.0 esp32c3 0 900
for v in 1 2 3 4; do "$BIN/cmxsafe" image sign --key k.pem v$v.bin >/dev/null || fail "sign"; done
seq 2000 >broken.bin
# Each flash operation takes 2 ms, so that the page shows progress. An upload that sends nothing for 5 s is ended.
"$BIN/ota_board" flash 0 --key k.hex --init v1.bin --slow 2000 --idle 5 >board.out 2>board.log &
PIDS+=($!)
wait_for 20 grep -q listening board.out || fail "the board does not start"
TMPDIR=$TMP python3 "$ROOT/tests/tools/ota_page.py" "http://127.0.0.1:$(awk '/^listening/ {print $2; exit}' board.out)" "$(free_port)" . || fail "the check of the update page fails"
[ -z "${CMX_SCREENSHOTS:-}" ] || cp page-*.png "$CMX_SCREENSHOTS"
no_sanitizer_report board.log || fail "a sanitizer complains"
