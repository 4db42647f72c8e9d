#!/usr/bin/env bash
# Installs missing packages, builds, and runs every test. Arguments are passed to ctest (for example: -R unit). The last
# line is `N passed, N failed, N skipped`. Each failed, flaky and skipped test is named above it. A test that fails in
# parallel with others and passes alone is flaky; it counts as failed.
set -u
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT" || exit 1

TEST_PACKAGES=(uidmap sqlite3 bird2 wireguard-tools wireguard-go postgresql postgresql-client softhsm2 opensc libengine-pkcs11-openssl chromium chromium-driver cockpit-ws cockpit-bridge prometheus clang "$(clang_runtime)" clang-format valgrind python3
    python3-venv jq dropbear-bin nmap dnsmasq-base tcpdump bpftool iproute2 iputils-ping nftables mosquitto mosquitto-clients netcat-openbsd socat nginx-light haproxy swtpm
    swtpm-tools tpm2-tools xxd swupdate rauc squashfs-tools cpio dbus-daemon systemd libpam-modules procps strace man-db mandoc git
    gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf)
command -v npm >/dev/null || TEST_PACKAGES+=(npm) # a nodejs that is not Debian's contains npm and conflicts with Debian's package npm
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${PACKAGE_PACKAGES[@]}" "${TEST_PACKAGES[@]}"

passed=0 failures=() flaky=() skips=()
step() { # step NAME COMMAND...: runs one check that is not a ctest test
    local name=$1 log reason
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1)); printf '%sok%s      %s\n' "$c_green" "$c_off" "$name"
    else
        failures+=("$name"); printf '%sFAILED%s  %s\n' "$c_red" "$c_off" "$name"; tail -n 40 "$log"
    fi
    while IFS= read -r reason; do skips+=("$name: $reason"); done < <(sed -nE 's/^SKIPPED( PART)?: //p' "$log")
    rm -f "$log"
}

# failed_in LOG: prints the names of the tests that ctest reports as failed.
failed_in() { sed -nE 's/.*Test +#[0-9]+: ([^ ]+) .*(\*\*\*(Failed|Timeout|Not Run|Exception)|Subprocess aborted).*/\1/p' "$1" | sort -u; }

# skipped_in LOG: prints "TEST: REASON" for each skipped test, each skipped part of a scenario (tests/e2e/lib.sh) and each
# skipped cmocka test.
skipped_in() {
    awk '/^[0-9]+\/[0-9]+ Testing: / { test = $3 }
        sub(/^SKIPPED( PART)?: /, "") { print test ": " $0 }
        /^\[  SKIPPED \] [a-z_0-9]+$/ { print test ": " $4 }' "$1" | sort -u
}

# suite BUILD_DIR [ctest arguments]: runs ctest in BUILD_DIR and adds its results to the counts. Each failed test is run again,
# alone.
suite() {
    local dir=$1 log t
    shift
    log=$(mktemp)
    ctest --test-dir "$dir" --output-on-failure -j "${CMX_JOBS:-$(nproc)}" "$@" 2>&1 | tee "$log" | grep -vE '^ +Start +[0-9]+:|Test +#.* Passed'
    passed=$((passed + $(grep -cE 'Test +#[0-9]+: .* Passed' "$log")))
    while IFS= read -r t; do skips+=("$dir:$t"); done < <(skipped_in "$dir/Testing/Temporary/LastTest.log")
    for t in $(failed_in "$log"); do
        if ctest --test-dir "$dir" --output-on-failure -R "^$t\$" >"$log.again" 2>&1 && grep -qE 'Test +#[0-9]+: .* Passed' "$log.again"; then
            flaky+=("$dir:$t")
        else
            failures+=("$dir:$t"); cat "$log.again"
        fi
    done
    rm -f "$log" "$log.again"
}

say "building"
build build -DCMX_WERROR=ON
build build-asan -DCMAKE_BUILD_TYPE=Debug -DCMX_WERROR=ON -DCMX_SANITIZE=address

say "checks"
for check in scripts/check_*.sh; do
    step "$check" bash "$check"
done

say "tests under ASan and UBSan"
suite build-asan "$@"

# The agent's system call filter forbids calls that sanitizers need, and sanitizers need more memory than a session of the
# gateway may have, so these tests use the build without sanitizers.
say "confinement and limits, without sanitizers"
[ $# -gt 0 ] || suite build -R '^(test_confine|e2e_agent_run|e2e_attest_agent|e2e_gateway_memory)$'

say "the engine under TSan"
build build-tsan -DCMAKE_BUILD_TYPE=Debug -DCMX_WERROR=ON -DCMX_SANITIZE=thread
[ $# -gt 0 ] || suite build-tsan -R '^(e2e_proxy_(reverse|reconfigure|stall)|test_device_isolation)$'

[ $# -gt 0 ] || { say "fuzzers over their seed corpora"; step "scripts/fuzz.sh" bash scripts/fuzz.sh "${CMX_FUZZ_SECONDS:-0}"; }

[ $# -gt 0 ] || { say "the demo"; step "scripts/demo.sh --once" bash -c "umask 077; scripts/demo.sh --once"; }

for t in "${skips[@]+"${skips[@]}"}"; do printf 'skipped: %s\n' "$t"; done
for t in "${flaky[@]+"${flaky[@]}"}"; do printf 'flaky: %s failed in parallel with other tests and passed alone\n' "$t"; done
for t in "${failures[@]+"${failures[@]}"}"; do printf 'failed: %s\n' "$t"; done
failed=$((${#failures[@]} + ${#flaky[@]}))
echo "$passed passed, $failed failed, ${#skips[@]} skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
