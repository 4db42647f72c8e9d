#!/usr/bin/env bash
# Device and gateway are in two network namespaces. The interface between them is down for 20 s (CMX_LONG=1: a minute) and
# comes up again. Then all packets are dropped for a while. At the end, another link replaces it, which is slow (200 ms)
# and lossy (5 %).
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || skip "network namespaces need root"

N=cmx$$ S=7001 R=7002
CLEANUP+=("ip netns del ${N}g 2>/dev/null; ip netns del ${N}d 2>/dev/null")
ip netns add "${N}g" && ip netns add "${N}d" || skip "no network namespaces here"
ip -n "${N}g" link add g0 type veth peer name d0 netns "${N}d"
ip -n "${N}g" addr add 192.0.2.1/24 dev g0; ip -n "${N}d" addr add 192.0.2.2/24 dev d0
for side in g d; do ip -n "$N$side" link set lo up; ip -n "$N$side" link set "${side}0" up; done
ingw() { ip netns exec "${N}g" "$@"; }
client() { ingw python3 "$ROOT/tests/e2e/client.py" "$@"; }

SSHD_PORT=2222 SSHD_ADDRESS=192.0.2.1 SSHD_PREFIX="ip netns exec ${N}g"
start_sshd <<CONF
ClientAliveInterval 8
ClientAliveCountMax 2
CONF
wait_for 10 eval "ingw ss -Hltn | grep -q :2222" || fail "sshd"
ip netns exec "${N}d" python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 eval "ip netns exec ${N}d ss -Hltn | grep -q :$S" || fail "service"
coproc PROXY { exec ip netns exec "${N}d" "$BIN/proxy_run" 192.0.2.1 2222 "$SSHD_USER" "$KEY" "$PIN" base=100 max=2000 \
    keepalive=5 -- "echo,$S,$R" 2>>"$TMP/proxy.log"; }
PROXY_RUN=$PROXY_PID; PIDS+=("$PROXY_RUN")
exec {PROXY_OUT}<&"${PROXY[0]}" {PROXY_IN}>&"${PROXY[1]}"
answer >/dev/null || fail "proxy_run"
up
client "$R" sink 100000 || fail "before"

CUT=20; [ -z "${CMX_LONG:-}" ] || CUT=60
ip -n "${N}d" link set d0 down
wait_for 25 eval "! status_is echo state up" || fail "a cut link is not noticed within keepalive 5 s x 3: $(ask status)"
sleep "$CUT"
ip -n "${N}d" link set d0 up
wait_for 30 status_is echo state up || fail "healed: $(ask status)"
wait_for 30 client "$R" sink 100000 || fail "the link is restored, but no data passes"
ok "link cut for $CUT s: noticed, recovered"

# The link drops packets silently: the gateway keeps the old session's listener until sshd's own timeout.
ip netns exec "${N}d" nft -f - <<NFT || fail "nft"
add table ip cut
add chain ip cut in { type filter hook input priority 0; policy drop; }
add chain ip cut out { type filter hook output priority 0; }
add rule ip cut out ip daddr 192.0.2.1 drop
NFT
wait_for 25 eval "! status_is echo state up" || fail "silence is not noticed"
ip netns exec "${N}d" nft delete table ip cut
wait_for 60 status_is echo state up || fail "the device did not reconnect after the old listener's timeout: $(ask status)"
wait_for 30 client "$R" sink 100000 || fail "the link works again, but no data passes"
ok "silence is noticed, and the device reconnects after the old listener's timeout"

# The first link is removed, and the device connects over a second link, which is slow and lossy. The second link is
# simulated in user space, because not every kernel has netem.
python3 "$ROOT/tests/e2e/netem.py" "${N}g" t0 "${N}d" t0 100 5 >"$TMP/netem.out" 2>"$TMP/netem.log" & PIDS+=($!)
wait_for 10 grep -q ready "$TMP/netem.out" || fail "the slow wire"
ip -n "${N}d" link set d0 down; ip -n "${N}g" addr del 192.0.2.1/24 dev g0; ip -n "${N}d" addr del 192.0.2.2/24 dev d0
ip -n "${N}g" addr add 192.0.2.1/24 dev t0; ip -n "${N}d" addr add 192.0.2.2/24 dev t0
for side in g d; do ip -n "$N$side" link set t0 up; done
sleep 10
wait_for 60 status_is echo state up || fail "no session over the slow link: $(ask status)"
client "$R" sink 300000 || fail "lossy link: data to the device is lost"
client "$R" source 300000 || fail "lossy link: data from the device is lost"
client "$R" many 3 || fail "lossy link: one of 3 connections failed: $(ask status)"
status_is echo state up || fail "the session ended: $(ask status)"
ok "200 ms and 5 % loss: every byte arrived"
quit_proxy
