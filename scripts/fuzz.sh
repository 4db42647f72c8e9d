#!/usr/bin/env bash
# Runs the fuzzers (default: all): scripts/fuzz.sh [SECONDS [NAME ...]]. SECONDS is the time for each fuzzer (default: 60);
# with 0, it runs only its known inputs. Inputs that make a fuzzer fail are kept in build-fuzz/found, and the exit status is non-zero.
set -u
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT" || exit 1
case ${1:-} in -*) sed -n '2,3s/^# //p' "$0"; exit 2 ;; esac
seconds=${1:-60}
[ $# -eq 0 ] || shift
for name; do [ -e "fuzz/fuzz_$name.c" ] || die "fuzz.sh: no fuzzer '$name'"; done
install_packages "${BUILD_PACKAGES[@]}" clang "$(clang_runtime)"
build build-fuzz -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Debug -DCMX_SANITIZE=address -DCMX_FUZZ=ON -DCMX_TESTS=OFF

rc=0
mkdir -p build-fuzz/found
for harness in fuzz/fuzz_*.c; do
    name=$(basename "$harness" .c)
    short=${name#fuzz_}
    [ $# -eq 0 ] || [[ " $* " == *" $short "* ]] || continue
    grown=build-fuzz/corpus/$short
    mkdir -p "$grown" "fuzz/corpus/$short"
    if [ "$seconds" = 0 ]; then limit=(-runs=0); else limit=(-max_total_time="$seconds"); fi
    if build-fuzz/bin/"$name" "${limit[@]}" -max_len=8192 -timeout=10 -rss_limit_mb=1024 -artifact_prefix="build-fuzz/found/$short-" \
        "$grown" "fuzz/corpus/$short" >"build-fuzz/$name.log" 2>&1; then
        printf '%-24s %s\n' "$name" "$(grep -oE 'Done [0-9]+ runs in [0-9]+ second' "build-fuzz/$name.log" || echo "corpus ok")"
    else
        rc=1
        printf '%-24s FAILED\n' "$name"
        tail -n 25 "build-fuzz/$name.log"
    fi
done
exit $rc
