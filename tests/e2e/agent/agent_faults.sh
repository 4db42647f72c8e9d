#!/usr/bin/env bash
# Disturbs an agent: signals during the start, a control socket that is removed, a FIFO as its key, SIGSTOP for a while, a
# gateway that accepts connections but sends nothing, and a spool on a full disk. Also tests `status --watch`.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
for tool in jq python3; do command -v "$tool" >/dev/null || skip "no $tool"; done

start_sshd </dev/null
WEB=$(free_port) GATE=$(free_port)
mkdir "$TMP/www"
echo hello >"$TMP/www/index.html"
serve_folder "$WEB" "$TMP/www"
{ gateway_section; reverse web "$WEB" "$GATE"; } >"$CONF"
serves() { [ "$(curl -sS --max-time 10 "http://127.0.0.1:$GATE/" 2>/dev/null)" = hello ]; }

# ---- signals ----
# The agent blocks SIGHUP before it reads its configuration, so that a reload during the start does not end it.
if command -v strace >/dev/null; then
    timeout 20 strace -o "$TMP/trace" "$BIN/cmxsafed" -c "$TMP/none.conf" 2>/dev/null
    grep -n 'rt_sigprocmask(SIG_BLOCK, \[HUP INT TERM\]' "$TMP/trace" | head -n 1 >"$TMP/blocked"
    grep -n "$TMP/none.conf\", " "$TMP/trace" | head -n 1 >"$TMP/read"
    [ -s "$TMP/blocked" ] && [ -s "$TMP/read" ] && [ "$(cut -d: -f1 "$TMP/blocked")" -lt "$(cut -d: -f1 "$TMP/read")" ] ||
        { cat "$TMP/blocked" "$TMP/read"; fail "SIGHUP ends an agent that starts"; }
else
    skip_part "SIGHUP during the start: no strace"
fi
start_agent
wait_up
for signal in USR1 USR2 PIPE CHLD WINCH; do kill -"$signal" "$AGENT"; done
sleep 0.2
serves || fail "a signal ended the agent"
ok "signals"

# ---- the control socket is removed ----
rm "$RUN/s"
wait_for 20 json || fail "a removed control socket is not made again"
[ "$(stat -c %a "$RUN/s")" = 660 ] || fail "the new control socket has a wrong mode"
logged "$RUN/s was removed" || fail "the removal of the socket is not logged"
ok "a control socket that is removed is made again"

# ---- status --watch ----
"$BIN/cmxsafed" status --socket "$RUN/s" --watch=1 >"$TMP/watched" & WATCH=$!; PIDS+=("$WATCH")
repeated() { [ "$(grep -c '^CONTEXT ' "$TMP/watched")" -ge 2 ]; }
wait_for 10 repeated || { cat "$TMP/watched"; fail "--watch does not repeat the table"; }
stop "$WATCH"
ok "status --watch"

# ---- SIGSTOP and SIGCONT: the session survives ----
kill -STOP "$AGENT"
sleep 5
kill -CONT "$AGENT"
wait_for 20 serves || fail "the service is not reachable after SIGCONT"
equal "$(context web .sessions)" 1 || fail "the session ended while the agent was stopped for 5 s"
! logged stuck || fail "a stop counts as a stuck task"
ok "SIGSTOP and SIGCONT"

# ---- the key of the login is a FIFO for a while ----
mv "$KEY" "$KEY.away" && mkfifo "$KEY" || fail "mkfifo"
for pid in $(sshd_children); do kill "$pid" 2>/dev/null; done
wait_for 20 logged "key file $KEY: not a readable private key" || fail "the agent does not report the FIFO"
mv "$KEY.away" "$KEY"
wait_up
wait_for 20 serves || fail "the session does not return"
end_agent
ok "a FIFO in place of the key does not stop the session for ever"

# ---- two agents that start at the same time: the second must not take the socket of the first for a stale one ----
if command -v strace >/dev/null; then
    strace -o "$TMP/trace" -e trace=listen -e inject=listen:delay_enter=1000000 "$BIN/cmxsafed" -c "$CONF" >"$TMP/first.log" 2>&1 &
    STRACE=$!
    PIDS+=("$STRACE")
    wait_for 20 test -S "$RUN/s" || fail "the first agent creates no socket"
    timeout 20 "$BIN/cmxsafed" -c "$CONF" 2>"$TMP/second.log"; code=$?
    [ "$code" = 1 ] && grep -q "another cmxsafed answers there" "$TMP/second.log" || { cat "$TMP/second.log"; fail "two agents: $code"; }
    wait_up
    kill -TERM "$(pgrep -P "$STRACE")"
    wait "$STRACE" || fail "the first agent ends with an error"
    ok "of two agents that start at the same time, the second ends"
else
    skip_part "two agents that start at the same time: no strace"
fi

# ---- a gateway that accepts connections but sends nothing: reload, status and stop do not wait for the login ----
SILENT=$(free_port)
python3 -c '
import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(8)
held = []
while True: held.append(s.accept())' "$SILENT" &
PIDS+=($!)
wait_for 20 listening "$SILENT" || fail "the silent gateway does not listen"
sed "s/^port = .*/port = $SILENT/" "$CONF" >"$TMP/silent.conf"
CONF=$TMP/silent.conf
: >"$AGENT_LOG"
start_agent
wait_for 20 context_is web .state handshake || { json; fail "no login"; }
: >"$AGENT_LOG"
kill -HUP "$AGENT"
wait_for 20 logged "read again" || fail "a reload waits for the login"
sed "s/^port = .*/port = $SSHD_PORT/" "$TMP/silent.conf" >"$TMP/next.conf" && mv "$TMP/next.conf" "$CONF"
kill -HUP "$AGENT"
wait_for 30 serves || fail "a reload does not take a session away from a silent gateway"
end_agent
ok "a silent gateway"

# ---- a spool on a full disk, and one that reaches the limit for the size of a file ----
# full COMMAND...: runs the agent with COMMAND as its prefix. The spool can hold 256 KB.
full() {
    local port gate
    AGENT_PREFIX=("$@")
    rm -f "$TMP/installed"
    port=$(free_port) gate=$(free_port)
    CONF=$TMP/full.conf
    { gateway_section; printf '[ota]\nallow_unsigned = yes\ninstall = cat >%s/installed\nspool = %s/spool\nport = %s\n' "$TMP" "$TMP/small" "$port"
      reverse ota "$port" "$gate"; } >"$CONF"
    start_agent
    wait_up
    head -c 2000000 /dev/urandom >"$TMP/large"
    head -c 2000 /dev/urandom >"$TMP/little"
    code=$(curl -sS -m 60 -o "$TMP/answer" -w '%{http_code}' --data-binary "@$TMP/large" "http://127.0.0.1:$gate/update")
    [ "$code" -ge 400 ] && [ ! -e "$TMP/installed" ] || { cat "$TMP/answer"; fail "an upload to a full disk is not refused: HTTP status $code"; }
    code=$(curl -sS -m 60 -o "$TMP/answer" -w '%{http_code}' --data-binary "@$TMP/little" "http://127.0.0.1:$gate/update")
    [ "$code" = 200 ] && cmp "$TMP/installed" "$TMP/little" || { cat "$TMP/answer"; fail "an upload after the disk was full: $code"; }
    end_agent
}
mkdir "$TMP/small"
(set +e; full prlimit --fsize=262144) || fail "an upload check fails under a limit for file sizes"
ok "uploads under a limit for file sizes"
if mount -t tmpfs -o size=256k none "$TMP/small" 2>/dev/null; then
    (set +e; full) || fail "a full disk"
    umount "$TMP/small"
    ok "a full disk"
else
    skip_part "a full disk: no mount"
fi

# ---- no file descriptors left ----
# Threads that find no descriptor must wait, not try again at once. The connections to all listeners stay open. The control
# socket and the sessions work, and once there are descriptors, the services do too.
CONF=$TMP/files.conf
AGENT_PREFIX=()
PORT=$(free_port) SERVICE=$(free_port) DIRECT=$(free_port)
head -c 32 /dev/urandom >"$TMP/hmac" && chmod 600 "$TMP/hmac"
{ gateway_section; printf '[identity]\nkey_file = %s\n[attest]\nenabled = yes\nport = %s\n' "$TMP/hmac" "$PORT"; reverse web "$WEB" "$GATE"; reverse service "$PORT" "$SERVICE"
  printf '[context direct]\ndirection = direct\nlocal_port = %s\nremote_host = 127.0.0.1\nremote_port = %s\n' "$DIRECT" "$WEB"; } >"$CONF"
start_agent
wait_up
free=0
while [ -e "/proc/$AGENT/fd/$free" ]; do free=$((free + 1)); done
ticks() { awk '{ print $14 + $15 }' "/proc/$AGENT/stat"; }
python3 - "$AGENT" "$free" "$PORT" "$DIRECT" "$GATE" "$SERVICE" >"$TMP/held" 2>&1 <<'PY' &
import resource, socket, sys, time
agent, free = int(sys.argv[1]), int(sys.argv[2])
hard = resource.prlimit(agent, resource.RLIMIT_NOFILE)[1]
for spare in 0, 1, 2:  # the number of descriptors that are left
    resource.prlimit(agent, resource.RLIMIT_NOFILE, (free + spare, hard))
    held = []
    for port in sys.argv[3:]:
        for i in range(12):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", int(port)))
            held.append(s)
    print("held", spare, flush=True)
    time.sleep(6)
    for s in held:
        s.close()
    time.sleep(1)
resource.prlimit(agent, resource.RLIMIT_NOFILE, (1024, hard))
print("free", flush=True)
PY
PIDS+=($!)
for spare in 0 1 2; do
    wait_for 30 grep -q "held $spare" "$TMP/held" || { cat "$TMP/held"; fail "no connections"; }
    sleep 1
    before=$(ticks)
    sleep 4
    [ $(($(ticks) - before)) -lt $(($(getconf CLK_TCK) * 2)) ] || { cat "$AGENT_LOG"; fail "the agent uses the processor while it has $spare descriptors left"; }
    timeout 10 "$BIN/cmxsafed" status --socket "$RUN/s" >/dev/null || fail "no status with $spare descriptors left"
done
wait_for 30 grep -q free "$TMP/held" || fail "the limit is not removed"
wait_for 30 serves || fail "the service does not work again"
[ "$(curl -sS -m 20 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$SERVICE/evidence?nonce=0011223344556677")" = 200 ] || fail "attestation does not work again"
end_agent
ok "no file descriptors left"
