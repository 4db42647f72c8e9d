# esp_lib.sh - for scenarios with an emulated chip of the type for which the firmware in CMX_ESP_BUILD was built. Source
# it after lib.sh and desk_lib.sh, and after gateway_lib.sh if the scenario uses a gateway. A chip NAME has the files
# $TMP/NAME.flash, .efuse, .serial (output since the last start) and .log (all output).
declare -A ESP_PID ESP_PORT
ESP_PORTS=(22 80 81 8888 8989)

esp_ready() {
    [ -f "${CMX_ESP_BUILD:-}/flasher_args.json" ] || skip "no firmware: set CMX_ESP_BUILD to a build folder of secure_services"
    ESP_CHIP=$(jq -r .extra_esptool_args.chip "$CMX_ESP_BUILD/flasher_args.json")
    case $ESP_CHIP in
    esp32s3) QEMU=${CMX_QEMU_ESP:-qemu-system-xtensa} ;;
    *) QEMU=${CMX_QEMU_ESP:-qemu-system-riscv32} ;;
    esac
    "$QEMU" -M help 2>/dev/null | grep "^$ESP_CHIP " >/dev/null || skip "no emulated $ESP_CHIP: set CMX_QEMU_ESP"
}

# esp_app: prints the path of the application's image.
esp_app() { echo "$CMX_ESP_BUILD/$(jq -r .app.file "$CMX_ESP_BUILD/flasher_args.json")"; }

# esp_settings KCONFIG ADDRESS: creates the NVS image for the next esp_flash from KCONFIG, the lines that `enroll --form
# kconfig` printed. In the emulator, 10.0.2.2 is this machine.
esp_settings() {
    PYTHONPATH=$TMP/site "$PYTHON" - "$1" "$2" "$GW_PORT" >"$TMP/nvs.bin" <<'PY' || fail "no NVS image"
import re, sys
from cmxsafe_tools.chip import nvs_image
found = dict(re.findall(r'^(CONFIG_CMX_\w+)="?([^"\n]*)"?$', sys.argv[1], re.M))
settings = {"gateway": "10.0.2.2", "port": sys.argv[3], "user": found["CONFIG_CMX_USER"], "host_key": found["CONFIG_CMX_HOST_KEYS"],
            "address": sys.argv[2]}
sys.stdout.buffer.write(nvs_image(settings, 0x5000))
PY
}

# esp_flash NAME: creates a flash image of 4 MB with the firmware and the settings.
esp_flash() {
    "$PYTHON" - "$CMX_ESP_BUILD" "$TMP/nvs.bin" "$TMP/$1.flash" <<'PY' || fail "no flash image"
import json, sys
from pathlib import Path
build, nvs, out = map(Path, sys.argv[1:])
flash = bytearray(b"\xff" * (4 << 20))
files = {int(at, 0): build / name for at, name in json.loads((build / "flasher_args.json").read_text())["flash_files"].items()}
for at, path in {**files, 0x9000: nvs}.items():
    data = path.read_bytes()
    flash[at:at + len(data)] = data
out.write_bytes(flash)
PY
}

# esp_efuse NAME [KEY]: creates an eFuse with revision 0.3, a MAC address and, if KEY is given, an HMAC_UP key in
# BLOCK_KEY3. The key is read-protected unless the firmware accepts a readable key (CONFIG_CMX_HMAC_KEY_READABLE), which
# older emulators need.
esp_efuse() {
    python3 - "$TMP/$1.efuse" "${2:-}" "$(jq .CMX_HMAC_KEY_READABLE "$CMX_ESP_BUILD/config/sdkconfig.json")" <<'PY'
import sys
from pathlib import Path
image = bytearray(1024)
image[0x18:0x1E] = bytes.fromhex("02c3c3000001")[::-1]
image[0x26] = 3 << 2
if sys.argv[2]:
    image[0x0C] = 8 << 4
    image[0xD0:0xF0] = Path(sys.argv[2]).read_bytes()
    if sys.argv[3] != "true":
        image[0x04] = 1 << 3
Path(sys.argv[1]).write_bytes(image)
PY
}

# esp_boot NAME [QEMU-ARGUMENT...]: starts the chip. ESP_PORT[NAME-PORT] is the loopback port that leads to the chip's
# PORT.
esp_boot() {
    local name=$1 nic="user,model=open_eth" port
    shift
    for port in "${ESP_PORTS[@]}"; do
        ESP_PORT[$name-$port]=$(free_port)
        nic+=",hostfwd=tcp:127.0.0.1:${ESP_PORT[$name-$port]}-:$port"
    done
    "$QEMU" -M "$ESP_CHIP" -accel tcg,thread=single -m 4M -nographic -nic "$nic" -drive "file=$TMP/$name.flash,if=mtd,format=raw" \
        -drive "file=$TMP/$name.efuse,if=none,format=raw,id=efuse" -global driver="nvram.$ESP_CHIP.efuse",property=drive,value=efuse \
        -global driver="timer.$ESP_CHIP.timg",property=wdt_disable,value=true -monitor none -serial "file:$TMP/$name.serial" "$@" >>"$TMP/qemu.log" 2>&1 &
    ESP_PID[$name]=$!
    PIDS+=("$!")
    tail -n +1 -F "$TMP/$name.serial" >>"$TMP/$name.log" 2>/dev/null & # follows the log over restarts, which truncate the file
    PIDS+=("$!")
    wait_for 60 grep -q "isolation: in force" "$TMP/$name.serial" || fail "$name does not start"
}
esp_stop() { stop "${ESP_PID[$1]}"; }
esp_logs() { wait_for 60 grep -q -- "$2" "$TMP/$1.log"; }

# esp_silent NAME: checks that no port of the device answers a client outside the device. QEMU itself accepts each
# connection, so only data from the port counts as an answer.
esp_silent() {
    local port pids=()
    for port in "${ESP_PORTS[@]}"; do
        ( exec 3<>"/dev/tcp/127.0.0.1/${ESP_PORT[$1-$port]}"; printf 'GET / HTTP/1.0\r\n\r\n' >&3; ! IFS= read -r -n 1 -t 5 -u 3 ) & pids+=("$!")
    done
    for port in "${pids[@]}"; do wait "$port" || fail "a port of $1 answers from outside"; done
    esp_logs "$1" "isolation: dropped in: .* > 10\.0\.2\.15:" || fail "no drop in the log of $1"
}

gw_pending() { gw pending --json | json_is '[.pending[] | select(.fingerprint == $f)] | length > 0' --arg f "$1"; }
# up_ports DEVICE PORT...: checks that the gateway has a listener for each of these ports of the device.
up_ports() {
    local device=$1 port
    shift
    for port in "$@"; do
        wait_for 60 eval "gw status --json | json_is '[.sessions[] | select(.name == \"$device\") | .forwards[]] | any(endswith(\":$port\"))'" ||
            fail "no listener for port $port of $device: $(gw status)"
    done
}
