#!/usr/bin/env bash
# Compiles all of src/ for rv32imc -Os with Debian's cross compiler, with warnings as errors, and compares the flash and
# static RAM of each module and every stack frame with the limits in tests/riscv/budget.txt. With a compiler for which that
# file has no limits, it only prints the sizes. SSH and socket headers come from Debian's libssh-dev and liblwip-dev;
# tests/riscv/include holds the headers of a port of lwIP.
set -u
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT" || exit 1
install_packages gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf libssh-dev liblwip-dev

prefix=riscv64-unknown-elf-
out=build/riscv
budget=tests/riscv/budget.txt
compiler=$("${prefix}gcc" -dumpversion | cut -d. -f1)
grep -qx "compiler $compiler" "$budget" ||
    echo "SKIPPED PART: sizes are printed and not compared: $budget has limits for GCC $(sed -nE 's/^compiler +//p' "$budget") (Debian 12), this is GCC $compiler"
rm -rf "$out"
mkdir -p "$out/include"
ln -s /usr/include/libssh "$out/include/libssh"
ln -s /usr/include/lwip/lwip "$out/include/lwip"
ln -s /usr/include/lwip/netif "$out/include/netif"

# The optimization flags from -msave-restore to -fno-shrink-wrap are those of cmake/esp_component.cmake.
flags=(--specs=picolibc.specs -march=rv32imc -mabi=ilp32 -std=gnu11 -Os -msave-restore -mtune=size -malign-data=natural -fno-expensive-optimizations -fno-jump-tables
    -fno-caller-saves -fno-move-loop-invariants -fno-shrink-wrap -ffreestanding -ffunction-sections -fdata-sections -fstack-usage
    -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Werror
    -DCMX_DEVICE_PROFILE -Isrc -isystem tests/riscv/include -isystem "$out/include")
export flags_line="${flags[*]}" out prefix
compile() { # compile SOURCE: compiles SOURCE to an object file; reports a failure
    local object=$out/${1%.c}.o
    mkdir -p "$(dirname "$object")"
    # shellcheck disable=SC2086
    "${prefix}gcc" $flags_line -c "$1" -o "$object" || { echo "does not compile: $1"; return 1; }
}
export -f compile
find src -name '*.c' -not -path '*/esp/*' -print0 | sort -z | xargs -0 -P 4 -I{} bash -c 'compile {}' || exit 1

# Measures the total of a firmware, linked from the functions that a sketch with every module calls. Symbols that other
# components define (libssh, lwIP, ESP-IDF) can be reached by a short call, as in a firmware's flash; functions of the chip's
# ROM (mem*, str*, 64-bit division) cannot. libgcc's share is counted, but not its unwind tables: ESP-IDF links .eh_frame
# only with C++ exceptions or CONFIG_ESP_SYSTEM_USE_EH_FRAME.
objects=$(find "$out/src" -name '*.o' | LC_ALL=C sort) # the order decides which calls are short
roots=()
while read -r symbol; do roots+=("-Wl,-u,$symbol"); done < <(sed -nE 's/^root_symbol +//p' "$budget")
# shellcheck disable=SC2086
"${prefix}nm" $objects | awk '
    $1 == "U" { used[$2] = 1 }
    $2 ~ /^[A-TV-Z]$/ { ours[$3] = 1 }
    END {
        for (s in used)
            if (!(s in ours) && s !~ /^__riscv_(save|restore)/)
                printf "%s = %s;\n", s, s ~ /^(mem|str)|^__u?(div|mod)/ ? "0x40000400" : "0x42000000"
    }' >"$out/outside.ld"
# shellcheck disable=SC2086
"${prefix}gcc" -march=rv32imc -mabi=ilp32 -nostdlib -Wl,--gc-sections -Wl,-Ttext-segment=0x42010000 "${roots[@]}" \
    -Wl,-e,cmx_device_forward -Wl,-Map,"$out/linked.map" $objects "$out/outside.ld" -lgcc -o "$out/linked.elf" || exit 1
"${prefix}objcopy" -R .eh_frame "$out/linked.elf"
read -r flash ram < <("${prefix}size" "$out/linked.elf" | awk 'NR == 2 { print $1 + $2, $2 + $3 }')

# Prints one line per module. text and rodata count as flash, bss as RAM, data as both.
find "$out/src" -name '*.o' -print0 | xargs -0 "${prefix}size" | awk -v budget="$budget" -v compiler="$compiler" -v prefix="$out/src/" -v total_flash="$flash" -v total_ram="$ram" '
    function module(path) {
        sub(prefix, "", path)
        if (path !~ /^cmxsafe\/[^\/]+\//) return "root"
        sub(/^cmxsafe\//, "", path); sub(/\/.*/, "", path)
        return path
    }
    BEGIN {
        while ((getline line < budget) > 0) {
            if (line ~ /^#|^root_symbol/ || line !~ /[^ ]/) continue
            split(line, f, " ")
            if (f[1] == "compiler") { ours = f[2] == compiler; any = any || ours }
            else if (ours) { flash_max[f[1]] = f[2]; ram_max[f[1]] = f[3] }
        }
    }
    $1 ~ /^[0-9]+$/ { m = module($6); flash[m] += $1 + $2; ram[m] += $2 + $3 }
    END {
        flash["total"] = total_flash; ram["total"] = total_ram
        for (m in flash) {
            if (!any) { printf "%-10s %d flash %6d   RAM %5d (GCC %s)\n", m, m == "total", flash[m], ram[m], compiler; continue }
            if (!(m in flash_max)) { printf "%s 2 has no line in %s\n", m, budget; bad = 1; continue }
            over = flash[m] > flash_max[m] || ram[m] > ram_max[m]
            printf "%-10s %d flash %6d of %6d   RAM %5d of %5d%s\n", m, m == "total", flash[m], flash_max[m], ram[m], ram_max[m], over ? "  OVER" : ""
            bad = bad || over
        }
        exit bad
    }' >"$out/sizes"
over=$?
sort -k2,2n -k1,1 "$out/sizes" | sed -E 's/^([^ ]+ +)[012] /\1/' 
[ "$over" -eq 0 ] || exit 1

stack_max=$(awk '$1 == "stack_frame" { print $2 }' "$budget")
find "$out/src" -name '*.su' -print0 | xargs -0 cat | sort -t$'\t' -k2,2nr | head -n 3 | sed 's/^/largest stack frames: /'
find "$out/src" -name '*.su' -print0 | xargs -0 cat | awk -F'\t' -v max="$stack_max" '
    $2 > max { printf "stack frame over %d bytes: %s %d\n", max, $1, $2; bad = 1 }
    $3 ~ /dynamic/ && $3 !~ /bounded/ { printf "stack frame of unbounded size: %s\n", $1; bad = 1 }
    END { exit bad }'
