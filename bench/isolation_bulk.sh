#!/usr/bin/env bash
# isolation_bulk.sh FOLDER ROUNDS - bytes a second through a proxy, with and without isolation in turns, for the agent
# (nftables) and a device on lwIP. Writes lines `with RATE` and `without RATE` to FOLDER/isolation_{agent,board}_bulk_ratio.
out=$1 rounds=$2
. "$(dirname "$0")/../tests/e2e/lib.sh"
. "$(dirname "$0")/../tests/e2e/isolation_lib.sh"
. "$(dirname "$0")/../tests/e2e/agent_lib.sh"
make_link
SSHD_PORT=22 SSHD_ADDRESS=$G4 SSHD_PREFIX="ip netns exec $NS-gw"
start_sshd </dev/null
wait_for 10 in_ns gw bash -c "ss -Hltn 'sport = :22' | grep -q ." || fail "sshd does not listen"
rate() { in_ns gw curl -s -o /dev/null -m 120 -w '%{speed_download}\n' "http://localhost:9081/$1"; }

new_host dev $D4 $D6
mkdir "$TMP/www"
head -c 200000000 /dev/zero >"$TMP/www/bulk"
bg dev python3 -m http.server -d "$TMP/www" --bind 127.0.0.1 8081 >/dev/null 2>&1
{ gateway_section | sed "s/^host = .*/host = $G4/"; reverse web 8081 9081; echo 'high_bw = yes'; } >"$CONF"
bg dev "$BIN/cmxsafed" -c "$CONF" 2>>"$AGENT_LOG"
AGENT=$!
wait_up
wait_for 30 in_ns gw curl -sf -o /dev/null http://localhost:9081/ || fail "the service does not answer"
rate bulk >/dev/null # the first one warms up
for _ in $(seq "$rounds"); do
    echo "without $(rate bulk)"
    in_ns dev "$BIN/cmxsafed" isolation -c "$CONF" --apply || fail "--apply"
    echo "with $(rate bulk)"
    in_ns dev "$BIN/cmxsafed" isolation --remove || fail "--remove"
done >"$out/isolation_agent_bulk_ratio"
stop "$AGENT"
ip netns del "$NS-dev"
in_ns gw ip neigh flush dev eth0 # the next device has another hardware address

ip -n "$NS-sw" tuntap add tap0 mode tap
ip -n "$NS-sw" link set tap0 master br0 up
is_up() { [ "$(in_ns gw curl -s -m 5 http://localhost:9081/)" = hello ]; }
for _ in $(seq "$rounds"); do
    for how in open ''; do
        mkfifo "$TMP/in"
        exec 9<>"$TMP/in"
        ip netns exec "$NS-sw" "$BIN/isolation_board" tap0 $G4 22 "$SSHD_USER" "$KEY" "$PIN" $G4 $how <&9 >/dev/null 2>>"$TMP/device.log" &
        device=$! PIDS+=($!)
        wait_for 60 is_up || fail "the device does not come up"
        [ "$how" = open ] && echo "without $(rate bulk)" || echo "with $(rate bulk)"
        echo quit >&9
        exec 9>&-
        wait "$device"
        rm "$TMP/in"
    done
done >"$out/isolation_board_bulk_ratio"
