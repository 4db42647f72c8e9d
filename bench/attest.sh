#!/usr/bin/env bash
# Measures attestation over 4 MB of flash, each figure relative to a peer in the same run. Because other programs may use
# the machine, a round counts only the shortest of many runs; a figure is the median of CMX_ROUNDS (5) rounds. Prints
# `name value aim ok|short [rounds]`. All figures but the last two are ratios of times.
#
#   attest_hash_ratio          /hash on the board's service, divided by the bare HMAC work: the same messages and library
#   attest_hash_over_copy      /hash, divided by the bare HMAC work with one copy of each chunk: the lower bound for a
#                              device that reads flash
#   attest_cli_ratio           cmxsafe attest --compute, divided by a program that does the bare work; both without the
#                              time to start the process
#   attest_cli_vs_python       remote_attestation.py, divided by cmxsafe attest --compute; whole processes
#   attest_evidence_ratio      /evidence, divided by /hash, for the worst case: flash without an erased chunk. Also prints
#                              the lower bound, SHA-256 over the same bytes (docs/ATTESTATION.md, "What evidence costs")
#   attest_evidence_ratio_typical  /evidence, divided by /hash, for flash with 1.2 MB of application and the rest erased
#   attest_bulk_meanwhile      rate of a bulk transfer while the same SSH session carries /hash requests without a pause,
#                              divided by the rate of the transfer alone; median of five pairs. Reading flash is as slow
#                              as on a chip (4 KB in 250 us).
#   attest_heap                peak of our allocations during /hash, /evidence and signed /evidence, in bytes
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
. "$here/lib.sh"
cd "$CMX_ROOT" || exit 1
ROUNDS=${CMX_ROUNDS:-5}
build build
bin=$CMX_ROOT/build/bin
tmp=$(mktemp -d)
pid=''
trap '[ -n "$pid" ] && kill "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT
cc -O2 -D_GNU_SOURCE -o "$tmp/bare" bench/attest_bare.c -lcrypto || exit 1
openssl rand -out "$tmp/private_key.bin" 32
chmod 600 "$tmp/private_key.bin"

least() { sort -n | head -n 1; }
# keep NAME A B: adds A divided by B to the rounds of NAME.
keep() { ratio "$2" "$3" >>"$tmp/$1"; }
# took COMMAND...: prints the shortest of 25 runs of a process, in microseconds.
took() {
    local i a b
    for i in $(seq 25); do
        a=$(date +%s%N); "$@" >/dev/null || exit 1; b=$(date +%s%N)
        echo $(((b - a) / 1000))
    done | least
}
asked() { # asked TARGET: prints the shortest time of 30 requests by curl over one connection, in microseconds
    local i urls=()
    for i in $(seq 30); do urls+=(-o /dev/null "http://127.0.0.1:$port$1"); done
    curl -sf -w '%{time_total}\n' "${urls[@]}" | awk '{ print int($1 * 1000000) }' | least
}
serve() { # serve FLASH: stops the running attest_board, if any, and starts one with this flash
    [ -n "$pid" ] && { kill "$pid"; wait "$pid" 2>/dev/null; }
    port=$((20000 + RANDOM % 10000))
    "$bin/attest_board" "$1" "$port" --keyfile "$tmp/private_key.bin" >"$tmp/board.out" &
    pid=$!
    for _ in $(seq 100); do grep -q listening "$tmp/board.out" && return; sleep 0.05; done
    die "attest_board does not start"
}

head -c $((4 << 20)) /dev/urandom >"$tmp/full.bin"
tail -c +65537 "$tmp/full.bin" >"$tmp/firmware.bin"
{ head -c $((65536 + 1258291)) /dev/urandom; head -c $(((4 << 20) - 65536 - 1258291)) /dev/zero | tr '\0' '\377'; } >"$tmp/typical.bin"
cd "$tmp" || exit 1

serve full.bin
for _ in $(seq "$ROUNDS"); do
    bare=$("$tmp/bare" 200 private_key.bin firmware.bin)
    copied=$("$tmp/bare" 200 private_key.bin firmware.bin copy)
    digest=$("$tmp/bare" 200 private_key.bin firmware.bin sha256)
    hash=$(asked "/hash?challenge=string_to_use_as_challenge")
    evidence=$(asked "/evidence?nonce=0011223344556677")
    printf '# bare HMAC work %s us, with a copy %s us, bare SHA-256 %s us; /hash %s us, /evidence %s us (random flash)\n' "$bare" "$copied" "$digest" "$hash" "$evidence"
    keep hash "$hash" "$bare"; keep over_copy "$hash" "$copied"; keep evidence "$evidence" "$hash"; keep bound "$digest" "$hash"
done
figure_of attest_hash_ratio hash '<=' 1.1
note_of attest_hash_over_copy over_copy
figure_of attest_evidence_ratio evidence '<=' 0.7
note_of attest_evidence_ratio_lower_bound bound # time of the bare SHA-256 divided by that of /hash
serve typical.bin
for _ in $(seq "$ROUNDS"); do
    hash=$(asked "/hash?challenge=string_to_use_as_challenge")
    evidence=$(asked "/evidence?nonce=0011223344556677")
    signed=$(asked "/evidence?nonce=0011223344556677&alg=ES256")
    printf '# /hash %s us, /evidence %s us, signed %s us (1.2 MB of application, the rest erased)\n' "$hash" "$evidence" "$signed"
    keep typical "$evidence" "$hash"
done
figure_of attest_evidence_ratio_typical typical '<=' 0.7
kill "$pid"; wait "$pid" 2>/dev/null; pid=''
heap=$(sed -n 's/heap //p' board.out)

for _ in $(seq "$ROUNDS"); do
    process=$(took "$tmp/bare" 1 private_key.bin firmware.bin)
    process_start=$(took "$tmp/bare" 0 private_key.bin firmware.bin)
    c=$(took "$bin/cmxsafe" attest --compute --challenge string_to_use_as_challenge)
    c_start=$(took "$bin/cmxsafe" version)
    python=$(took python3 "$CMX_ROOT/remote_attestation.py" string_to_use_as_challenge)
    printf '# processes: bare %s us (start %s), cmxsafe %s us (start %s), Python %s us\n' "$process" "$process_start" "$c" "$c_start" "$python"
    keep cli $((c - c_start)) $((process - process_start)); keep python "$python" "$c"
done
figure_of attest_cli_ratio cli '<=' 1.1
figure_of attest_cli_vs_python python '>=' 5
figure attest_heap "$heap" '<=' 8192
CMX_BIN=$bin bash "$CMX_ROOT/bench/attest_meanwhile.sh" 250 >slow || die "attest_meanwhile.sh fails"
CMX_BIN=$bin bash "$CMX_ROOT/bench/attest_meanwhile.sh" 0 >fast || die "attest_meanwhile.sh fails"
figure_of attest_bulk_meanwhile slow '>=' 0.9
note_of attest_bulk_meanwhile_fast_flash fast
