# Tests `cmxsafe-tools provision --port` with the ROM loader of an emulated ESP32-C3 on its serial port: afterwards the
# key is in eFuse, and the settings and the firmware are in flash. Needs Espressif's QEMU: CMX_QEMU_ESP names its
# qemu-system-riscv32.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../desk_lib.sh"
QEMU=${CMX_QEMU_ESP:-qemu-system-riscv32}
"$QEMU" -M help 2>/dev/null | grep '^esp32c3 ' >/dev/null || skip "no emulated ESP32-C3: set CMX_QEMU_ESP"
desk_tools
cd "$TMP" || exit 1
head -c $((4 << 20)) /dev/zero | tr '\0' '\377' >flash.bin
head -c 512 /dev/zero >efuse.bin
head -c 20000 /dev/urandom >app.bin
printf 'CONFIG_CMX_%s\n' 'GATEWAY_HOST="gw.example"' 'GATEWAY_PORT=2222' 'USER="cmxsafe-gw"' 'HOST_KEYS="SHA256:a SHA256:b"' >settings
serial=$(free_port)
# The strapping pins select the ROM loader.
"$QEMU" -machine esp32c3 -global driver=esp32c3.gpio,property=strap_mode,value=0x02 -drive file=flash.bin,if=mtd,format=raw \
    -drive file=efuse.bin,if=none,format=raw,id=efuse -global driver=nvram.esp32c3.efuse,property=drive,value=efuse \
    -serial "tcp:127.0.0.1:$serial,server,nowait" -monitor none -display none >qemu.log 2>&1 &
qemu=$!
PIDS+=("$qemu")
wait_for 20 listening "$serial" || fail "the emulator does not start"
provision() { tools provision cam-1 --chip esp32c3 --port "socket://127.0.0.1:$serial" --firmware 0x20000=app.bin --settings settings; }
provision >out 2>err <<<BURN || { cat out err; fail "provision"; }
stop "$qemu"
"$PYTHON" - <<'PY' || fail "the chip does not hold what was written"
from pathlib import Path
flash, nvs, app = (Path(p).read_bytes() for p in ("flash.bin", "devices/cam-1/nvs.bin", "app.bin"))
assert flash[0x9000:0x9000 + len(nvs)] == nvs and b"gw.example" in nvs, "NVS"
assert flash[0x20000:0x20000 + len(app)] == app, "firmware"
key = Path("devices/cam-1/private_key.bin").read_bytes()
assert key in Path("efuse.bin").read_bytes(), "eFuse"
PY
ok "key, settings and firmware by a serial port"
