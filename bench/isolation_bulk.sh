#!/usr/bin/env bash
# isolation_bulk.sh FOLDER ROUNDS WHICH - measures the bytes per second through a proxy, alternately with and without
# isolation, for the agent (nftables) and a device on lwIP; WHICH: agent, board or 'agent board'. After isolation is switched on
# or off, the first transfer is not counted; the rate is the median of the next three. Writes lines `with RATE CPU` and
# `without RATE CPU` to FOLDER/isolation_{agent,board}_bulk_ratio; CPU: the device's processor time in nanoseconds per
# kilobyte, which other programs on the machine affect less than the rate.
out=$1 rounds=$((2 * $2 + 1)) which=$3 # many rounds: single pairs vary by a fifth, and the ratio is close to one
. "$(dirname "$0")/../tests/e2e/lib.sh"
. "$(dirname "$0")/../tests/e2e/isolation_lib.sh"
. "$(dirname "$0")/../tests/e2e/agent_lib.sh"
make_link
SSHD_PORT=22 SSHD_ADDRESS=$G4 SSHD_PREFIX="ip netns exec $NS-gw"
start_sshd </dev/null
wait_for 10 in_ns gw bash -c "ss -Hltn 'sport = :22' | grep -q ." || fail "sshd does not listen"
bulk() { in_ns gw curl -s -o /dev/null -m 120 -w '%{size_download} %{speed_download}\n' http://localhost:9081/bulk; }

cpu_of() { # cpu_of PID...: prints the nanoseconds of processor time that all threads have used
    local p f ns sum=0
    for p in "$@"; do
        for f in /proc/"$p"/task/*/schedstat; do
            read -r ns _ <"$f" 2>/dev/null && sum=$((sum + ns))
        done
    done
    echo "$sum"
}

measure() { # measure with|without PID...: measures three transfers, and the processor time of these processes
    local how=$1 before bytes=0 n rates=() size speed
    shift
    bulk >/dev/null # the first transfer warms up
    before=$(cpu_of "$@")
    for n in 1 2 3; do
        read -r size speed < <(bulk)
        bytes=$((bytes + size)) rates[n]=$speed
    done
    [ "$bytes" -gt 0 ] || fail "nothing is transferred $how isolation"
    echo "$how $(printf '%s\n' "${rates[@]}" | sort -n | sed -n 2p) $((($(cpu_of "$@") - before) * 1000 / bytes))"
}

measure_agent() {
    new_host dev $D4 $D6
    mkdir "$TMP/www"
    head -c 200000000 /dev/zero >"$TMP/www/bulk"
    bg dev python3 -m http.server -d "$TMP/www" --bind 127.0.0.1 8081 >/dev/null 2>&1
    SERVICE=$!
    { gateway_section | sed "s/^host = .*/host = $G4/"; reverse web 8081 9081; echo 'high_bw = yes'; } >"$CONF"
    bg dev "$BIN/cmxsafed" -c "$CONF" 2>>"$AGENT_LOG"
    AGENT=$!
    wait_up
    wait_for 30 in_ns gw curl -sf -o /dev/null http://localhost:9081/ || fail "the service does not answer"
    for _ in $(seq "$rounds"); do
        measure without "$AGENT" "$SERVICE"
        in_ns dev "$BIN/cmxsafed" isolation -c "$CONF" --apply || fail "--apply"
        measure with "$AGENT" "$SERVICE"
        in_ns dev "$BIN/cmxsafed" isolation --remove || fail "--remove"
    done >"$out/isolation_agent_bulk_ratio"
    stop "$AGENT"
    ip netns del "$NS-dev"
    in_ns gw ip neigh flush dev eth0 # the next device has another hardware address
}

# The devices run one after the other, because two at the same time would share the processors. A device runs on one
# processor, like a chip, and all other programs run on the rest. On several processors, how often lwIP's threads wait for
# each other would depend on the processors' speed.
measure_board() {
    local alone=() last=$(($(nproc) - 1)) p
    if [ "$last" -gt 0 ]; then
        alone=(taskset -c 0)
        for p in $$ "$SSHD_PID"; do taskset -cp "1-$last" "$p" >/dev/null || fail "taskset"; done
    fi
    ip -n "$NS-sw" tuntap add tap0 mode tap
    ip -n "$NS-sw" link set tap0 master br0 up
    is_up() { [ "$(in_ns gw curl -s -m 5 http://localhost:9081/)" = hello ]; }
    for _ in $(seq "$rounds"); do
        for how in open ''; do
            mkfifo "$TMP/in"
            exec 9<>"$TMP/in"
            # shellcheck disable=SC2086
            ip netns exec "$NS-sw" "${alone[@]+"${alone[@]}"}" "$BIN/isolation_board" tap0 $G4 22 "$SSHD_USER" "$KEY" "$PIN" $G4 $how <&9 >/dev/null 2>>"$TMP/device.log" &
            device=$! PIDS+=($!)
            wait_for 60 is_up || fail "the device does not come up"
            [ "$how" = open ] && measure without "$device" || measure with "$device"
            echo quit >&9
            exec 9>&-
            wait "$device"
            rm "$TMP/in"
        done
    done >"$out/isolation_board_bulk_ratio"
}

for device in $which; do "measure_$device"; done
