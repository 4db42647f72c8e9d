#!/usr/bin/env bash
# Slow name servers. If the look-up of a service's name takes seconds, only connections to this service wait. The time
# that is needed to look up the gateway's name does not count towards login_timeout.
. "$(dirname "$0")/../lib.sh"

[ "$(id -u)" = 0 ] || skip "needs root for a mount namespace and port 53"
S=$(free_port) F=$(free_port) W=$(free_port)
client() { python3 "$ROOT/tests/e2e/client.py" "$@"; }
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"

DNS=127.$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1))
python3 "$ROOT/tests/e2e/resolver.py" "$DNS" "slow.test=$TMP/slow" "gateway.test=$TMP/gateway" "dead.test=$TMP/dead" >"$TMP/dns.out" 2>"$TMP/dns.log" & PIDS+=($!)
wait_for 10 grep -q ready "$TMP/dns.out" || fail "name server"

echo "nameserver $DNS
options timeout:30 attempts:1" >"$TMP/resolv.conf"
cat >"$TMP/driver" <<'DRIVER'
#!/usr/bin/env bash
# The driver is proxy_run with another resolv.conf and gateway name.
shift
exec unshare -m sh -c 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"' sh "$RESOLV_CONF" "$RUN" "$GATEWAY" "$@"
DRIVER
chmod +x "$TMP/driver"
export RESOLV_CONF=$TMP/resolv.conf RUN=$BIN/proxy_run GATEWAY=127.0.0.1
[ -L /etc/resolv.conf ] && skip "/etc/resolv.conf is a symbolic link here"
BIN=$TMP PROXY_DRIVER=driver

start_proxy -- "fast,$S,$F,session=one" "slow,$S,$W,session=one,local=slow.test,connect=30,max=32"
up
client "$W" many 32 & SLOW=$!
wait_for 20 grep -q "asked slow.test" "$TMP/dns.out" || fail "the name is not looked up"
client "$F" sink 1000000 || fail "the other context does not work"
status_is fast state up || fail "$(ask status)"
touch "$TMP/slow"
ok "32 connections wait for a name; the other context of the session works"
wait "$SLOW" || fail "the slow service: $(ask status)"
status_is slow total 32 || fail "$(ask status)"
ok "all 32 connections were served once the name was known"

# During the look-up the client disconnects and its context is removed. The other context still works, and the engine
# can end.
sleep 3 # until the engine has forgotten the last result
rm "$TMP/slow"
timeout 1 python3 "$ROOT/tests/e2e/client.py" "$W" sink 1000 && fail "the client was served before the look-up ended"
[ "$(ask set "fast,$S,$F,session=one")" = "set ok" ] || fail "set"
client "$F" sink 1000 || fail "the other context does not work after the removal"
quit_proxy
wait_for 10 eval "! listening $F" || fail "the listener stays"
ok "a look-up without a waiting client does not prevent the engine from ending"

export GATEWAY=gateway.test
start_proxy login=2 -- "fast,$S,$F"
wait_for 10 status_is fast state resolving || fail "$(ask status)"
sleep 4
touch "$TMP/gateway"
up
status_is fast sessions 1 || fail "$(ask status)"
quit_proxy
wait_for 10 eval "! listening $F" || fail "the listener stays"
ok "a look-up of 4 s with a login_timeout of 2 s"

export GATEWAY=nowhere.test
start_proxy login=2 -- "fast,$S,$F"
wait_for 20 status_is fast error dns || fail "$(ask status)"
quit_proxy
ok "an unknown name is reported as such"

export GATEWAY=dead.test
start_proxy -- "fast,$S,$F"
wait_for 10 status_is fast state resolving || fail "$(ask status)"
quit_proxy
ok "the engine ends while no name server answers"
