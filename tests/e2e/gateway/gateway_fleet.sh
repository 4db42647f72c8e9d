#!/usr/bin/env bash
# 500 devices connect to one gateway, and each has exactly one listener, at its own address. After the gateway restarts,
# all devices reconnect.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces
fleet_python
N=${CMX_FLEET:-500}
ulimit -n "$(ulimit -Hn)"

start_gateway
start_fleet "$N"
answer=$(fleet up) || exit 1
read -r _ n seconds refusals <<<"$answer"
[ "$n" = "$N" ] || fail "only $n of $N are up"
echo "$N devices up in $seconds s, $refusals attempts refused or failed"
wait_for 30 listeners_right || fail "listeners are wrong: $(head "$TMP/listeners.log")"
ok "every device has its own listener and no other"

stop "$GW_PID"
[ "$(fleet lost)" = "lost $N" ] || fail "sessions outlive the gateway"
serve_gateway
answer=$(fleet up) || exit 1
read -r _ n seconds refusals <<<"$answer"
[ "$n" = "$N" ] || fail "only $n of $N are back"
echo "$N devices back in $seconds s after a restart, $refusals attempts refused or failed"
wait_for 30 listeners_right || fail "listeners are wrong after the restart: $(head "$TMP/listeners.log")"
ok "all devices reconnect after a restart"
gw status --json | jq -c .counters
stop_gateway
