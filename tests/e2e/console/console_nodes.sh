#!/usr/bin/env bash
# Tests the console of one of two gateways with a shared registry: it shows the other gateway and its devices, and a map
# that groups the devices by gateway. Then the other gateway ends.
. "$(dirname "$0")/../nodes_lib.sh"
. "$(dirname "$0")/../console_lib.sh"
need_console npm
fleet_of 1 2
key a; key b
{
    echo name,key,ports,group
    python3 - <<'PY'
import base64, hashlib, struct
for i in range(40):
    blob = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + hashlib.sha256(b"%d" % i).digest()
    print(f"spare-{i},ssh-ed25519 {base64.b64encode(blob).decode()},81,spare")
PY
} >"$TMP/spare.csv"
gwn 1 enroll cam-1 --key "$TMP/a.pub" --ports 81 --group cameras >/dev/null && gwn 1 enroll cam-2 --key "$TMP/b.pub" --ports 81 --group cameras >/dev/null &&
    gwn 1 import "$TMP/spare.csv" >/dev/null && gwn 1 grant user:root cam-1:81 >/dev/null && gwn 1 grant user:root cam-2:81 >/dev/null || fail "enroll"
web one
A1=$(gwn 1 show cam-1 --json | jq -r .device.address) A2=$(gwn 1 show cam-2 --json | jq -r .device.address)
client_at 1 a -N -R "[$A1]:81:127.0.0.1:$WEB" & PIDS+=("$!")
client_at 2 b -N -R "[$A2]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 30 connected_at 1 cam-1 && wait_for 30 connected_at 2 cam-2 || fail "the devices do not connect"
at_node() { [ "$(gwn 1 list --json | jq -r --arg n "$1" '.[] | select(.name == $n) | .node')" = "$2" ]; }
wait_for 30 at_node cam-2 gw2 && wait_for 30 at_node cam-1 gw1 && at_node spare-1 "" || fail "list --json does not name the gateways: $(gwn 1 list --json | jq -c '.[] | [.name, .node]' | head)"
[ "$(gwn 1 show cam-2 --json | jq -r .device.node)" = gw2 ] || fail "show --json does not name the gateway"
metric() { gwn 1 metrics | grep -qxF "$1"; }
for row in 'cmxsafe_node_sessions{node="gw2"} 1' 'cmxsafe_device_up{name="cam-2"} 1'; do
    wait_for 20 metric "$row" || fail "no $row in $(gwn 1 metrics | grep -E '_node_|cam-2')"
done
[ "$(gwn 1 metrics | grep -c '^cmxsafe_node_last_seen_timestamp_seconds{node="gw[12]"} [1-9]')" = 2 ] || fail "the metrics do not say when each gateway was last seen"
# An update key belongs to the whole fleet, but each gateway has its own images.
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$TMP/k.pem" 2>/dev/null
"$BIN/cmxsafe" image key --key "$TMP/k.pem" | gwn 1 image key - >/dev/null || fail "image key"
same_key() { equal "$(gwn 1 image key)" "$(gwn 2 image key)"; }
wait_for 30 same_key || fail "the other gateway does not know the update key"
ok "two gateways, each with a device"

COCKPIT_AS="on 1" COCKPIT_ADDRESS=10.9.1.1 start_cockpit
echo "$CGROUP/node2/cgroup.kill" >"$TMP/node2.kill" # ends every process of that gateway
test_page nodes
