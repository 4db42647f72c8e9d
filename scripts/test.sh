#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. Arguments are given to ctest (for example: -R unit).
# Ends with a line `N passed, N failed`.
set -u
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT" || exit 1

TEST_PACKAGES=(uidmap sqlite3 softhsm2 opensc libengine-pkcs11-openssl chromium chromium-driver clang libclang-rt-14-dev clang-format valgrind python3 python3-venv jq dropbear-bin nmap dnsmasq-base tcpdump
    iproute2 iputils-ping nftables mosquitto mosquitto-clients netcat-openbsd socat swtpm swtpm-tools tpm2-tools xxd swupdate rauc squashfs-tools cpio dbus-daemon
    gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf)
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"

passed=0 failed=0 failures=() second_try=()
step() { # step NAME COMMAND...: one check that is not a ctest test
    local name=$1 log
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1)); printf '%sok%s      %s\n' "$c_green" "$c_off" "$name"
    else
        failed=$((failed + 1)); failures+=("$name"); printf '%sFAILED%s  %s\n' "$c_red" "$c_off" "$name"; tail -n 40 "$log"
    fi
    rm -f "$log"
}

# failed_in LOG: the names of ctest's failures.
failed_in() { sed -nE 's/.*Test +#[0-9]+: ([^ ]+) .*(\*\*\*(Failed|Timeout|Not Run|Exception)|Subprocess aborted).*/\1/p' "$1" | sort -u; }

# suite BUILD_DIR [ctest arguments]: runs ctest there and adds to the counts. What fails among others is tried once more, alone:
# on a machine that is too busy a bounded wait can end early. It is then named, so that nobody takes it for sound.
suite() {
    local dir=$1 log t
    shift
    log=$(mktemp)
    ctest --test-dir "$dir" --output-on-failure -j "${CMX_JOBS:-4}" "$@" 2>&1 | tee "$log" | grep -vE '^ +Start +[0-9]+:|Test +#.* Passed'
    passed=$((passed + $(grep -cE 'Test +#[0-9]+: .* Passed' "$log")))
    for t in $(failed_in "$log"); do
        if ctest --test-dir "$dir" --output-on-failure -R "^$t\$" >"$log.again" 2>&1 && grep -qE 'Test +#[0-9]+: .* Passed' "$log.again"; then
            passed=$((passed + 1)); second_try+=("$dir:$t")
        else
            failed=$((failed + 1)); failures+=("$dir:$t"); cat "$log.again"
        fi
    done
    rm -f "$log" "$log.again"
}

say "building"
build build
build build-asan -DCMAKE_BUILD_TYPE=Debug -DCMX_SANITIZE=address

say "checks"
for check in scripts/check_*.sh; do
    [ -e "$check" ] && step "$check" bash "$check"
done

say "tests under ASan and UBSan"
suite build-asan "$@"

# Sanitizers need system calls that the agent's filter otherwise forbids: as it is installed, it is seen here alone.
say "the agent's confinement, as it is installed"
[ $# -gt 0 ] || suite build -R '^(test_confine|e2e_agent_run|e2e_attest_agent)$'

say "the engine under TSan"
build build-tsan -DCMAKE_BUILD_TYPE=Debug -DCMX_SANITIZE=thread
[ $# -gt 0 ] || suite build-tsan -R '^(e2e_proxy_(reverse|reconfigure|stall)|test_device_isolation)$'

[ $# -gt 0 ] || { say "fuzzers over their seed corpora"; step "scripts/fuzz.sh" bash scripts/fuzz.sh "${CMX_FUZZ_SECONDS:-0}"; }

[ $# -gt 0 ] || { say "the demo"; step "scripts/demo.sh --once" bash scripts/demo.sh --once; }

for f in "${second_try[@]+"${second_try[@]}"}"; do printf 'passed only at the second try, alone: %s\n' "$f"; done
for f in "${failures[@]}"; do printf 'failed: %s\n' "$f"; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
