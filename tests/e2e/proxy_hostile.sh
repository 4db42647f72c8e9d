#!/usr/bin/env bash
# A hostile gateway: floods, silence, sudden closes and garbage at every stage. The engine stays bounded, says what is wrong, goes on.
. "$(dirname "$0")/lib.sh"

PYTHON=$(python_with asyncssh==2.24.1) || fail "asyncssh cannot be installed"
S=$(free_port) R=$(free_port)
start_sshd </dev/null
export REAL_PORT=$SSHD_PORT
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"

hostile() { # hostile WHAT: on a port of its own; sets SSHD_PORT
    SSHD_PORT=$(free_port)
    "$PYTHON" "$ROOT/tests/e2e/hostile.py" "$SSHD_PORT" "$TMP/host_ed25519" "$TMP/authorized_keys" "$1" >"$TMP/hostile.out" 2>"$TMP/hostile.log" &
    HOSTILE=$!; PIDS+=("$HOSTILE")
    wait_for 20 listening "$SSHD_PORT" || fail "hostile $1"
}

hostile flood
start_proxy -- "echo,$S,$R,max=8"
up
wait_for 60 grep -q "^flood" "$TMP/hostile.out" || fail "the flood did not end: $(ask status)"
grep -q "opened=8 refused=292 unlisted=300 other=20" "$TMP/hostile.out" || fail "$(cat "$TMP/hostile.out")"
! grep -q $'\e' "$TMP/proxy.log" || fail "the gateway can write control characters to the log"
PEAK=$(ask mem | sed -nE 's/.*peak=([0-9]+).*/\1/p')
[ "$PEAK" -lt 150000 ] || fail "peak of our heap $PEAK"
wait_for 20 status_is echo open 0 || fail "$(ask status)"
ok "flood of 620 channel opens: 8 taken, 612 refused; peak of our heap $PEAK bytes"
quit_proxy; stop "$HOSTILE"

hostile deny; start_proxy -- "echo,$S,$R"
wait_for 20 status_is echo error forward-refused || fail "deny: $(ask status)"; quit_proxy; stop "$HOSTILE"
hostile mute; start_proxy keepalive=1 keepalive_max=3 -- "echo,$S,$R"
wait_for 30 status_is echo error timeout || fail "mute: $(ask status)"; quit_proxy; stop "$HOSTILE"
ok "forward denied, forward never answered"

# Each answer waits in the device's memory: it must not hold as many as the gateway likes.
hostile drown; start_proxy -- "echo,$S,$R"
wait_for 90 grep -qE "^(lost|drowned)" "$TMP/hostile.out" || fail "drown: $(ask status)"
grep -q "^lost" "$TMP/hostile.out" || fail "60,000 answers wait for a gateway that reads none: $(ask status)"
wait_for 10 status_is echo error protocol || fail "drown: $(ask status)"
quit_proxy; stop "$HOSTILE"
ok "a gateway that asks and does not read the answers"

stage() { # stage WHAT ERROR...: one of the errors must be said
    local what=$1 e; shift
    hostile "$what"
    start_proxy login=2 -- "echo,$S,$R"
    seen() { e=$(status_of echo error); case " $* " in *" $e "*) return 0 ;; esac; return 1; }
    wait_for 20 seen "$@" || fail "$what: $(ask status)"
    status_is echo sessions 0 || fail "$what: logged in?"
    quit_proxy; stop "$HOSTILE"
    ok "$what: $e"
}
stage silent timeout
stage banner-silent timeout
stage dribble timeout
stage close closed protocol
stage banner-close closed protocol
stage garbage protocol closed
stage banner-garbage protocol closed
stage endless protocol closed timeout
for n in 1 2 3 4; do
    stage "stage-$n-silent" timeout
    stage "stage-$n-close" closed protocol
done
