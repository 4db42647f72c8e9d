#!/usr/bin/env bash
# Runs a sketch against a real sshd. The sketch has the lines of CMXsafe-ESP32's README, and a settings.h in the form of
# CMXsafe-ESP32's. It is compiled as C and as C++. Its three contexts have one session each, or one shared session.
if [ -z "${CMX_IN_NETNS:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "SKIPPED: ports such as 81 and the address in settings.h need a network namespace, which needs root" >&2; exit 77; }
    exec env CMX_IN_NETNS=1 unshare -n bash "$0"
fi
. "$(dirname "$0")/../lib.sh"

ip link set lo up
ip addr add 172.20.10.4/32 dev lo # SSH_REMOTE_HOST
SSHD_ADDRESS=172.20.10.4
SSHD_PORT=2233
start_sshd <<<'GatewayPorts clientspecified'

answers() { curl -fsS --max-time 10 "http://127.0.0.2:$1/" | grep -qx "service on $1"; }
logins() { grep -c 'Accepted publickey' "$TMP/sshd.log"; }

sketch() { # sketch PROGRAM SESSIONS [shared]: runs a sketch and checks its three services and the number of sessions
    local program=$1 sessions=$2 before pid port
    shift 2
    before=$(logins)
    "$BIN/$program" "$PIN" "$KEY" "$SSHD_USER" "$@" 2>"$TMP/$program.log" &
    pid=$!
    PIDS+=("$pid")
    for port in 81 8989 8888; do wait_for 30 answers "$port" || fail "$program: port $port is not reachable"; done
    [ $(($(logins) - before)) = "$sessions" ] || fail "$program: $(($(logins) - before)) sessions instead of $sessions"
    kill "$pid"
    wait "$pid" || fail "$program ended with $?"
    no_sanitizer_report "$TMP/$program.log" || fail "a sanitizer complains"
    ok "$program $*: three services, $sessions session(s)"
}

sketch sketch_c 3
sketch sketch_cpp 3
sketch sketch_cpp 1 shared

# The settings.h of CMXsafe-ESP32 contains no host key. Without one the sketch logs an error and does not connect.
before=$(logins)
"$BIN/sketch_c" "" "$KEY" "$SSHD_USER" 2>"$TMP/nopin.log" &
pid=$!
PIDS+=("$pid")
wait_for 10 grep -q 'gateway host_key: missing' "$TMP/nopin.log" || fail "a missing pin is not reported"
kill "$pid"
wait "$pid"
[ "$(logins)" = "$before" ] || fail "logged in without a pin"
ok "a missing pin is reported, and no connection is made"
