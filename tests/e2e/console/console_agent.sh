#!/usr/bin/env bash
# Tests the Cockpit page of a device with a real agent, isolation and an update service in a network namespace: a packet
# that isolation drops appears on the page. Then the agent ends, and the page reports that no agent answers.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../isolation_lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
. "$(dirname "$0")/../console_lib.sh"
need_console npm nft
ALL_NETNS=/proc/sys/net/netfilter/nf_log_all_netns
[ -w "$ALL_NETNS" ] && dmesg >/dev/null 2>&1 || skip "the kernel's log is not readable here"

BEFORE=$(cat "$ALL_NETNS")
CLEANUP+=("echo $BEFORE >$ALL_NETNS")
echo 1 >"$ALL_NETNS" # the kernel logs drops in namespaces, too
make_link
new_host dev $D4 $D6
SSHD_PORT=22 SSHD_ADDRESS=$G4 SSHD_PREFIX="ip netns exec $NS-gw"
start_sshd </dev/null
wait_for 10 in_ns gw bash -c "ss -Hltn 'sport = :22' | grep -q ." || fail "sshd does not listen"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$TMP/k.pem" 2>/dev/null
"$BIN/cmxsafe" image key --key "$TMP/k.pem" --pem >"$TMP/k.pub" || fail "key"
mkdir "$TMP/www"; echo hello >"$TMP/www/index.html"
bg dev python3 -m http.server -d "$TMP/www" --bind 127.0.0.1 8081 >/dev/null 2>&1
{
    gateway_section | sed "s/^host = .*/host = $G4/"
    printf '[isolation]\nenabled = yes\n[ota]\ninstall = cat >/dev/null\nversion = echo 1.0\nkey_file = %s/k.pub\nspool = %s/spool\nport = 8989\n' "$TMP" "$TMP"
    reverse web 8081 9081
    reverse update 8989 9989
} >"$CONF"
AGENT_PREFIX=(ip netns exec "$NS-dev")
start_agent
AGENT_PREFIX=()
wait_up
echo "$AGENT" >"$TMP/agent.pid"
echo unsigned >"$TMP/unsigned"
in_ns dev curl -sS -m 20 -o /dev/null -F "update=@$TMP/unsigned" http://127.0.0.1:8989/update || fail "the update service does not answer"
# Connects to a port of the device that no service uses; the kernel logs at most one such packet a second.
in_ns gw bash -c "while :; do timeout 1 bash -c '</dev/tcp/$D4/8082'; sleep 1; done" 2>/dev/null &
PIDS+=("$!")

# The page runs `cmxsafed status`, which reads the socket's path from /etc/cmxsafe/cmxsafed.conf. Here a wrapper passes
# the scenario's configuration file instead.
mkdir "$TMP/path"
printf '#!/bin/sh\nexec %s/cmxsafed "$@" --config %s\n' "$BIN" "$CONF" >"$TMP/path/cmxsafed"
chmod +x "$TMP/path/cmxsafed"
start_cockpit "$TMP/path"
test_page agent "$AGENT_URL"
no_sanitizer_report "$AGENT_LOG" || fail "a sanitizer complains"
