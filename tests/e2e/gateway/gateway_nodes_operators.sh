#!/usr/bin/env bash
# Operators see the fleet as one gateway: status, access, metrics, attest and update on any node cover the devices of
# all nodes.
. "$(dirname "$0")/../../tools/ota_image.sh"
NEED_PYTHON=esptool==$ESPTOOL_VERSION
. "$(dirname "$0")/../nodes_lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
command -v curl >/dev/null || skip "curl is needed"
esptool_ready
cp "${CMX_BIN:-$ROOT/build/bin}"/{attest_board,cmxsafe-board} "$BIN/" || fail "cp"
fleet_of 1 2
key d; key p
make_flash $((1 << 20))
make_key
start_board --keyfile private_key.bin
gwn 1 enroll cam-1 --key "$TMP/d.pub" --ports 8888 >/dev/null && gwn 2 platform vms --key "$TMP/p.pub" >/dev/null && gwn 2 grant vms cam-1:8888 >/dev/null || fail "enroll"
A=$(gwn 1 show cam-1 --json | jq -r .device.address)
wait_for 20 gwn 1 whois vms || fail "node 1 does not know vms"
V=$(gwn 1 whois vms --json | jq -r .address)
client_at 2 d -N -R "[$A]:8888:127.0.0.1:$BOARD_PORT" & PIDS+=("$!")
client_at 1 p -N -L "127.0.0.1:$(free_port):[$A]:8888" & PIDS+=("$!")
wait_for 60 connected_at 2 cam-1 || fail "cam-1 does not connect"
wait_for 60 connected_at 1 vms || fail "vms does not connect"
wait_for 20 route_is 1 "$A" 2 || fail "no route to cam-1"
is_claimed() { [ "$(on 1 sqlite3 -cmd '.timeout 5000' /var/lib/node1/gateway/registry.db "SELECT node FROM claim WHERE address = '$1'")" = gw2 ]; }
wait_for 20 is_claimed "$A" || fail "node 1's copy does not know which gateway holds cam-1"

# ---- status ----
for n in 1 2; do
    gwn $n status --json >"$TMP/status.json" || fail "status fails at node $n"
    json_is '[.sessions[] | [.name, .gateway]] | sort == [["cam-1", "gw2"], ["vms", "gw1"]]' "$TMP/status.json" && json_is '.unanswered == []' "$TMP/status.json" ||
        fail "status at node $n does not list the sessions of all gateways: $(cat "$TMP/status.json")"
    gwn $n status >"$TMP/status.out" || fail "status"
    grep -q "^gw2  *cam-1 .*:8888" "$TMP/status.out" && grep -q "^gw1  *vms " "$TMP/status.out" && grep -q "^2 connected" "$TMP/status.out" || fail "status at node $n does not list the sessions of all gateways as text: $(cat "$TMP/status.out")"
done
gwn 1 status --here --json | json_is '[.sessions[].name] == ["vms"]' || fail "status --here shows sessions of other gateways"
ok "status at each gateway lists the sessions of all"

# An operator who follows the access log on one gateway sees the records of both. The output is appended to files,
# because the scenario later empties one of them.
for n in 1 2; do gwn $n access --follow --json >>"$TMP/followed$n" 2>>"$TMP/follow$n.err" & PIDS+=("$!"); done
gwn 1 access --follow --here --json >>"$TMP/followed-here" & PIDS+=("$!")
followed() { jq -s . "$TMP/followed$1" | json_is 'any(.[]; .gateway == $g and .event == $e and .consumer == $c)' --arg g "$2" --arg e "$3" --arg c "$4" >/dev/null; }

# ---- metrics ----
# The fleet's metrics are the same on each gateway. The metrics of a gateway count only its own sessions and bytes, so a
# sum over the gateways counts nothing twice.
metric() { gwn "$1" metrics | grep -qxF "cmxsafe_$2"; }
for n in 1 2; do
    for row in 'gateway_devices 1' 'gateway_grants 1' 'device_up{name="cam-1"} 1' 'device_verdict{name="cam-1",verdict="never"} 1'; do
        wait_for 20 metric $n "$row" || fail "node $n has no $row: $(gwn $n metrics | grep -v '^#')"
    done
    gwn $n metrics | grep -qE "^cmxsafe_gateway_info\{node=\"gw$n\",version=\"[0-9.]+\"\} 1$" || fail "node $n does not say its name"
    metric $n 'gateway_sessions 1' || fail "node $n counts other gateways' sessions"
done
carried() { [ "$(gwn "$1" metrics | sed -n 's/^cmxsafe_device_bytes_total{name="cam-1",direction="in"} //p')" -gt 0 ]; }
carried 2 && ! carried 1 || fail "the bytes of a session count at two gateways"
ok "metrics of the fleet are the same at each gateway, and those of a gateway are its own"

# ---- attest ----
attest() { gwn "$1" attest cam-1 -- --key "$TMP/private_key.bin" --image "$TMP/firmware.bin"; }
for n in 2 1; do attest $n >"$TMP/attest.out" 2>&1 && grep -q '^ok  *cam-1 ' "$TMP/attest.out" || fail "attest fails at node $n: $(cat "$TMP/attest.out")"; done
verdict() { metric "$1" 'device_verdict{name="cam-1",verdict="match"} 1'; }
for n in 1 2; do wait_for 20 verdict $n || fail "node $n does not know the verdict"; done
no_grants() { gwn "$1" grant --json | json_is 'map(.consumer) == ["platform:vms"]'; }
for n in 1 2; do wait_for 20 no_grants $n || fail "the operator's grant stays at node $n"; done
gwn 2 log cam-1 >"$TMP/log.out"
gwn 2 log | grep -q " grant  *user:root  *cam-1:8888 until .* because attest" && gwn 2 log | grep -q " ungrant  *user:root  *cam-1:8888" || fail "wrong audit trail: $(gwn 2 log)"
# During a quarantine an operator's command reaches the device. An ordinary grant does not count, not even root's
# standing grant.
NEXT="(SELECT revision FROM cmxsafe.registry)"
pg_sql shared "BEGIN; UPDATE cmxsafe.registry SET revision = revision + 1; INSERT INTO cmxsafe.policy(id, kind, target, max_age, enforce, revision)
    VALUES(1, 'device', 'cam-1', 3600, 1, $NEXT); NOTIFY cmxsafe; COMMIT" || fail "policy"
gwn 1 grant user:1234 cam-1:8888 >/dev/null && gwn 1 grant user:root cam-1:8888 --why standing >/dev/null || fail "grant"
quarantined() { gwn "$1" show cam-1 --json | json_is '.device.quarantined'; }
for n in 1 2; do wait_for 20 quarantined $n || fail "no quarantine at node $n: $(gwn $n show cam-1 --json)"; done
asks() { on "$1" setpriv --reuid "$2" --regid "$2" --clear-groups curl -s -m 5 -o /dev/null "http://[$A]:8888/"; }
! asks 1 1234 || fail "a user reaches a device in quarantine"
attest 1 >"$TMP/attest.out" 2>&1 || fail "attest does not reach a device in quarantine: $(cat "$TMP/attest.out")"
standing() { gwn "$1" grant --json | json_is 'map([.consumer, .ends, .break_glass, .why]) | sort == [["platform:vms", 0, false, ""], ["user:1234", 0, false, ""], ["user:root", 0, false, "standing"]]'; }
for n in 1 2; do wait_for 20 standing $n || fail "the former grants are not back at node $n: $(gwn $n grant --json)"; done
! asks 1 0 || fail "root's standing grant applies although the device is in quarantine"
ok "attest reaches devices at other gateways, by grants that end with the command"

# ---- access ----
seen() { gwn "$1" access --json --device cam-1 | jq -s . | json_is 'any(.[]; .consumer == "user:root" and .event == "close" and .port == 8888)' >/dev/null; }
refused() { asks 1 1234; gwn "$1" access --json --device cam-1 | jq -s . | json_is 'any(.[]; .consumer == "user:1234" and .event == "denied")' >/dev/null; }
for n in 1 2; do
    wait_for 20 seen $n || fail "access at node $n does not say who reached cam-1: $(gwn $n access)"
    wait_for 20 refused $n || fail "access at node $n does not say who was refused: $(gwn $n access)"
done
gwn 1 access --json | jq -s 'map(.at_ms)' | json_is '. == sort and length > 0' || fail "access is not in order"
! gwn 1 access --here --json | jq -s . | json_is 'any(.[]; .consumer == "user:root" and .event == "close")' >/dev/null || fail "access --here has another gateway's records"
gwn 1 access --json | jq -s 'map(.gateway)' | json_is 'unique == ["gw1", "gw2"]' || fail "access does not name the gateways"
ok "access at each gateway prints the records of all gateways in order"
for n in 1 2; do
    wait_for 20 followed $n gw2 open user:root || fail "access --follow at node $n does not print the open connection: $(cat "$TMP/followed$n" "$TMP/follow$n.err")"
    wait_for 20 followed $n gw2 close user:root || fail "access --follow at node $n: $(cat "$TMP/followed$n" "$TMP/follow$n.err")"
    wait_for 20 followed $n gw1 denied user:1234 || fail "access --follow at node $n does not say who was refused: $(cat "$TMP/followed$n")"
done
lacks '"gateway":' "$TMP/followed-here" || fail "access --follow --here has another gateway's records"
for here in "" --here; do
    rc=0
    # shellcheck disable=SC2086
    on 1 timeout 60 "$BIN/cmxsafe" gateway access --follow $here >/dev/full 2>"$TMP/full.err" || rc=$?
    [ $rc = 1 ] && grep -q "writing the output failed" "$TMP/full.err" || fail "access --follow $here does not report a full disk: exit status $rc: $(cat "$TMP/full.err")"
done
ok "access --follow at each gateway prints the records of all, and ends when they cannot be written"

# ---- the last hour ----
# Each gateway has one session. Without --here, each minute counts the sessions of both gateways.
minutes() { gwn "$1" status --traffic --json | json_is 'any(.minutes[]; .sessions == 2 and .bytes_in > 0) and .unanswered == [] and ([.parties[] | select(.name == "cam-1" or .name == "vms")] | length == 2 and all(.[]; .bytes_in > 0))' >/dev/null; }
for n in 1 2; do wait_for 100 minutes $n || fail "status --traffic at node $n lacks a session of the other gateway: $(gwn $n status --traffic --json)"; done
gwn 1 status --traffic | grep -qE '^20[0-9-]+ [0-9]+:[0-9]+:00Z +2 ' || fail "status --traffic as text counts the sessions wrongly: $(gwn 1 status --traffic)"
gwn 1 status --traffic --here --json | json_is 'all(.minutes[]; .sessions < 2)' || fail "status --traffic --here counts sessions of other gateways"
ok "the last hour covers all gateways"

# ---- update ----
cd "$TMP" || exit 1
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
public=$("$BIN/cmxsafe" image key --key k.pem)
for v in 1 2 3; do make_image v$v.bin $v.0.0 esp32c3 0 60; done
for v in 1 2 3; do "$BIN/cmxsafe" image sign --key k.pem v$v.bin >/dev/null || fail "sign"; done
openssl rand -out b1.bin 32
echo BURN | "$ESPTOOL" -m espefuse --chip esp32c3 --virt --path-efuse-file efuse.bin burn-key BLOCK_KEY3 b1.bin HMAC_UP >espefuse.log 2>&1 || fail "espefuse"
"$BIN/cmxsafe-board" create b1 --chip esp32c3 --image v1.bin >/dev/null && cp efuse.bin b1/ && cp b1.bin b1/private_key.bin || fail "create"
gwn 1 enroll b1 --hwkey "$TMP/b1.bin" --ports 81,8989,8888 >/dev/null || fail "enroll b1"
B=$(gwn 1 show b1 --json | jq -r .device.address)
pin=$(ssh-keygen -lf /var/lib/node1/gateway/hostkey_ed25519.pub | cut -d' ' -f2)
"$BIN/cmxsafe-board" run b1 --gateway "10.9.1.2:$GW_PORT > 10.9.1.1:$GW_PORT" --set gateway.user=cmxsafe-gw --set "gateway.host_key=$pin" --set "gateway.remote_address=$B" \
    --set "board.port_offset=$(free_offset)" --set "ota.public_key=$public" --set ota.confirm_s=60 2>>b1.log & BOARD_PID=$!; PIDS+=("$BOARD_PID")
wait_for 60 connected_at 2 b1 && wait_for 20 is_claimed "$B" || fail "the board does not connect"
runs() { [ "$(on 2 ip netns exec cmxsafe curl -sS -m 10 "http://[$B]:8989/update" 2>/dev/null | jq -r '"\(.running.version) \(.running.confirmed)"')" = "$1 true" ]; }
gwn 2 grant user:root b1 >/dev/null || fail "grant" # this scenario's own requests need a grant
wait_for 60 runs 1.0.0 || fail "the board does not answer"
gwn 2 grant --remove user:root b1 >/dev/null || fail "grant --remove"
wait_for 20 standing 1 || fail "the grant stays"
gwn 1 update b1 -- "$TMP/v2.bin" --quiet --wait 120 >"$TMP/update.out" 2>&1 || fail "update at node 1 fails: $(cat "$TMP/update.out")"
gwn 2 grant user:root b1 >/dev/null || fail "grant"
wait_for 60 runs 2.0.0 || fail "the board does not run the new version"
ok "update reaches a device at another gateway"

# ---- evidence: only the gateway that has the device's session requests it ----
"$BIN/cmxsafe" image manifest --at 0x10000 --end 0x20000 v2.bin >m2 || fail "manifest"
gwn 1 policy set b1 --manifest "$TMP/m2" --max-age 1h --enforce no >/dev/null || fail "policy set"
mkdir -p /var/lib/node2/gateway/store && cp -a /var/lib/node1/gateway/store/. /var/lib/node2/gateway/store/ || fail "cp"
WORKER1=$(for p in $(descendants "${SERVE_PID[1]}"); do tr '\0' ' ' <"/proc/$p/cmdline" | grep -q "gateway worker " && echo "$p"; done | head -n 1)
[ -n "$WORKER1" ] || fail "no worker at node 1"
judged_by_2() { gwn 1 policy show --json | json_is '.[] | select(.device == "b1") | .reason | test("^(check|its evidence)")'; }
for _ in $(seq 60); do
    [ -z "$(descendants "$WORKER1")" ] || fail "node 1 requests evidence from a device that is connected to node 2"
    sleep 0.1
done
wait_for 60 judged_by_2 || fail "node 2 requests no evidence: $(gwn 1 policy show)"
gwn 1 policy remove b1 >/dev/null || fail "policy remove"
ok "one gateway requests a device's evidence"

# ---- a campaign: the device comes back at another gateway after its restart ----
gwn 2 campaign start may --image "$TMP/v3.bin" b1 >/dev/null || fail "campaign start"
progress() { gwn "$1" campaign show may --json | jq -r '.devices[0] | .state + ": " + .detail'; }
progress_is() { [[ "$(progress "$1")" == $2 ]]; }
wait_for 60 grep -q "upload begins" b1.log || fail "no upload: $(progress 2)"
nft "add table inet cut; add chain inet cut output { type filter hook output priority 0; }; add rule inet cut output ip daddr 10.9.1.2 tcp dport $GW_PORT tcp flags & (syn | ack) == syn drop" || fail "nft"
wait_for 60 connected_at 1 b1 && wait_for 20 gone_at 2 b1 || fail "the board does not come back at node 1"
UPDATE=$(pgrep -f "^cmxsafe update --url http://.$B.:8989 .* /var/lib/node2/") || fail "node 2 no longer waits for the device: $(progress 2)"
kill "$UPDATE"
wait_for 20 progress_is 2 "begun: it moved to the gateway gw1, which continues the update if it has the image" || fail "node 2 does not leave the update to node 1: $(progress 2)"
mkdir -p /var/lib/node1/gateway/store && cp -a /var/lib/node2/gateway/store/. /var/lib/node1/gateway/store/ || fail "cp"
wait_for 60 progress_is 2 "done: version 3.0.0 is running*" || fail "node 1 does not continue the update: $(progress 1)"
nft delete table inet cut
stop "$BOARD_PID"
wait_for 20 gone_at 1 b1 || fail "the board is still connected"
ok "a campaign follows a device to another gateway"

# ---- without the registry, and without the other gateway ----
pg_stop shared immediate
! attest 1 >"$TMP/attest.out" 2>&1 || fail "attest succeeds without the registry"
grep -q "registry in PostgreSQL can't be reached.*nothing was changed" "$TMP/attest.out" || fail "the message is not clear: $(cat "$TMP/attest.out")"
kill -KILL "$(gwn 2 status --here --json | jq -r .pid)"
wait "${SERVE_PID[2]}" 2>/dev/null
gwn 1 status --json >"$TMP/status.json" 2>"$TMP/status.err" || fail "status without gw2"
json_is '.unanswered == ["gw2"] and [.sessions[].name] == ["vms"]' "$TMP/status.json" && grep -q "gateway gw2 does not answer" "$TMP/status.err" ||
    fail "status without gw2: $(cat "$TMP/status.json" "$TMP/status.err")"
gwn 1 access >/dev/null 2>"$TMP/access.err" && grep -q "gateway gw2 does not answer" "$TMP/access.err" || fail "'access' fails, or does not report that gw2 does not answer"
gwn 1 status --traffic --json >"$TMP/traffic.json" 2>"$TMP/traffic.err" && json_is '.unanswered == ["gw2"]' "$TMP/traffic.json" &&
    grep -q "gateway gw2 does not answer" "$TMP/traffic.err" || fail "status --traffic does not say that gw2 does not answer: $(cat "$TMP/traffic.json" "$TMP/traffic.err")"
wait_for 20 grep -q "gateway gw2 does not answer, so its records are missing until it does" "$TMP/follow1.err" || fail "access --follow does not say that gw2 is away"
ok "a gateway that does not answer is named"

# ---- an older gateway in place of gw2: it cannot be followed, because it closes the connection after the request ----
on 2 ip netns exec cmxsafe python3 -c '
import socket
s = socket.create_server(("::", 1129), family=socket.AF_INET6)
while True:
    c, _ = s.accept()
    c.recv(200)
    c.close()' & OLD=$!; PIDS+=("$OLD")
old_listens() { on 2 ip netns exec cmxsafe ss -Hltn | grep -q ':1129 '; }
wait_for 20 old_listens || fail "the older gateway does not listen"
gwn 1 access --follow >/dev/null 2>"$TMP/old.err" & OLD_FOLLOW=$!; PIDS+=("$OLD_FOLLOW")
wait_for 20 grep -q "gateway gw2 closes the connection without an answer.*too old to be followed.*upgrade it" "$TMP/old.err" || fail "access --follow does not name the gateway that is too old: $(cat "$TMP/old.err")"
equal "$(grep -c . "$TMP/old.err")" 1 || fail "the warning is repeated: $(cat "$TMP/old.err")"
for p in $(descendants "$OLD_FOLLOW") $(descendants "$OLD"); do kill "$p"; done
wait "$OLD_FOLLOW" "$OLD" 2>/dev/null
ok "access --follow names a gateway that is too old to be followed"

# ---- gw2 is back: `access --follow` prints the missed records once ----
pg_start shared -c listen_addresses=127.0.0.1,$REGISTRY_ADDRESS
lines() { jq -s 'map(select(.gateway == "gw2")) | length' "$TMP/followed1"; }
before=$(lines)
serve_node 2
again() { asks 2 1234; [ "$(lines)" -gt "$before" ]; } # gw2 logs that it refused the request
wait_for 30 again || fail "access --follow gets nothing from a gateway that is back: $(cat "$TMP/follow1.err")"
[ "$(jq -s 'map(select(.gateway == "gw2" and .consumer == "user:1234" and .event == "denied"))' "$TMP/followed1" | jq 'length == (unique | length)')" = true ] || fail "records come twice"
records_of() { jq -sc 'map(select(.gateway == "gw2" and .event != "open")) | sort | .[]'; }
same() { records_of <"$TMP/followed1" >"$TMP/have" && gwn 1 access --json 2>/dev/null | records_of >"$TMP/want" && [ -s "$TMP/want" ] && cmp -s "$TMP/have" "$TMP/want"; }
wait_for 20 same || fail "access --follow misses records, or has some twice: $(diff "$TMP/have" "$TMP/want")"
ok "access --follow continues when a gateway is back"

# ---- a process on another gateway's port sends forged answers ----
kill -KILL "$(gwn 2 status --here --json | jq -r .pid)"
wait "${SERVE_PID[2]}" 2>/dev/null
: >"$TMP/followed1"
cat >"$TMP/forged.py" <<'PY'
import itertools, socket, sys
listener = socket.create_server((sys.argv[1], 1129), family=socket.AF_INET6)
while True:
    asking, _ = listener.accept()
    with asking, open(sys.argv[2], "rb") as answer:
        try:
            question = asking.recv(100)
            answer = answer.read()
            # If the file begins with "endless", the rest of the file is sent again and again until the other side
            # disconnects. A request to continue the log (follow N, N > 0) then gets no answer.
            endless = answer.startswith(b"endless") and (answer[7:] or b" ") * 1000
            if endless and question.startswith(b"follow") and question != b"follow 0\n":
                continue
            for piece in itertools.repeat(endless) if endless else [answer]:
                asking.sendall(piece)
        except ConnectionError:
            pass
PY
: >"$TMP/forged"
on 2 ip netns exec cmxsafe python3 "$TMP/forged.py" "$(on 2 ip -n cmxsafe -j -6 address show | jq -r '[.[] | select(.ifname | startswith("cmxlink")) | .addr_info[] | select(.scope == "global") | .local][0]')" "$TMP/forged" 2>"$TMP/forged.err" & PIDS+=("$!")
wait_for 20 on 2 ip netns exec cmxsafe sh -c 'ss -Hltn "sport = :1129" | grep -q .' || fail "no process listens at node 2: $(cat "$TMP/forged.err")"
printable() { ! LC_ALL=C grep -n '[^[:print:]]' "$@"; }
printf '{"judge":"\e[2J","sessions":[{"name":"\e]0;x\a","since":1},{"name":"cam-1","since":1,"client":"\e[2J\u001b","forwards":["[fd00::1]:1"]},{"name":"x","since":"\e"}]}\n' >"$TMP/forged"
gwn 1 status >"$TMP/status.out" 2>"$TMP/status.err" || fail "status"
printable "$TMP/status.out" "$TMP/status.err" || fail "another gateway controls the operator's terminal"
grep -q "^gw2  *cam-1 " "$TMP/status.out" && grep -q "^gw1  *vms " "$TMP/status.out" && grep -q "sessions of the gateway gw2 are left out because they are malformed (2)" "$TMP/status.err" || fail "sessions that can be read are missing: $(cat "$TMP/status.out" "$TMP/status.err")"
gwn 1 status --json >"$TMP/status.json" 2>/dev/null || fail "status --json"
printable "$TMP/status.json" && json_is '.malformed == ["gw2"] and .unanswered == [] and [.sessions[].name] == ["vms", "cam-1"]' "$TMP/status.json" || fail "status --json: $(cat "$TMP/status.json")"
for answer in 'x]}\n' '{"sessions":[],"sessions":"]}\n' '{"sessions":[]}{"sessions":[{"name":"evil","since":1}]}\n' '{"sessions":[{"name":"vms","since":1}]}\0{"sessions":[]}\n'; do
    printf "$answer" >"$TMP/forged"
    gwn 1 status --json >"$TMP/status.json" 2>"$TMP/status.err" || fail "status --json"
    json_is '.malformed == ["gw2"] and .unanswered == ["gw2"] and [.sessions[].name] == ["vms"]' "$TMP/status.json" && grep -q "answer from the gateway gw2 is malformed" "$TMP/status.err" ||
        fail "$answer: $(cat "$TMP/status.json" "$TMP/status.err")"
done
printf endless >"$TMP/forged"
gwn 1 status --json >"$TMP/status.json" 2>/dev/null && json_is '.unanswered == ["gw2"] and [.sessions[].name] == ["vms"]' "$TMP/status.json" || fail "an endless answer of gw2 is not cut off: $(cat "$TMP/status.json")"
printf '{"event":"\e[2J","at":1}\n{"event":"denied","at":2,"consumer":"fd00::1","target":"fd00::2","port":81,"count":3}\n\n' >"$TMP/forged"
gwn 1 access >"$TMP/access.out" 2>"$TMP/access.err" || fail "access"
printable "$TMP/access.out" "$TMP/access.err" && grep -q "denied  fd00::1 -> fd00::2:81 (3 packets)" "$TMP/access.out" && grep -q "gateway gw2 sends malformed records" "$TMP/access.err" || fail "access: $(cat "$TMP/access.out" "$TMP/access.err")"
printf 'endless{"event":"open","at":1,"consumer":"fd00::1","target":"fd00::4","port":81}\n' >"$TMP/forged"
begin=$SECONDS
gwn 1 access >"$TMP/access.out" 2>"$TMP/access.err" && grep -q "gateway gw2 does not answer" "$TMP/access.err" || fail "an endless log of gw2 is not cut off: $(cat "$TMP/access.err")"
[ $((SECONDS - begin)) -le 60 ] || fail "an endless log takes $((SECONDS - begin)) s"
printf 'endless{"event":"denied","at":1,"consumer":"fd00::5","target":"fd00::6","port":81,"count":1}' >"$TMP/forged"
gwn 1 access >"$TMP/access.out" 2>"$TMP/access.err" && grep -q "gateway gw2 does not answer" "$TMP/access.err" || fail "an endless line of gw2 is not cut off: $(cat "$TMP/access.err")"
lacks fd00::5 "$TMP/access.out" || fail "a part of a line counts as a record"
printf '{"minutes":[{"at":60,"sessions":"\e"},{"at":120,"sessions":3,"bytes_in":1,"bytes_out":1,"denied":0}],"parties":[{"name":"\e[2J"},{"name":"forged","bytes_in":5}]}\n' >"$TMP/forged"
gwn 1 status --traffic --json >"$TMP/traffic.json" 2>"$TMP/traffic.err" || fail "status --traffic"
printable "$TMP/traffic.json" "$TMP/traffic.err" && json_is '.malformed == ["gw2"] and ([.parties[].name] | index("forged") != null and index("vms") != null)' "$TMP/traffic.json" &&
    grep -q "of the gateway gw2 are left out because they are malformed (2)" "$TMP/traffic.err" || fail "status --traffic: $(cat "$TMP/traffic.json" "$TMP/traffic.err")"
printf '{"event":"\e[2J","at":1}\n\e]0;x\a\n{"event":"denied","at":1,"consumer":"fd00::1","target":"fd00::3","port":82,"count":3}\n' >"$TMP/forged"
wait_for 20 grep -q "fd00::3" "$TMP/followed1" || fail "access --follow: $(cat "$TMP/follow1.err")"
printable "$TMP/followed1" "$TMP/follow1.err" && grep -q "gateway gw2 sends malformed records" "$TMP/follow1.err" || fail "access --follow: $(cat "$TMP/followed1" "$TMP/follow1.err")"
ok "an answer of another gateway controls neither the terminal nor the output, and the others count"
for n in 1 2; do no_sanitizer_report "$TMP/node$n.log" || fail "a sanitizer complains"; done
