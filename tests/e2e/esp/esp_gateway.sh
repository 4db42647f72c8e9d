#!/usr/bin/env bash
# Tests the example secure_services on an emulated ESP32-C3 or ESP32-S3 with the product's gateway. CMX_ESP_BUILD names
# the folder where ESP-IDF built the example with sdkconfig.ci.qemu (examples/esp-idf/secure_services). CMX_QEMU_ESP
# names Espressif's qemu-system-riscv32 or qemu-system-xtensa. With CMX_ESP_LOGINS=1 the scenario also ends the
# chip's sessions 20 times, which takes about five minutes. With CMX_ESP_ROLLBACK=1 it also waits until an image that
# cannot reach its gateway is rolled back, which takes about five minutes more.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../desk_lib.sh"
. "$(dirname "$0")/../esp_lib.sh"
esp_ready
need_namespaces
desk_tools
start_gateway
key a
settings=$(gw enroll viewer --key "$TMP/a.pub" --direct cam-17.cmx:81 --form kconfig) || fail "enroll"
prefix=$(address_of viewer | cut -d: -f1-3)
esp_settings "$settings" "fleet:$prefix::/48"

# A chip with an empty eFuse creates a key at its first start, and an operator approves that key.
esp_flash one
esp_efuse one
esp_boot one
esp_logs one "SSH key fingerprint: SHA256:" || fail "no fingerprint in the log"
FP=$(sed -n 's/.*SSH key fingerprint: \(SHA256:[A-Za-z0-9+/]*\).*/\1/p' "$TMP/one.log" | head -n 1)
wait_for 60 gw_pending "$FP" || fail "the gateway does not list the chip's key $FP: $(gw pending)"
gw approve "$FP" cam-17 --ports 81,8989,8888 >/dev/null || fail "approve"
wait_for 60 connected cam-17 || fail "the approved chip does not log in"
up_ports cam-17 81 8989 8888
gw grant "user:$(id -un)" cam-17:81 >/dev/null || fail "grant"
ok "a key made at first start is printed, approved and logs in"

esp_silent one
ok "five ports do not answer from outside"

fetch "http://cam-17.cmx:81/frame.jpg?n=7" >"$TMP/frame" || fail "no frame"
[ "$(head -c 2 "$TMP/frame" | xxd -p)" = ffd8 ] || fail "no JPEG"
inside curl -sS -m 60 "http://cam-17.cmx:81/stream?frames=20" >"$TMP/stream" || fail "no stream"
[ "$(grep -ac '^X-Frame:' "$TMP/stream")" = 20 ] || fail "the stream has not 20 frames"
ok "the stream arrives, $(stat -c %s "$TMP/stream") bytes"

esp_stop one
esp_boot one
wait_for 60 connected cam-17 || fail "the chip does not come back after a restart"
prints_no "$FP" gw pending || fail "the chip made another key"
esp_stop one
ok "the key survives a restart"

# A chip with a hardware key in eFuse derives its SSH key from it, and signs evidence with it.
printf 'Z%.0s' $(seq 32) >"$TMP/private_key.bin"
chmod 600 "$TMP/private_key.bin"
"$BIN/cmxsafe" identity public --key "$TMP/private_key.bin" >"$TMP/device.pub" || fail "identity public"
gw enroll cam-18 --hwkey "$TMP/private_key.bin" --ports 81,8989,8888 >/dev/null || fail "enroll --hwkey"
esp_flash two
esp_efuse two "$TMP/private_key.bin"
esp_boot two
wait_for 60 connected cam-18 || fail "a chip with a hardware key does not log in"
up_ports cam-18 81 8989 8888
gw grant "user:$(id -un)" cam-18 >/dev/null || fail "grant"
ok "a key derived from eFuse logs in"

tail -c +65537 "$TMP/two.flash" >"$TMP/firmware.bin"
attest() { inside "$BIN/cmxsafe" attest --url http://cam-18.cmx:8888 --timeout 120 "$@"; }
attest --key "$TMP/private_key.bin" --image "$TMP/firmware.bin" | grep MATCH >/dev/null || fail "/hash differs"
esp_logs two "attest: hash for ::1" || fail "the log does not name the client that sshd reports" # ::1, because clients have no identities in --user mode
ok "/hash over the whole flash matches, and the log names its client"
app=$TMP/app.bin
cp "$(esp_app)" "$app" || fail "no image"
PIN=$(ssh-keyscan -p "$GW_PORT" -t ecdsa 127.0.0.1 2>/dev/null | ssh-keygen -lf - | awk '{print $2}') # devices request this key type first
"$BIN/cmxsafe" image manifest --at 0x20000 --end 0x1a0000 "$app" >"$TMP/manifest" || fail "manifest"
trusted() { # trusted NAME [OPTION...]: expects that verification with these options says TRUSTED; NAME names the log
    local log=$TMP/$1.log
    shift
    attest --evidence --manifest "$TMP/manifest" --gateway "$PIN" "$@" >"$log" 2>&1 && grep -q TRUSTED "$log" && lacks "NOT TRUSTED" "$log" || fail "$*: $(cat "$log")"
}
trusted hs256 --key "$TMP/private_key.bin"
trusted es256 --attest-key "$TMP/device.pub"
ok "evidence is TRUSTED, HS256 and ES256"

# Another enrolled party uploads an update, which the chip must install and confirm.
gw enroll viewer --key "$TMP/a.pub" --direct cam-18.cmx:8989 >/dev/null || fail "the viewer may not reach the update service"
update=$(free_port)
client a -N -L "127.0.0.1:$update:cam-18.cmx:8989" & PIDS+=("$!")
wait_for 20 listening "$update" || fail "the viewer does not log in"
python3 "$ROOT/tests/tools/esp_image.py" "$app" "$TMP/next.bin" --version 9.9.1 || fail "no second version"
"$BIN/cmxsafe" update --url "http://127.0.0.1:$update" --wait 600 "$TMP/next.bin" >"$TMP/update.log" 2>&1 || fail "update: $(tail -n 5 "$TMP/update.log")"
esp_logs two "running version 9.9.1 from ota_1" || fail "the new version does not run"
esp_silent two
ok "an update is confirmed; the ports still do not answer"

if [ -n "${CMX_ESP_LOGINS:-}" ]; then # 60 logins are more than isolation has flows
    sessions() { gw status --json | jq '.sessions[] | select(.name == "cam-18") | .pid'; }
    three() { [ "$(sessions | grep -cvxF "${1:-none}")" = 3 ]; } # three GONE: succeeds if there are three sessions besides those that GONE lists
    wait_for 60 three || fail "the chip does not have three sessions after the update"
    for round in $(seq 20); do
        sleep 11 # a session that lasted 10 s does not increase the wait before the next login
        before=$(sessions)
        # shellcheck disable=SC2086 # one process per word
        kill $before || fail "no sessions to end"
        wait_for 60 three "$before" || fail "the chip does not log in again after round $round: $(gw status)"
    done
    esp_silent two
    ok "the chip logs in 60 times more; the ports still do not answer"
fi
if [ -n "${CMX_ESP_ROLLBACK:-}" ]; then
    python3 "$ROOT/tests/tools/esp_image.py" "$app" "$TMP/lost.bin" --version 9.9.2 --replace host_key=host_kez || fail "no third version"
    wait_for 60 connected cam-18 || fail "the chip is not back after the update"
    inside "$BIN/cmxsafe" update --url http://cam-18.cmx:8989 --no-wait "$TMP/lost.bin" >"$TMP/lost.log" 2>&1 || fail "upload: $(tail -n 5 "$TMP/lost.log")"
    esp_logs two "running version 9.9.2" || fail "the third version does not start"
    wait_for 400 grep -q "version 9.9.2 is rolled back" "$TMP/two.log" || fail "no rollback"
    wait_for 60 connected cam-18 || fail "the device does not connect with the previous version"
    ok "an image that cannot reach its gateway is rolled back"
fi
wait_for 40 grep -q "heap: .* free" "$TMP/two.log" || fail "no figures in the log"
grep -hoE "heap: .*|task .*: stack .*" "$TMP/one.log" "$TMP/two.log" | sort | uniq -c | sort -k2 | tail -n 40
esp_stop two

# If a newer version of ESP-IDF wrote the chip's NVS, the chip can't read it. The chip must not erase this NVS, and must
# not accept unsigned images as if no update key were set.
nvs() { tail -c +$((0x9001)) "$TMP/three.flash" | head -c $((0x5000)) | sha256sum; }
esp_flash three
esp_efuse three
python3 - "$TMP/three.flash" <<'PY' || fail "NVS cannot be changed"
import sys, zlib
from pathlib import Path
flash = bytearray(Path(sys.argv[1]).read_bytes())
for page in range(0x9000, 0xE000, 0x1000):
    if flash[page:page + 4] != b"\xff" * 4: # the page is in use
        flash[page + 8] = 0xFD # the version; 0xfe is the current one
        flash[page + 28:page + 32] = zlib.crc32(flash[page + 4:page + 28], 0xFFFFFFFF).to_bytes(4, "little")
Path(sys.argv[1]).write_bytes(flash)
PY
before=$(nvs)
esp_boot three
esp_logs three "config: NVS has no free page or was written by a newer version" || fail "NVS is read"
esp_logs three "ota: no update service" || fail "the update service starts"
esp_silent three
esp_stop three
[ "$(nvs)" = "$before" ] || fail "NVS was changed"
ok "an NVS that cannot be read is kept, and no update is accepted"
stop_gateway
