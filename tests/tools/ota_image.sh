# ota_image.sh - for scenarios: creates ESP-IDF application images with the real tools. Source it after tests/e2e/lib.sh.
# make_image OUT VERSION [CHIP] [SECURE_VERSION] [KILOBYTES]: compiles a program with an application descriptor for RISC-V
# and converts it with esptool's elf2image. For the ESP32-S3, which is not RISC-V, it patches the machine type in the
# ELF header: only the chip id and the layout matter.
ESPTOOL_VERSION=5.6.0

esptool_ready() {
    command -v riscv64-unknown-elf-gcc >/dev/null || skip "riscv64-unknown-elf-gcc is not installed"
    ESPTOOL=$(python_with "esptool==$ESPTOOL_VERSION" 2>"$TMP/pip.log") || skip "esptool cannot be installed"
}

make_image() {
    local out=$1 version=$2 chip=${3:-esp32c3} secure=${4:-0} kb=${5:-20} dir
    dir=$(mktemp -d "$TMP/image.XXXXXX")
    head -c $((kb * 1024)) /dev/urandom >"$dir/payload"
    cat >"$dir/app.S" <<ASM
    .section .flash.appdesc, "a"
    .word 0xabcd5432, $secure, 0, 0
desc: .ascii "$version"
    .zero 32 - (. - desc)
name: .ascii "camera"
    .zero 32 - (. - name)
    .ascii "12:00:00"
    .zero 8
    .ascii "Nov 22 2026"
    .zero 5
    .ascii "v5.5"
    .zero 28
    .zero 32
    .zero 80
    .incbin "$dir/payload"
    .balign 4
    .section .iram, "ax"
    .globl _start
_start: j _start
    .balign 4
ASM
    cat >"$dir/app.ld" <<'LD'
ENTRY(_start)
SECTIONS
{
    .flash.appdesc 0x3c000020 : { *(.flash.appdesc) }
    .iram0.text 0x40380000 : { *(.iram) }
}
LD
    riscv64-unknown-elf-gcc -march=rv32imc -mabi=ilp32 -nostdlib -nostartfiles -Wl,-T,"$dir/app.ld" -Wl,--build-id=none \
        "$dir/app.S" -o "$dir/app.elf" || fail "gcc"
    # Changes e_machine from 243 (RISC-V) to 94 (Xtensa).
    case $chip in esp32 | esp32s2 | esp32s3) printf '\136\0' | dd of="$dir/app.elf" bs=1 seek=18 conv=notrunc status=none ;; esac
    "$ESPTOOL" -m esptool --chip "$chip" elf2image --flash-mode dio --flash-size 4MB -o "$out" "$dir/app.elf" >"$dir/log" 2>&1 || { cat "$dir/log"; fail "elf2image"; }
    rm -rf "$dir"
}
