#!/usr/bin/env bash
# Measures what bulk data costs, compared with libssh alone (bench/libssh_floor.c) and with ssh -R. callgrind counts
# user-mode instructions per kilobyte; the load of the machine does not affect this count. strace counts system calls
# per megabyte. Also measures processor time per GB, user and system. Prints `name value aim ok|short [rounds]`, and
# lines that begin with # for the functions that cost most.
#
# As root it also measures one connection over a link with a round-trip time of 20 ms, where the channel window limits the rate;
# CMX_RTT=0 leaves this out.
#
# Environment variables, with their defaults:
#   CMX_PEERS="floor floor_16k ours ours_high device ssh"   what is compared
#   CMX_CIPHERS=aes128-gcm@openssh.com
#   CMX_MB=32      megabytes that are sent for each count
#   CMX_ROUNDS=3   measurements of each value; the 20 ms link is measured CMX_ROUNDS + 2 times
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
. "$here/lib.sh"
cd "$CMX_ROOT" || exit 1
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" valgrind strace
build build
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=$CMX_ROOT/build/bin
. "$here/../tests/e2e/lib.sh"
MB=${CMX_MB:-32} ROUNDS=${CMX_ROUNDS:-3} CIPHERS=${CMX_CIPHERS-aes128-gcm@openssh.com}
PORT=$(free_port) SERVICE=$(free_port)
start_sshd </dev/null
"$BIN/loadgen" serve "$SERVICE" & PIDS+=($!)
wait_for 20 listening "$SERVICE" || fail "the service does not listen"
cc -O2 -D_GNU_SOURCE -Wno-deprecated-declarations -o "$TMP/floor" bench/libssh_floor.c -lssh || fail "bench/libssh_floor.c"
cc -O2 -D_GNU_SOURCE -DCMX_DEVICE_PROFILE -Isrc -I. $(pkg-config --cflags libssh) -o "$TMP/device" tests/tools/proxy_run.c src/cmxsafe/proxy/*.c \
    build/libcmxsafe_linux.a $(pkg-config --libs libssh libcrypto) -lpthread || fail "the device profile does not compile"
free_of() { ! listening "$PORT"; }
bulk() { timeout 600 "$BIN/loadgen" bulk "$PORT" "$1" $(($2 << 20)) 1 >/dev/null || fail "bulk over $peer"; }

# begin PEER CIPHER [PREFIX...]: starts a peer, with the words of PREFIX before its command, and sets RUN to its
# process. PEER: floor (64 KB per write), floor_16k, ours, ours_high, device (with the buffer sizes of a
# microcontroller) or ssh.
begin() {
    local cipher=$2
    peer=$1
    shift 2
    case $peer in
        floor) "$@" "$TMP/floor" 127.0.0.1 "$SSHD_PORT" "$SSHD_USER" "$KEY" "$PORT" "$cipher" 65536 2>>"$TMP/floor.log" & ;;
        floor_16k) "$@" "$TMP/floor" 127.0.0.1 "$SSHD_PORT" "$SSHD_USER" "$KEY" "$PORT" "$cipher" 16384 2>>"$TMP/floor.log" & ;;
        ssh) "$@" ssh -N -F none -i "$KEY" -p "$SSHD_PORT" -c "$cipher" -o StrictHostKeyChecking=no -o UserKnownHostsFile="$TMP/known" \
            -o LogLevel=ERROR -R "localhost:$PORT:127.0.0.1:$SERVICE" "$SSHD_USER@127.0.0.1" 2>>"$TMP/ssh.log" & ;;
        ours) "$@" "$BIN/proxy_run" 127.0.0.1 "$SSHD_PORT" "$SSHD_USER" "$KEY" "$PIN" "ciphers=$cipher" -- "b,$SERVICE,$PORT" \
            <"$TMP/open" >/dev/null 2>>"$TMP/proxy.log" & ;;
        device) "$@" "$TMP/device" 127.0.0.1 "$SSHD_PORT" "$SSHD_USER" "$KEY" "$PIN" "ciphers=$cipher" -- "b,$SERVICE,$PORT" \
            <"$TMP/open" >/dev/null 2>>"$TMP/proxy.log" & ;;
        ours_high) "$@" "$BIN/proxy_run" 127.0.0.1 "$SSHD_PORT" "$SSHD_USER" "$KEY" "$PIN" "ciphers=$cipher" -- "b,$SERVICE,$PORT,high=1" \
            <"$TMP/open" >/dev/null 2>>"$TMP/proxy.log" & ;;
    esac
    RUN=$!
    PIDS+=("$RUN")
    wait_for 60 listening "$PORT" || fail "$peer does not listen"
}
end() { kill "$RUN"; wait "$RUN" 2>/dev/null; wait_for 60 free_of || fail "$peer still listens"; }
# Prints the self cost of each function in a callgrind file, except the functions that were already running when
# counting began. callgrind counts one instruction for each byte of a `rep movsb` or `rep stosb`, which memcpy and
# memset use. The instructions per KB of memcpy and memset, divided by 1,024, are therefore how many times each byte is
# copied or wiped.
SELF_COST='
    function name_of(text,   id) { id = text; sub(/\).*/, ")", id); sub(/^[^)]*\) ?/, "", text); if (text != "") names[id] = text; return id }
    /^c?ob=/ { id = name_of("o" substr($0, index($0, "=") + 1)); if ($0 ~ /^ob/) object = id }
    /^c?fn=/ { id = name_of(substr($0, index($0, "=") + 1)); if ($0 ~ /^fn/) current = id }
    /^calls=/ { getline; next }
    /^[0-9+*-]/ { self[object, current] += $2 }
    /^summary:/ { total = $2 }
    END {
        for (k in self) { split(k, part, SUBSEP); o = names[part[1]]; sub(/.*\//, "", o); f = names[part[2]]
            if (f !~ /^(clone|__libc_start|main$)/) printf "%.1f%% %s of %s\n", 100 * self[k] / total, f, o }
    }'
mkfifo "$TMP/open"
exec {OPEN}<>"$TMP/open" # proxy_run's standard input, held open so that proxy_run does not end

for cipher in $CIPHERS; do
    short=${cipher%%[-0-9@]*}
    for peer in ${CMX_PEERS:-floor floor_16k ours ours_high device ssh}; do
        for way in up down; do
            direction=from; [ $way = up ] || direction=to
            out=$TMP/cg.$peer.$way
            : >"$TMP/instructions"; : >"$TMP/cpu"; : >"$TMP/count"
            begin $peer "$cipher" valgrind -q --tool=callgrind --callgrind-out-file="$out" --log-file="$TMP/valgrind.log"
            bulk $direction 2
            callgrind_control -d "$RUN" >/dev/null 2>&1 || fail "callgrind_control"
            for round in $(seq "$ROUNDS"); do
                bulk $direction "$MB"
                callgrind_control -d "$RUN" >/dev/null 2>&1 || fail "callgrind_control"
                wait_for 60 test -s "$out.$((round + 1))" || fail "no counts of $peer"
            done
            end
            for round in $(seq "$ROUNDS"); do
                awk -v mb="$MB" '/^(totals|summary):/ { n = $2 } END { printf "%.0f\n", n / mb / 1024 }' "$out.$((round + 1))" >>"$TMP/instructions"
            done
            note_of "floor_${short}_${way}_${peer}_instructions_per_kb" "$TMP/instructions"
            awk "$SELF_COST" "$out.2" | sort -rn | head -n 4 | sed "s/^/# $peer $way /"

            begin $peer "$cipher"
            bulk $direction 8
            for round in $(seq "$ROUNDS"); do
                c=$(cpu_us "$RUN")
                bulk $direction $((MB * 8))
                awk -v c=$(($(cpu_us "$RUN") - c)) -v mb="$MB" 'BEGIN { printf "%.2f\n", c / 1e6 / (mb / 128) }' >>"$TMP/cpu"
            done
            note_of "floor_${short}_${way}_${peer}_cpu_s_per_gb" "$TMP/cpu"
            for round in $(seq "$ROUNDS"); do
                strace -f -c -p "$RUN" -o "$TMP/calls" 2>/dev/null & tracer=$!
                sleep 0.5
                bulk $direction "$MB"
                kill -INT "$tracer"; wait "$tracer"
                awk -v mb="$MB" '$NF == "total" { printf "%.0f\n", $4 / mb }' "$TMP/calls" >>"$TMP/count"
            done
            note_of "floor_${short}_${way}_${peer}_calls_per_mb" "$TMP/count"
            end
            awk '$4 ~ /^[0-9]+$/ && $4 > 50 { printf " %s %s", $NF, $4 } END { print "" }' "$TMP/calls" | sed "s/^/# $peer $way calls:/"
        done
    done
done

[ "$(id -u)" = 0 ] && [ "${CMX_RTT:-1}" = 1 ] && ip netns add "cmxg$$" 2>/dev/null || exit 0
CLEANUP+=("ip netns del cmxg$$; ip netns del cmxd$$")
ip netns add "cmxd$$" || fail "network namespace"
python3 tests/e2e/netem.py "cmxg$$" t0 "cmxd$$" t0 10 0 >"$TMP/netem.out" 2>"$TMP/netem.log" & PIDS+=($!)
wait_for 10 grep -q ready "$TMP/netem.out" || fail "the slow wire"
ip -n "cmxg$$" addr add 192.0.2.1/24 dev t0; ip -n "cmxd$$" addr add 192.0.2.2/24 dev t0
for side in g d; do ip -n "cmx$side$$" link set lo up; ip -n "cmx$side$$" link set t0 up; done
at() { local side=$1; shift; ip netns exec "cmx$side$$" "$@"; }
SSHD_PORT=2222 SSHD_ADDRESS=192.0.2.1 SSHD_PREFIX="ip netns exec cmxg$$" start_sshd </dev/null
at d "$BIN/loadgen" serve 7000 & PIDS+=($!)
at d "$TMP/floor" 192.0.2.1 2222 "$SSHD_USER" "$KEY" 7001 aes128-gcm@openssh.com 65536 2>>"$TMP/floor.log" & PIDS+=($!)
at d "$BIN/proxy_run" 192.0.2.1 2222 "$SSHD_USER" "$KEY" "$PIN" -- "b,7000,7002" <"$TMP/open" >/dev/null 2>>"$TMP/proxy.log" & PIDS+=($!)
at d ssh -N -F none -i "$KEY" -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile="$TMP/known" -o LogLevel=ERROR \
    -R localhost:7003:127.0.0.1:7000 "$SSHD_USER@192.0.2.1" & PIDS+=($!)
for port in 7001 7002 7003; do wait_for 60 eval "at g ss -Hltn 'sport = :$port' | grep -q ." || fail "no listener at $port"; done
for round in $(seq $((ROUNDS + 2))); do
    for way in to from; do
        for port in 7001 7002 7003; do at g timeout 120 "$BIN/loadgen" bulk "$port" "$way" $((24 << 20)) 1 >>"$TMP/$way.$port" || fail "bulk"; done
    done
done
for way in to from; do
    i=7001
    for peer in floor ours ssh; do note_of "floor_rtt20_${way}_device_${peer}_mb_per_s" "$TMP/$way.$i"; i=$((i + 1)); done
done
exit 0
