#!/usr/bin/env bash
# Counts the instructions that the firmware executes on an emulated chip to log in, to send a kilobyte through the
# tunnel, and to receive one. An emulator's clock is not real, but QEMU counts the instructions (-icount), and gdb reads
# the counter. Waiting does not advance the counter. If a chip has two cores, they share the counter. Samples of the
# program counters show to which part of the firmware the instructions belong. The firmware is the example
# secure_services, connected to `cmxsafe gateway serve`. Prints `name value aim ok|short`, and lines that begin with #
# for the parts of the firmware.
#   CMX_QEMU_ESP, CMX_ESP_BUILD: as for tests/e2e/esp/esp_gateway.sh. CMX_ADDR2LINE: the addr2line to use (default: the toolchain's)
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
cd "$CMX_ROOT" || exit 1
export CMX_BUILD=${CMX_BUILD:-$CMX_ROOT/build} CMX_BIN=${CMX_BIN:-$CMX_ROOT/build/bin}
. "$here/../tests/e2e/lib.sh"
. "$here/../tests/e2e/gateway_lib.sh"
. "$here/../tests/e2e/desk_lib.sh"
. "$here/../tests/e2e/esp_lib.sh"
. "$here/lib.sh"
esp_ready
need_namespaces
desk_tools
command -v gdb >/dev/null || skip "no gdb"
case $ESP_CHIP in
esp32s3) ADDR2LINE=${CMX_ADDR2LINE:-xtensa-esp32s3-elf-addr2line} ;;
*) ADDR2LINE=${CMX_ADDR2LINE:-riscv32-esp-elf-addr2line} ;;
esac
chip=esp_${ESP_CHIP#esp32}

# count: prints the number of instructions that the chip has executed.
count() { gdb -p "${ESP_PID[chip]}" -batch -nx -ex 'print timers_state.qemu_icount' 2>/dev/null | sed -n 's/^\$1 = //p'; }
# sample SECONDS: writes program counters, 100 a second, to $TMP/pcs.
sample() {
    python3 - "$TMP/qmp" "$1" >"$TMP/pcs" <<'PY'
import json, re, socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f = s.makefile('rw')
def ask(command, **arguments):
    f.write(json.dumps({'execute': command, 'arguments': arguments} if arguments else {'execute': command}) + '\n')
    f.flush()
    while True:
        answer = json.loads(f.readline())
        if 'return' in answer:
            return answer['return']
f.readline()
ask('qmp_capabilities')
end = time.time() + float(sys.argv[2])
while time.time() < end:
    ask('stop')  # because reading the registers of a running Xtensa changes them
    print(*re.findall(r'\bpc[\s=]+([0-9a-f]+)', ask('human-monitor-command', **{'command-line': 'info registers -a'}), re.I), sep='\n')
    ask('cont')
    time.sleep(0.01)
PY
}
# parts NAME: prints the share of the samples in each part of the firmware, without the samples of the idle task.
parts() {
    "$ADDR2LINE" -f -e "$CMX_ESP_BUILD/$(jq -r .app.elf "$CMX_ESP_BUILD/flasher_args.json" | sed 's/null//; s/^$/secure_services.elf/')" <"$TMP/pcs" | paste - - | awk -v n="$1" '
        $1 ~ /idle|esp_cpu_wait_for_intr|^rv_utils_/ { next } # the chip is idle: the emulator mostly stops it where interrupts are enabled again
        { p = "other"
          if ($2 ~ /libssh/) p = "libssh"; else if ($2 ~ /mbedtls|tf-psa/) p = "Mbed TLS"; else if ($2 ~ /lwip/) p = "lwIP"
          else if ($2 ~ /cmxsafe\/isolation|filter_lwip/) p = "isolation"; else if ($2 ~ /src\/cmxsafe|examples/) p = "cmxsafe"
          else if ($2 ~ /freertos|riscv\/vectors|xtensa_vectors|xtensa\/xt/) p = "FreeRTOS"; else if ($2 ~ /esp_eth|ethernet|openeth/) p = "Ethernet driver"
          else if ($2 ~ /heap|multi_heap|tlsf/) p = "heap"; else if ($2 ~ /http/) p = "HTTP server"; else if ($1 ~ /^mem|^str|^__riscv|\?\?/) p = "ROM and C library"
          c[p]++; t++ }
        END { for (p in c) printf "%d %s\n", 1000 * c[p] / t, p }' | sort -rn | awk -v n="$1" '{ v = $1 / 10; $1 = ""; printf "%s%s %.1f %%", NR == 1 ? "# " n ":" : ",", $0, v } END { print "" }'
}

start_gateway
key a
settings=$(gw enroll viewer --key "$TMP/a.pub" --direct cam-17.cmx:81 --form kconfig) || fail "enroll"
esp_settings "$settings" "fleet:$(address_of viewer | cut -d: -f1-3)::/48"
esp_flash chip
printf 'Z%.0s' $(seq 32) >"$TMP/private_key.bin"
chmod 600 "$TMP/private_key.bin"
esp_efuse chip "$TMP/private_key.bin"
gw enroll cam-17 --hwkey "$TMP/private_key.bin" --ports 81,8989,8888 >/dev/null || fail "enroll --hwkey"
esp_boot chip -icount shift=3 -qmp "unix:$TMP/qmp,server=on,wait=off"
up_ports cam-17 81 8989 8888
for port in 81 8989; do gw grant "user:$(id -un)" "cam-17:$port" >/dev/null || fail "grant"; done
[ -n "$(count)" ] || fail "gdb cannot read QEMU's counter: QEMU needs debug symbols"

# Counts the instructions at rest, with three sessions up.
sleep 5
a=$(count); s=$(date +%s%N); sleep 20; b=$(count)
rest=$(awk -v a="$a" -v b="$b" -v t=$(($(date +%s%N) - s)) 'BEGIN { printf "%.0f\n", (b - a) / (t / 1e9) }')
note ${chip}_rest_instructions_per_s "$rest"

# net COMMAND...: sets NET to the instructions that the command causes, less those that the firmware executes at rest
# in the same time.
net() {
    local a b s
    a=$(count) s=$(date +%s%N)
    "$@" || fail "$*"
    b=$(count)
    NET=$(awk -v a="$a" -v b="$b" -v r="$rest" -v t=$(($(date +%s%N) - s)) 'BEGIN { printf "%.0f\n", b - a - r * t / 1e9 }')
}

# Counts three logins: the gateway is stopped and started again, and three sessions log in.
again() { stop "$GW_PID"; serve_gateway; up_ports cam-17 81 8989 8888; }
net again
note ${chip}_login_instructions "$(awk -v n="$NET" 'BEGIN { printf "%.0f\n", n / 3 }')"

# Bytes from the device: it answers GET /update 40 times over one connection.
page() {
    local urls=() i
    for i in $(seq 40); do urls+=(-o "$TMP/page" http://cam-17.cmx:8989/update); done
    inside curl -sS -m 300 "${urls[@]}"
}
inside curl -sS -m 60 -o "$TMP/page" http://cam-17.cmx:8989/update || fail "GET /update is not answered"
net page
kb=$(awk -v b="$(stat -c %s "$TMP/page")" 'BEGIN { printf "%.1f\n", b * 40 / 1024 }')
note ${chip}_from_device_kb "$kb"
note ${chip}_from_device_instructions_per_kb "$(awk -v n="$NET" -v k="$kb" 'BEGIN { printf "%.0f\n", n / k }')"
while :; do page; done & loop=$!
PIDS+=("$loop")
sample 20
kill "$loop"; wait "$loop" 2>/dev/null
parts "from the device"

# The camera's stream. The figure includes drawing and compressing the test picture.
stream() { inside curl -sS -m 300 -o "$TMP/stream" "http://cam-17.cmx:81/stream?frames=60"; }
net stream
note ${chip}_stream_instructions_per_kb "$(awk -v n="$NET" -v b="$(stat -c %s "$TMP/stream")" 'BEGIN { printf "%.0f\n", n / (b / 1024) }')"

# Bytes to the device: it receives the first half of the firmware's image. The update service hashes the data, writes it to flash, and
# refuses the image when the data ends.
half=$(($(stat -c %s "$(esp_app)") / 2 / 4096 * 4096))
head -c "$half" "$(esp_app)" >"$TMP/upload"
upload() { inside curl -sS -m 300 -o "$TMP/answer" -F "update=@$TMP/upload" http://cam-17.cmx:8989/update; }
net upload
note ${chip}_to_device_instructions_per_kb "$(awk -v n="$NET" -v b="$half" 'BEGIN { printf "%.0f\n", n / (b / 1024) }')"
sed 's/^/# the update service: /; q' "$TMP/answer"
exit 0
