#!/usr/bin/env bash
# Clients and the service do not notice the end-to-end probe. A listener that no longer leads to this device is replaced.
. "$(dirname "$0")/../lib.sh"

S=$(free_port) R=$(free_port)
client() { python3 "$ROOT/tests/e2e/client.py" "$@"; }
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
start_proxy log=3 -- "echo,$S,$R,probe=1,max=64"
up
# A probe is sent each second, and does not count as a client's connection. If a busy machine delays a probe by TENTATIVE_MS (relay.c)
# or more, the engine counts it nevertheless, so one of several intervals must be without such a probe.
uncounted() { local before; before=$(status_of echo total); sleep 3; [ "$(status_of echo total)" = "$before" ]; }
wait_for 20 uncounted || fail "probes are counted as connections: $(ask status)"
before=$(status_of echo total)
for _ in 1 2 3 4 5; do client "$R" sink 200000 || fail "a client fails during a probe"; done
client "$R" many 30 || fail "one of many clients fails during a probe"
status_is echo sessions 1 || fail "a probe broke the session"
lacks "replacing" "$TMP/proxy.log" || fail "a probe failed although the listener works"
[ "$(status_of echo total)" -ge $((before + 35)) ] || fail "a client's connection is not counted: $(ask status)"
ok "probes pass, clients notice nothing"

ask heap 16383 >/dev/null # too little for a new connection, the probe's included
refused=$(status_of echo refused)
more_refused() { [ "$(status_of echo refused)" -ge $((refused + 3)) ]; }
wait_for 30 more_refused || fail "the probes' connections are not refused: $(ask status)"
ask heap 100000 >/dev/null
lacks "replacing" "$TMP/proxy.log" && status_is echo sessions 1 || fail "a probe failed because its connection was refused: $(ask status)"
client "$R" sink 1000 || fail "a client is still refused although there is enough heap again"
ok "a lack of heap is no failure of the listener"

# A rule on the gateway diverts the listener's port. The gateway needs its own network namespace for this, and therefore root.
if [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
    quit_proxy
    N=cmxp$$; CLEANUP+=("ip netns del $N 2>/dev/null")
    ip netns add "$N"; ip -n "$N" link set lo up
    in_ns() { ip netns exec "$N" "$@"; }
    SSHD_PORT=2222 SSHD_PREFIX="ip netns exec $N"
    start_sshd </dev/null
    wait_for 10 eval "in_ns ss -Hltn | grep -q :2222" || fail "sshd"
    ip netns exec "$N" python3 "$ROOT/tests/e2e/service.py" 7003 & PIDS+=($!)
    coproc PROXY { exec ip netns exec "$N" "$BIN/proxy_run" 127.0.0.1 2222 "$SSHD_USER" "$KEY" "$PIN" base=100 max=1000 log=3 \
        -- "echo,7001,7002,probe=1" 2>>"$TMP/proxy.log"; }
    PROXY_RUN=$PROXY_PID; PIDS+=("$PROXY_RUN")
    exec {PROXY_OUT}<&"${PROXY[0]}" {PROXY_IN}>&"${PROXY[1]}"
    answer >/dev/null; up
    in_ns nft -f - <<NFT || fail "nft"
add table inet steal
add chain inet steal out { type nat hook output priority -100; }
add rule inet steal out tcp dport 7002 redirect to :7003
NFT
    wait_for 40 grep -q "the token did not come back; replacing the listener" "$TMP/proxy.log" || fail "the diverted listener is not noticed: $(ask status)"
    in_ns nft delete table inet steal
    wait_for 30 status_is echo state up || fail "the context is not up again: $(ask status)"
    ok "a listener that leads elsewhere is noticed and replaced"
    SSHD_PREFIX=""; SSHD_PORT=$(free_port); start_sshd </dev/null
fi
quit_proxy

# If a gateway does not permit the probe's direct channel, the engine turns probes off and logs this once. The context
# stays up.
wait_for 10 eval "! listening $R" || fail "the listener is still open"
printf 'restrict,port-forwarding,permitlisten="localhost:%s",permitopen="127.0.0.1:1" %s\n' "$R" "$(cat "$TMP/client_key.pub")" >"$TMP/authorized_keys"
start_proxy -- "echo,$S,$R,probe=1"
up
wait_for 10 grep -q "probes are off" "$TMP/proxy.log" || fail "the log does not say that probes are off"
client "$R" sink 1000 || fail "the context does not work after a forbidden probe"
status_is echo sessions 1 || fail "a forbidden probe broke the session"
ok "a gateway that does not permit probes"
quit_proxy
