#!/usr/bin/env bash
# Agents (cmxsafed) connect to the gateway with the configuration that `enroll` prints and with keys derived from their
# hardware keys. One of them runs another image, so that a rollout stops. Then an agent connects to a stock sshd that
# behaves like the published CMX-GW.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
need_namespaces

start_gateway --prefix fd00 --mac 02:11:22:33:44:55
make_flash $((1 << 20))
head -c $((1 << 20)) /dev/urandom >"$TMP/flash.wrong"
mkdir "$TMP/keys"
agent() { # agent NAME FLASH: enrols the agent with its hardware key, and starts it with the configuration that enroll prints
    local name=$1 flash=$2 port key=$TMP/keys/$1.bin
    port=$(free_port)
    head -c 32 /dev/urandom >"$key"
    chmod 600 "$key"
    gw enroll "$name" --hwkey "$key" --ports 8888 --group agents --mac "02:00:00:00:00:0${name#a}" --form agent >"$TMP/$name.enrolled" || fail "enroll $name"
    {
        sed -e "s|^key_file = .*|key_file = $key|" -e "s/^local_port = .*/local_port = $port\nprobe_interval = 1s/" "$TMP/$name.enrolled"
        printf '\n[agent]\ncontrol_socket = %s\n[attest]\nenabled = yes\nport = %s\nimage = %s\n' "$TMP/$name.sock" "$port" "$flash"
    } >"$TMP/$name.conf"
    "$BIN/cmxsafed" -c "$TMP/$name.conf" 2>>"$TMP/$name.log" &
    PIDS+=("$!")
}
agent a1 "$TMP/flash.bin"
agent a2 "$TMP/flash.bin"
agent a3 "$TMP/flash.wrong"
for n in a1 a2 a3; do wait_for 30 connected "$n" || fail "$n does not connect"; done
[ "$(address_of a1)" = fd00:211:2233:4455:0:200:0:1 ] || fail "the address is not of the published form: $(address_of a1)"
listens() { inside ss -Hltn | grep -qF "[$(address_of "$1")]:8888"; }
for n in a1 a2 a3; do wait_for 30 listens "$n" || fail "$n does not listen"; done
ok "agents log in with derived keys and listen on their own addresses, on the same port"
# With probe_interval, each agent connects to its own listener through the gateway, and is not refused.
sleep 3 # the time of three probes
lacks 'refused connect to host' "$TMP/gateway.log" || fail "the gateway refuses a device's probe of its own listener"
lacks 'probe of port' "$TMP/a1.log" || fail "the agent replaced a listener that works: $(grep 'probe of port' "$TMP/a1.log")"
ok "agents probe their own listeners"

attest_all() { gw attest --group agents "$@" -- --key "$TMP/keys/{name}.bin" --image "$TMP/firmware.bin"; }
attest_all >"$TMP/attest.out" && fail "a device with another image passes"
grep -q '^ok  *a1 ' "$TMP/attest.out" && grep -q '^ok  *a2 ' "$TMP/attest.out" && grep -q '^failed  *a3 ' "$TMP/attest.out" || fail "verdicts: $(cat "$TMP/attest.out")"
gw show a1 --json | json_is '.attestation.verdict == "match" and .attestation.at > 0' >/dev/null || fail "the verdict is not kept"
gw show a3 --json | json_is '.attestation.verdict == "differs"' >/dev/null || fail "the verdict on a device with another image is not 'differs': $(gw show a3)"
# The verdict comes from the exit status and the JSON, not from words in a message.
! gw attest a2 -- --key "$TMP/DIFFERS.bin" --image "$TMP/firmware.bin" >"$TMP/nokey.out" 2>&1 || fail "attested without a key"
gw show a2 --json | json_is '.attestation.verdict == "failed"' >/dev/null || fail "a word in a message became the verdict: $(cat "$TMP/nokey.out")"
attest_all >/dev/null
gw status | grep -q '^a1 .* match ' || fail "status does not show the verdict"
ok "attest --group stores a verdict for each device, 'match' or 'differs'"

# The device with the other image is attested first and fails, so the others are not attested.
! gw attest a3 a1 a2 --first 1 -- --key "$TMP/keys/{name}.bin" --image "$TMP/firmware.bin" >"$TMP/first.out" 2>"$TMP/first.err" || fail "the rollout continued"
grep -q '0 ok, 1 failed, 2 untouched' "$TMP/first.out" && grep -q 'too many failures' "$TMP/first.err" || fail "a failure of the first device does not stop the rollout: $(cat "$TMP/first.out")"
# The devices have no update service: each update fails, and the rollout stops at its failure limit.
! gw update --group agents --first 0 --parallel 1 --stop-at 50 -- "$TMP/firmware.bin" >"$TMP/update.out" 2>&1 || fail "an update without a service succeeds"
grep -q '1 failed, 2 untouched' "$TMP/update.out" || fail "the failure limit does not stop the rollout: $(cat "$TMP/update.out")"
attest_all --dry-run | grep -q 'would attest a1' || fail "dry run"
ok "a rollout stops at its threshold"
gw revoke a1 >/dev/null
wait_for 10 gone a1 || fail "the revoked device is still connected"
stop_gateway

# A stock sshd acts as the published CMX-GW: the user name is an address in 32 hex digits, and the user may listen on
# this address only.
name=$(printf 'fd000211223344550000020000000002')
cat >"$TMP/cmxgw.sh" <<'SCRIPT'
ip link set lo up
ip -6 route add local fd00:211:2233:4455::/64 dev lo
sysctl -qw net.ipv6.ip_nonlocal_bind=1
mount --bind "$TMP/passwd.cmxgw" /etc/passwd
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e -f "$TMP/cmxgw.conf"
SCRIPT
if [ "$(id -u)" = 0 ]; then
    { cat /etc/passwd; echo "$name:x:$(id -u nobody):$(id -g nobody)::/nonexistent:/bin/sh"; } >"$TMP/passwd.cmxgw"
    ssh-keygen -q -t ed25519 -N '' -f "$TMP/cmxgw_host"
    echo "restrict,port-forwarding,permitlisten=\"[fd00:211:2233:4455:0:200:0:2]:8888\" $("$BIN/cmxsafe" identity public --key "$TMP/keys/a2.bin" | head -n 1)" >"$TMP/cmxgw_keys"
    P=$(free_port)
    printf '%s\n' "Port $P" "ListenAddress 127.0.0.1" "HostKey $TMP/cmxgw_host" "AuthorizedKeysFile $TMP/cmxgw_keys" "StrictModes no" "UsePAM no" \
        "GatewayPorts clientspecified" "PidFile none" "LogLevel VERBOSE" >"$TMP/cmxgw.conf"
    export TMP
    unshare --net --mount --propagation private bash "$TMP/cmxgw.sh" >"$TMP/cmxgw.log" 2>&1 & NS=$!; PIDS+=("$NS")
    wait_for 10 nsenter -t "$NS" -n sh -c "ss -Hltn 'sport = :$P' | grep -q ." || fail "no CMX-GW"
    sed -e "s/^user = .*/user = $name/" -e "s/^port = $GW_PORT/port = $P/" -e "/^host_key/d" -e "s|^\[gateway\]|&\nhost_key = $(ssh-keygen -lf "$TMP/cmxgw_host.pub" | awk '{print $2}')|" "$TMP/a2.conf" >"$TMP/cmx.conf"
    sed -i "s|^control_socket = .*|control_socket = $TMP/cmx.sock|" "$TMP/cmx.conf"
    nsenter -t "$NS" -n "$BIN/cmxsafed" -c "$TMP/cmx.conf" 2>>"$TMP/cmx.log" & PIDS+=("$!")
    wait_for 30 sh -c "nsenter -t $NS -n ss -Hltn | grep -qF '[fd00:211:2233:4455:0:200:0:2]:8888'" || fail "no listener at the CMX-GW"
    grep -q "Accepted publickey for $name" "$TMP/cmxgw.log" || fail "a login with another user name fails"
    ok "an agent at a CMX-GW as the CMXsafe papers describe it"
fi
