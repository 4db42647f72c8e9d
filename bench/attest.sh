#!/usr/bin/env bash
# Figures of attestation over 4 MB of flash, each against its peer in the same run. Each figure is the shortest of many
# runs, since the machine may be shared. Prints `name value aim ok|short`.
#
#   attest_hash_ratio          /hash on the board's service, over the bare HMAC work: the same messages and the same library
#   attest_cli_ratio           cmxsafe attest --compute over a program that does the bare work, without the time of starting
#   either
#   attest_cli_vs_python       remote_attestation.py over cmxsafe attest --compute, whole processes
#   attest_evidence_ratio      /evidence over /hash, flash without an erased chunk: the worst case
#                              (also prints the time of SHA-256 over the same bytes, the lower bound; docs/ATTESTATION.md, "What evidence costs")
#   attest_evidence_ratio_typical  the same, 1.2 MB of application and the rest erased
#   attest_bulk_meanwhile      bulk through the same SSH session during /hash requests without a pause, over bulk alone;
#   flash as slow as a
#                              chip's (4 KB in 250 us). Median of five pairs.
#   attest_heap                our allocations' peak during /hash, /evidence and signed /evidence, bytes
set -u
. "$(dirname "$0")/../scripts/lib.sh"
cd "$CMX_ROOT" || exit 1
build build
bin=$CMX_ROOT/build/bin
tmp=$(mktemp -d)
pid=''
trap '[ -n "$pid" ] && kill "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT
cc -O2 -D_GNU_SOURCE -o "$tmp/bare" bench/attest_bare.c -lcrypto || exit 1
openssl rand -out "$tmp/private_key.bin" 32
chmod 600 "$tmp/private_key.bin"
short=0

figure() { # figure NAME VALUE AIM COMPARISON ("<=" or ">=")
    local verdict=ok
    awk -v v="$2" -v a="$3" -v c="$4" 'BEGIN { exit !(c == "<=" ? v <= a : v >= a) }' || { verdict=short; short=1; }
    printf '%s %s %s%s %s\n' "$1" "$2" "$4" "$3" "$verdict"
}
least() { sort -n | head -n 1; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
# took COMMAND...: the shortest of 25 runs of a process, in microseconds.
took() {
    local i a b
    for i in $(seq 25); do
        a=$(date +%s%N); "$@" >/dev/null || exit 1; b=$(date +%s%N)
        echo $(((b - a) / 1000))
    done | least
}
asked() { # asked TARGET: shortest time of the request, in microseconds, by curl over one connection
    local i urls=()
    for i in $(seq 30); do urls+=(-o /dev/null "http://127.0.0.1:$port$1"); done
    curl -sf -w '%{time_total}\n' "${urls[@]}" | awk '{ print int($1 * 1000000) }' | least
}
serve() { # serve FLASH
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
bare=$("$tmp/bare" 200 private_key.bin firmware.bin)
hash=$(asked "/hash?challenge=string_to_use_as_challenge")
evidence=$(asked "/evidence?nonce=0011223344556677")
printf '# bare HMAC work %s us, /hash %s us, /evidence %s us (random flash)\n' "$bare" "$hash" "$evidence"
figure attest_hash_ratio "$(ratio "$hash" "$bare")" 1.1 '<='
figure attest_evidence_ratio "$(ratio "$evidence" "$hash")" 0.7 '<='
bare_digest=$("$tmp/bare" 200 private_key.bin firmware.bin sha256)
printf '# bare SHA-256 work %s us, %s of /hash and %s of the bare HMAC work: the lower bound of that ratio on random flash\n' "$bare_digest" "$(ratio "$bare_digest" "$hash")" "$(ratio "$bare_digest" "$bare")"
serve typical.bin
hash=$(asked "/hash?challenge=string_to_use_as_challenge")
evidence=$(asked "/evidence?nonce=0011223344556677")
signed=$(asked "/evidence?nonce=0011223344556677&alg=ES256")
printf '# /hash %s us, /evidence %s us, signed %s us (1.2 MB of application, the rest erased)\n' "$hash" "$evidence" "$signed"
figure attest_evidence_ratio_typical "$(ratio "$evidence" "$hash")" 0.7 '<='
kill "$pid"; wait "$pid" 2>/dev/null; pid=''
heap=$(sed -n 's/heap //p' board.out)

process=$(took "$tmp/bare" 1 private_key.bin firmware.bin)
process_start=$(took "$tmp/bare" 0 private_key.bin firmware.bin)
c=$(took "$bin/cmxsafe" attest --compute --challenge string_to_use_as_challenge)
c_start=$(took "$bin/cmxsafe" version)
python=$(took python3 "$CMX_ROOT/remote_attestation.py" string_to_use_as_challenge)
printf '# processes: bare %s us (start %s), cmxsafe %s us (start %s), Python %s us\n' "$process" "$process_start" "$c" "$c_start" "$python"
figure attest_cli_ratio "$(ratio $((c - c_start)) $((process - process_start)))" 1.1 '<='
figure attest_cli_vs_python "$(ratio "$python" "$c")" 5 '>='
figure attest_heap "$heap" 8192 '<='
slow=$(CMX_BIN=$bin bash "$CMX_ROOT/bench/attest_meanwhile.sh" 250) || die "attest_meanwhile.sh fails"
fast=$(CMX_BIN=$bin bash "$CMX_ROOT/bench/attest_meanwhile.sh" 0) || die "attest_meanwhile.sh fails"
printf '# bulk during /hash requests without a pause, over bulk alone: with slow flash as in a chip %s; with flash that takes no time %s\n' "$slow" "$fast"
figure attest_bulk_meanwhile "$slow" 0.9 '>='
exit $short
