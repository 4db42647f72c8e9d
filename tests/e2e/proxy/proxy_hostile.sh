#!/usr/bin/env bash
# A hostile gateway: floods, silence, sudden closes and garbage at every stage. The engine's memory stays bounded; it
# reports the cause and keeps trying.
. "$(dirname "$0")/../lib.sh"

PYTHON=$(python_with asyncssh==2.24.1) || fail "asyncssh cannot be installed"
S=$(free_port) R=$(free_port)
start_sshd </dev/null
export REAL_PORT=$SSHD_PORT
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"

hostile() { # hostile WHAT: starts hostile.py on a free port; sets SSHD_PORT
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
lacks $'\e' "$TMP/proxy.log" || fail "the gateway can write control characters to the log"
LINES=$(grep -c "refused" "$TMP/proxy.log")
[ "$LINES" -le 60 ] || fail "the flood of 612 refused channels wrote $LINES log lines"
grep -q "lines like the next one were left out\|refused" "$TMP/proxy.log" || fail "the flood is not in the log"
PEAK=$(ask mem | sed -nE 's/.*peak=([0-9]+).*/\1/p')
[ "$PEAK" -lt 150000 ] || fail "our heap grew to $PEAK bytes"
wait_for 20 status_is echo open 0 || fail "$(ask status)"
ok "flood of 620 channel opens: 8 accepted, 612 refused; peak of our heap $PEAK bytes"
quit_proxy; stop "$HOSTILE"

hostile deny; start_proxy -- "echo,$S,$R"
wait_for 20 status_is echo error forward-refused || fail "deny: $(ask status)"; quit_proxy; stop "$HOSTILE"
hostile mute; start_proxy keepalive=1 keepalive_max=3 -- "echo,$S,$R"
wait_for 30 status_is echo error timeout || fail "mute: $(ask status)"; quit_proxy; stop "$HOSTILE"
ok "forward denied, forward never answered"

# Unread answers wait in the device's memory: their number must be bounded.
hostile drown; start_proxy -- "echo,$S,$R"
wait_for 90 grep -qE "^(lost|drowned)" "$TMP/hostile.out" || fail "drown: $(ask status)"
grep -q "^lost" "$TMP/hostile.out" || fail "the session did not end although 60,000 answers wait for a gateway that reads none: $(ask status)"
wait_for 10 status_is echo error protocol || fail "drown: $(ask status)"
quit_proxy; stop "$HOSTILE"
ok "a gateway that sends requests and does not read the answers"

# The session must stay up. asyncssh would end it if the device sent a WINDOW_ADJUST after its CLOSE.
hostile uploads; start_proxy -- "echo,$S,$R"
up
wait_for 90 grep -qE "^(lost|uploaded)" "$TMP/hostile.out" || fail "uploads: $(ask status)"
grep -q "^uploaded" "$TMP/hostile.out" || fail "uploads: the gateway ended the session: $(cat "$TMP/hostile.log")"
status_is echo sessions 1 || fail "uploads: $(ask status)"
quit_proxy; stop "$HOSTILE"
ok "the device resets 20 uploads, and its session stays up"

# A session that ends soon after the login does not count as a success: the waits between attempts grow beyond the first
# wait (0.5 s).
: >"$TMP/proxy.log"
hostile brief; start_proxy base=500 max=60000 -- "echo,$S,$R"
granted() { [ "$(grep -c granted "$TMP/hostile.out")" -ge 7 ]; }
wait_for 120 granted || fail "brief: $(ask status)"
quit_proxy; stop "$HOSTILE"
sed -nE 's/.*next attempt in ([0-9]+)\.([0-9]) s$/\1\2/p' "$TMP/proxy.log" | awk '$1 > 5 { longer++ } END { exit !longer }' ||
    fail "brief: every wait is short: $(grep -o "next attempt.*" "$TMP/proxy.log" | tr '\n' ' ')"
ok "a gateway that ends each session after the login: the waits grow"

stage() { # stage WHAT ERROR...: runs hostile.py WHAT and checks that the engine reports one of these errors
    local what=$1 e; shift
    hostile "$what"
    start_proxy login=2 -- "echo,$S,$R"
    seen() { e=$(status_of echo error); case " $* " in *" $e "*) return 0 ;; esac; return 1; }
    wait_for 20 seen "$@" || fail "$what: $(ask status)"
    status_is echo sessions 0 || fail "$what: a session was counted"
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
