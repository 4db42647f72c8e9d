#!/usr/bin/env bash
# Measures three gateways with real BIRD and real devices (cmxsafed), each gateway in network namespaces of its own. One
# figure is the time from the death of a gateway until a platform that is connected to another gateway reaches every
# device of the fleet again (three rounds). The other is the rate of a stream from a device to a platform on another
# gateway, divided by the rate with device and platform on the same gateway. The links between the gateways are not
# encrypted, so that the figures do not include the cost of encryption. bench/gateway_nodes.sh runs it. CMX_DEVICES:
# the number of devices (300). CMX_BULK_MB: megabytes per stream (200). Needs root. It takes about four minutes.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=${CMX_BIN:-$CMX_ROOT/build/bin}
NEED_PYTHON=asyncssh==2.24.1
. "$here/../tests/e2e/nodes_lib.sh"
. "$here/lib.sh"
DEVICES=${CMX_DEVICES:-300} BULK=$((${CMX_BULK_MB:-200} * 1000000))
ulimit -n "$(ulimit -Hn)"
now_ms() { date +%s%3N; }

# The interface plain0 of each gateway is connected to one bridge, plain.
ip link add plain type bridge && ip link set plain up || fail "no bridge"
cable() {
    local n
    for n in "$1" "$2"; do
        [ ! -e "$TMP/plain$n" ] || continue
        touch "$TMP/plain$n"
        ip link add "plain$n" type veth peer name plain0 netns "/proc/${NODE_PID[$n]}/ns/net" && ip link set "plain$n" master plain up &&
            on "$n" ip address add "10.9.0.$n/24" dev plain0 && on "$n" ip link set plain0 up || fail "no cable"
    done
}
JOIN_OPTIONS="--interface plain0"
fleet_of 1 2 3

fleet_python
"$FLEET_PYTHON" "$ROOT/tests/tools/gateway_fleet.py" keys "$DEVICES" "$TMP/fleet.csv" "$TMP/fleet" || fail "keys"
gwn 1 import "$TMP/fleet.csv" >/dev/null || fail "import"
key p1; key p2; key bulk
gwn 1 enroll bulk --key "$TMP/bulk.pub" --ports 81 >/dev/null || fail "enroll"
for n in 1 2; do
    gwn 1 platform "vms$n" --key "$TMP/p$n.pub" >/dev/null && gwn 1 grant "vms$n" @fleet:81 >/dev/null && gwn 1 grant "vms$n" bulk:81 >/dev/null || fail "platform"
done
gwn 1 list --json | jq -r '.[] | select(.group == "fleet") | .name + " " + .address' >"$TMP/addresses"
V=$(gwn 1 whois vms1 --json | jq -r .address)
BULK_ADDRESS=$(gwn 1 show bulk --json | jq -r .device.address)
PIN=$(ssh-keygen -lf /var/lib/node1/gateway/hostkey_ed25519.pub | cut -d' ' -f2)
web one
STREAMS=$(free_port)
python3 "$ROOT/tests/e2e/service.py" "$STREAMS" 2>"$TMP/service.log" & PIDS+=("$!")

# ---- bulk ----
client_at 2 bulk -N -R "[$BULK_ADDRESS]:81:127.0.0.1:$STREAMS" & PIDS+=("$!")
wait_for 60 connected_at 2 bulk && wait_for 20 route_is 1 "$BULK_ADDRESS" 2 || fail "the device does not connect"
# bulk_ms N: prints how many milliseconds a stream from the device to a platform at node N takes.
bulk_ms() {
    local begin got
    begin=$(now_ms)
    got=$(printf 'G%-16d' "$BULK" | TMP=$TMP GW_PORT=$GW_PORT timeout 300 bash -c "$(declare -f client_at); client_at \"\$@\"" - "$1" "p$1" -W "[$BULK_ADDRESS]:81" 2>/dev/null | wc -c)
    [ "$got" = "$BULK" ] || fail "node $1: $got bytes of $BULK"
    echo "$(($(now_ms) - begin))"
}
reaches_bulk() { printf 'Ex' | TMP=$TMP GW_PORT=$GW_PORT timeout 20 bash -c "$(declare -f client_at); client_at \"\$@\"" - "$1" "p$1" -W "[$BULK_ADDRESS]:81" 2>/dev/null | grep -q x; }
for n in 1 2; do wait_for 30 reaches_bulk $n || fail "node $n does not reach the device"; done
: >"$TMP/ratios"
for round in 1 2 3 4 5; do
    if [ $((round % 2)) = 1 ]; then far=$(bulk_ms 1) near=$(bulk_ms 2); else near=$(bulk_ms 2) far=$(bulk_ms 1); fi
    ratio "$near" "$far" >>"$TMP/ratios"
    echo $((BULK / 1000 / near)) >>"$TMP/mb_per_s"
done
note_of nodes_bulk_mb_per_s "$TMP/mb_per_s"
figure_of nodes_bulk_far_over_near "$TMP/ratios" ">=" 0.9

# ---- a gateway is killed ----
# The platform logs in before the devices, whose logins take all processors for a while.
client_at 1 p1 -N -L "127.0.0.1:$(free_port):[$BULK_ADDRESS]:81" & PIDS+=("$!")
wait_for 60 connected_at 1 vms1 || fail "vms1 does not connect"
mkdir "$TMP/agents"
chmod 600 "$TMP"/fleet/*
while read -r name address; do
    cat >"$TMP/agents/$name.conf" <<CONF
[agent]
control_socket = $TMP/agents/$name.sock
[gateway]
host = 10.9.1.1:$GW_PORT, 10.9.1.2:$GW_PORT, 10.9.1.3:$GW_PORT
user = cmxsafe-gw
host_key = $PIN
key_file = $TMP/fleet/$name
[context web]
local_port = $WEB
remote_port = 81
remote_address = $address
CONF
    "$CMX_BIN/cmxsafed" -c "$TMP/agents/$name.conf" 2>>"$TMP/agents.log" & PIDS+=("$!")
done <"$TMP/addresses"
# reach FILE SECONDS: connects from node 1, with the platform's identity, to each device in FILE (lines "name address")
# until the device answers or SECONDS have passed. Prints how many devices answered, and after how many seconds the last
# of them answered.
cat >"$TMP/reach.py" <<'PY'
import asyncio, sys, time
source, path, limit = sys.argv[1], sys.argv[2], float(sys.argv[3])
begin = time.monotonic()
async def one(address):
    while time.monotonic() - begin < limit:
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, 81, local_addr=(source, 0)), 1)
            try:
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                if await asyncio.wait_for(reader.read(4), 3) == b"HTTP":
                    return time.monotonic() - begin
            finally:
                writer.close()
        except (OSError, asyncio.TimeoutError):
            pass
        await asyncio.sleep(0.2)
async def main():
    times = await asyncio.gather(*(one(line.split()[1]) for line in open(path)))
    times = [t for t in times if t is not None]
    print(len(times), "%.2f" % max(times, default=0))
asyncio.run(main())
PY
reach() { on 1 ip netns exec cmxsafe "$FLEET_PYTHON" "$TMP/reach.py" "$V" "$1" "$2"; }
read -r n at < <(reach "$TMP/addresses" 300)
[ "$n" = "$DEVICES" ] || fail "$n of $DEVICES devices are reachable: $(tail -n 3 "$TMP/agents.log")"
note nodes_devices_up_s "$at"
# Kills a gateway in each round; its devices move to the other two. Node 1 has the platform and is never killed.
: >"$TMP/killed"
: >"$TMP/moved"
for n in 3 2 3; do
    devices_at() { gwn "$1" status --here --json | jq '[.sessions[].name | select(startswith("dev-"))] | unique | length'; }
    moved=$(devices_at $n)
    [ "$moved" -gt 0 ] || fail "no device is at node $n"
    echo "$moved" >>"$TMP/moved"
    sleep 15 # a session counts as working after 10 s (CMX_SESSION_PROVEN_MS); a device that loses it earlier waits longer
    echo 1 >"$CGROUP/node$n/cgroup.kill" # kills all processes of the node, including its sessions and BIRD
    read -r got at < <(reach "$TMP/addresses" 120)
    [ "$got" = "$DEVICES" ] || fail "$got of $DEVICES devices are reachable after node $n was killed"
    echo "$at" >>"$TMP/killed"
    wait "${SERVE_PID[$n]}" "${BIRD_PID[$n]}" 2>/dev/null
    serve_node $n
    for m in 1 2 3; do wait_for 60 neighbours $m 2 || fail "node $m is not linked after node $n is back"; done
done
note_of nodes_devices_of_the_killed "$TMP/moved"
figure nodes_killed_last_device_s "$(sort -g "$TMP/killed" | tail -n 1)" "<=" 15 "$(paste -sd, "$TMP/killed")"
