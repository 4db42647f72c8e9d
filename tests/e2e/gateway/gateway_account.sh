#!/usr/bin/env bash
# The gateway's account is compromised, and its processes replace the files in the folder 'run'. They must not keep root's commands
# waiting: commands hold the gateway's lock, so no grant could be removed meanwhile.
. "$(dirname "$0")/../gateway_system_lib.sh"
system_gateway
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null && gw grant user:1234 cam-17 >/dev/null || fail "enroll"
account() { setpriv --reuid cmxsafe-gw --regid cmxsafe-gw --clear-groups "$@"; }
# in_time COMMAND...: succeeds if the command ends within its time.
in_time() { timeout 90 "$@" >"$TMP/out" 2>&1; [ $? -lt 124 ]; }

account sh -c 'rm -f "$1/run/lock" && mkfifo "$1/run/lock"' - "$GW" || fail "the account can't replace the lock"
for command in init "grant --remove user:1234 cam-17" doctor; do
    in_time "$BIN/cmxsafe" gateway $command || fail "'$command' waits for a FIFO in place of the lock: $(cat "$TMP/out")"
done
account rm "$GW/run/lock"
ok "a FIFO in place of the lock keeps no command waiting"

# The account's process takes the place of the gateway, and sends a byte of its answer every 5 s, for ever.
cat >"$TMP/slow.py" <<'PY'
import os, socket, sys, threading, time
os.chdir(sys.argv[1])
s = socket.socket(socket.AF_UNIX); s.bind("control"); s.listen(16)
def talk(c):
    try:
        while True:
            c.sendall(b" "); time.sleep(5)
    except OSError:
        pass
while True:
    threading.Thread(target=talk, args=(s.accept()[0],), daemon=True).start()
PY
account rm -f "$GW/run/control"
account /usr/bin/python3 -c "$(cat "$TMP/slow.py")" "$GW/run" & PIDS+=("$!")
wait_for 10 test -S "$GW/run/control" || fail "no socket of the account"
in_time "$BIN/cmxsafe" gateway grant user:1235 cam-17 || fail "a command waits for an answer without an end: $(cat "$TMP/out")"
grep -q 'the running gateway does not answer' "$TMP/out" || fail "the command does not say why it failed: $(cat "$TMP/out")"
ok "an answer without an end keeps no command waiting"
