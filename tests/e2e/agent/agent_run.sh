#!/usr/bin/env bash
# Tests the agent from start to end: readiness, status as table and JSON, watchdog and SIGTERM. Also tests refused
# configurations, an agent that runs as an unprivileged user, and a login with a password.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
for tool in jq socat nc python3; do command -v "$tool" >/dev/null || skip "no $tool"; done

start_sshd </dev/null
WEB=$(free_port) GATE=$(free_port)
mkdir "$TMP/www"
echo hello >"$TMP/www/index.html"
serve_folder "$WEB" "$TMP/www"
{ gateway_section; reverse web "$WEB" "$GATE"; } >"$CONF"

# ---- --check, --help, --version, usage ----
"$BIN/cmxsafed" --check -c "$CONF" | grep -q "ok: gateway 127.0.0.1 port $SSHD_PORT as $SSHD_USER, 1 pinned host key, 1 context" ||
    fail "--check refuses a good file"
"$BIN/cmxsafed" --help | grep -q -- --check || fail --help
"$BIN/cmxsafed" --version | grep -q '^cmxsafed [0-9]' || fail --version
for bad in --nonsense statsu; do
    "$BIN/cmxsafed" "$bad" 2>"$TMP/err"
    [ $? = 2 ] || fail "$bad is not refused as a usage error"
done
grep -q "did you mean 'status'" "$TMP/err" || fail "no suggestion for statsu"
"$BIN/cmxsafed" --config-reference | cmp - "$ROOT/docs/CONFIG.md" || fail "docs/CONFIG.md is not --config-reference"
ok "usage"

sed "s|^key_file.*|key_file = $KEY|" "$ROOT/examples/linux/cmxsafed.conf" >"$TMP/example.conf"
"$BIN/cmxsafed" --check -c "$TMP/example.conf" | grep -q '2 pinned host keys, 3 contexts' || fail "examples/linux/cmxsafed.conf"

sed 's/^user.*/usr = x/; s/^port = .*/port = 70000/' "$CONF" >"$TMP/bad.conf"
"$BIN/cmxsafed" --check -c "$TMP/bad.conf" 2>"$TMP/err"
[ $? = 1 ] || fail "--check accepts a bad file"
[ "$(grep -c "^$TMP/bad.conf:[0-9]*: " "$TMP/err")" = 3 ] || { cat "$TMP/err"; fail "not all errors are reported as file:line: what"; }
"$BIN/cmxsafed" -c "$TMP/bad.conf" 2>"$TMP/err"
[ $? = 1 ] || fail "the agent starts with a bad file"
grep -q "^cmxsafe: .*; .*--check" "$TMP/err" || fail "the message does not say what to do"
! "$BIN/cmxsafed" --check -c "$TMP/nowhere" 2>/dev/null || fail "--check accepts a missing file"
sed 's/^host_key.*/host_key = gw ssh-ed25519 AAAA/' "$CONF" >"$TMP/bad.conf"
! "$BIN/cmxsafed" --check -c "$TMP/bad.conf" 2>"$TMP/err" || fail "--check does not report the engine's error"
ok "--check reports all errors"
ota() { { cat "$CONF"; printf '[ota]\ninstall = cat\nallow_unsigned = yes\nspool = %s/spool\n' "$TMP"; printf '%s\n' "$@"; } >"$TMP/ota.conf"; }
for unused in "confirm = c" "rollback = r"; do
    ota "$unused"
    "$BIN/cmxsafed" --check -c "$TMP/ota.conf" >"$TMP/out" 2>"$TMP/err" || { cat "$TMP/err"; fail "--check with $unused"; }
    grep -q "\[ota\] without restart, the agent never runs ${unused%% *};" "$TMP/err" || { cat "$TMP/err"; fail "--check does not warn of $unused"; }
done
ota "confirm = c" "rollback = r" "restart = reboot"
"$BIN/cmxsafed" --check -c "$TMP/ota.conf" 2>&1 | lacks 'never runs' || fail "a warning although restart is set"
ok "--check warns of hooks that never run"

# ---- permissions ----
chmod 644 "$KEY"
"$BIN/cmxsafed" -c "$CONF" 2>"$TMP/err" && fail "started with a key that all can read"
grep -q "key_file .*group or others can access it (mode 0644); run: chmod 600" "$TMP/err" || fail "the reason why the key is refused"
chmod 600 "$KEY"
ok "a key that others can read is refused"

# ---- start, readiness, watchdog, status, end ----
socat -u "UNIX-RECV:$TMP/notify" "OPEN:$TMP/notified,creat,append" &
PIDS+=($!)
wait_for 10 test -S "$TMP/notify" || fail "socat"
AGENT_PREFIX=(env NOTIFY_SOCKET="$TMP/notify" WATCHDOG_USEC=2000000 bash -c 'WATCHDOG_PID=$$ exec "$@"' -)
start_agent
AGENT_PREFIX=()
wait_for 60 grep -q READY=1 "$TMP/notified" || fail "no READY=1"
field_is .all_up true || fail "ready before the context is up"
[ "$(curl -sS "http://127.0.0.1:$GATE/")" = hello ] || fail "the web page does not come through"
fed_twice() { [ "$(grep -o WATCHDOG=1 "$TMP/notified" | wc -l)" -ge 2 ]; }
wait_for 10 fed_twice || fail "the watchdog is not fed"
grep -q 'STATUS=1 of 1 contexts up' "$TMP/notified" || fail "no STATUS="
[ "$(stat -c %a "$RUN/s")" = 660 ] || fail "the control socket has a wrong mode"
grep -q '^Max core file size *0 *0 ' "/proc/$AGENT/limits" || fail "a core file could hold its keys: $(grep core "/proc/$AGENT/limits")"
ok "readiness, watchdog, status line"

"$BIN/cmxsafed" status --socket "$RUN/s" >"$TMP/table"
grep -qE "^CONTEXT +LISTENS +LEADS TO +STATE +SINCE +SESSIONS +OPEN +TOTAL +REFUSED +IN +OUT$" "$TMP/table" || fail "wrong head of the table"
grep -qE "^web +gateway:$GATE +device:$WEB +up +[0-9]+ (ms|s) +1 +[0-9] +1 +0 +[0-9.]+ k?B +[0-9.]+ k?B$" "$TMP/table" ||
    { cat "$TMP/table"; fail "wrong row of the table"; }
lacks $'\e' "$TMP/table" || fail "the table has colours without a terminal"
grep -q '^confinement: landlock files: ' "$TMP/table" || fail "confinement is not in the table"
"$BIN/cmxsafed" status -c "$CONF" >/dev/null || fail "status does not find the socket by the configuration file"
context_is web .relays.total 1 || fail "relays.total"
[ "$(context web .bytes_out)" -gt 100 ] || fail "bytes_out"
field_is '.confinement | length' 3 || fail "the JSON lacks a part of the confinement"
for word in "status json" "status table color" status; do
    printf '%s\r\n' "$word" | nc -N -U "$RUN/s" | grep -q web || fail "answer to '$word'"
done
printf 'statsu\n' | nc -N -U "$RUN/s" | json_is '.error | test("did you mean .status.")' >/dev/null || fail "an unknown command gets no suggestion"
printf 'status nonsense\n' | nc -N -U "$RUN/s" | json_is .error >/dev/null || fail "an unknown argument is not refused"
head -c 5000 /dev/zero | nc -N -U "$RUN/s" | json_is .error >/dev/null || fail "garbage"
ok "status as table and JSON, errors"

"$BIN/cmxsafed" status --socket "$RUN/s" >/dev/full 2>"$TMP/err" && fail "status succeeds although its output can't be written"
equal "$(cat "$TMP/err")" "cmxsafe: writing the output failed: No space left on device" || fail "wrong message about a full disk: $(cat "$TMP/err")"
# If an agent ends in the middle of its answer, `status` reports an error and prints no part of the answer.
socat "UNIX-LISTEN:$TMP/cut" SYSTEM:'read -r line; printf "{\"version\":\"0\",\"conte"' &
PIDS+=($!)
wait_for 10 test -S "$TMP/cut" || fail "socat"
"$BIN/cmxsafed" status --json --socket "$TMP/cut" >"$TMP/out" 2>"$TMP/err" && fail "a part of an answer is accepted"
[ ! -s "$TMP/out" ] && grep -q "the agent gave no answer" "$TMP/err" || { cat "$TMP/out" "$TMP/err"; fail "status prints a part of an answer, or a wrong message"; }
timeout 10 "$BIN/cmxsafed" status --watch=60 --socket "$TMP/nowhere" 2>"$TMP/err"
[ $? = 1 ] || fail "--watch waits before it reports that no agent answers"
ok "status reports a full disk, a cut answer and a missing agent"

# Idle clients of the control socket are disconnected soon and do not block other clients.
python3 -c '
import socket, sys, time
held = [socket.socket(socket.AF_UNIX) for _ in range(12)]
for s in held: s.connect(sys.argv[1])
open(sys.argv[2], "w").close()
time.sleep(60)' "$RUN/s" "$TMP/held" &
PIDS+=($!)
wait_for 20 test -e "$TMP/held" || fail "the idle clients are not accepted"
wait_for 20 json || fail "idle clients keep other clients from being served"
ok "idle clients"

"$BIN/cmxsafed" -c "$CONF" 2>"$TMP/err" && fail "a second agent starts on the same socket"
grep -q 'another cmxsafed answers there' "$TMP/err" || { cat "$TMP/err"; fail "the message does not say why the second agent is refused"; }
end_agent
wait_for 10 grep -q STOPPING=1 "$TMP/notified" || fail "no STOPPING=1"
wait_for 10 prints_no . ss -Hltn "sport = :$GATE" || fail "the gateway's listener is still open"
"$BIN/cmxsafed" status --socket "$RUN/s" 2>"$TMP/err" && fail "status succeeds without an agent"
grep -q "^cmxsafe: .*: no agent answers; " "$TMP/err" || fail "status does not say what to do without an agent"
ok "SIGTERM"

# ---- the socket of an agent that was killed is replaced; an unreachable gateway delays READY by at most one login attempt ----
python3 -c "import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])" "$RUN/s"
: >"$TMP/notified"
sed "s/^port = .*/port = $(free_port)/" "$CONF" >"$TMP/dead.conf"
GOOD=$CONF CONF=$TMP/dead.conf
AGENT_PREFIX=(env NOTIFY_SOCKET="$TMP/notify")
start_agent
AGENT_PREFIX=()
wait_for 25 grep -q READY=1 "$TMP/notified" || fail "READY waits for an unreachable gateway"
context_is web .last_error.code refused || { json; fail "the status lacks the cause of the failure"; }
[ "$(context web .last_error.age_ms)" -lt 30000 ] || fail "the failure in the status is too old"
end_agent
CONF=$GOOD
ok "an unreachable gateway"

# ---- started with closed standard streams: no socket gets descriptor 0, 1 or 2, where log lines go; a low soft limit
# on open files is raised ----
soft_limit_is_at_least() { [ "$(awk '/^Max open files/ {print $4}' "/proc/$AGENT/limits")" -ge "$1" ]; }
AGENT_PREFIX=(bash -c 'ulimit -Sn 64; exec "$@" <&- >&- 2>&-' -)
start_agent
wait_up
for n in 0 1 2; do equal "$(readlink "/proc/$AGENT/fd/$n")" /dev/null || fail "descriptor $n"; done
soft_limit_is_at_least 140 || fail "the soft limit of open files is below 140"
cp "$CONF" "$TMP/before.conf"
{ printf 'max_connections = 300\n'; } >>"$CONF"
kill -HUP "$AGENT"
wait_for 20 soft_limit_is_at_least 300 || fail "a reload that permits more connections does not raise the limit"
end_agent
# If the agent's HTTP services start while the limit on open files is at most 1,024 (FD_SETSIZE), they can never use
# descriptors from 1,024 on. A reload therefore does not raise the limit above 1,024.
head -c 32 /dev/urandom >"$TMP/hwkey" && chmod 600 "$TMP/hwkey"
{ cat "$TMP/before.conf"; printf '[identity]\nkey_file = %s\n[attest]\nenabled = yes\nport = %s\n' "$TMP/hwkey" "$(free_port)"; } >"$CONF"
AGENT_PREFIX=(bash -c 'ulimit -Sn 64; exec "$@"' -)
start_agent
wait_up
sed 's/^\[identity\]/max_connections = 1024\n&/' "$CONF" >"$TMP/many.conf" && cp "$TMP/many.conf" "$CONF"
kill -HUP "$AGENT"
wait_for 20 logged "the limit is 1024 until the agent restarts" || fail "a reload that needs more than 1,024 descriptors does not log the limit"
equal "$(awk '/^Max open files/ {print $4}' "/proc/$AGENT/limits")" 1024 || fail "the limit was raised above 1,024, where the services drop descriptors"
end_agent
AGENT_PREFIX=()
cp "$TMP/before.conf" "$CONF"
ok "closed standard streams, few descriptors"

# ---- a link in a permitted folder leads to a file in another folder: confinement permits that folder too ----
ELSEWHERE=$(mktemp -d)
cp "$KEY" "$ELSEWHERE/key" && ln -s "$ELSEWHERE/key" "$TMP/key_link"
sed "s|^key_file.*|key_file = $TMP/key_link|" "$TMP/before.conf" >"$ELSEWHERE/conf"
rm "$CONF" && ln -s "$ELSEWHERE/conf" "$CONF"
start_agent
wait_up
sed -i 's/^remote_port = .*/&\nmax_connections = 7/' "$ELSEWHERE/conf"
: >"$AGENT_LOG"
kill -HUP "$AGENT"
wait_for 20 logged "read again" || fail "a reload through a link fails"
end_agent
rm "$CONF" && cp "$TMP/before.conf" "$CONF" && rm -r "$ELSEWHERE"
ok "links to files elsewhere"

# ---- journald ----
bash -c 'exec 2>"$1"; JOURNAL_STREAM=$(stat -Lc %d:%i /dev/stderr) exec "$2" -c "$3"' - "$TMP/journal.log" "$BIN/cmxsafed" "$CONF" &
AGENT=$!
PIDS+=("$AGENT")
wait_up
end_agent
[ -s "$TMP/journal.log" ] && lacks -v '^<[0-7]>' "$TMP/journal.log" || fail "lines for journald lack their priority"
ok "journald"

if [ "$(id -u)" = 0 ]; then
    # ---- as nobody ----
    chown nobody "$RUN"
    cp "$KEY" "$TMP/nobody_key"
    chown nobody "$TMP/nobody_key"
    CREDENTIAL="key_file = $TMP/nobody_key"
    { gateway_section; reverse web "$WEB" "$GATE"; } >"$CONF"
    AGENT_PREFIX=(setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all)
    start_agent
    wait_up
    [ "$(ps -o user= -p "$AGENT")" = nobody ] || fail "does not run as nobody"
    [ "$(awk '/^CapEff/ {print $2}' "/proc/$AGENT/status")" = 0000000000000000 ] || fail "has capabilities"
    [ "$(curl -sS "http://127.0.0.1:$GATE/")" = hello ] || fail "the service is not reachable through an agent of the user nobody"
    end_agent
    ok "unprivileged"

    # ---- with a password; this sshd has its own account files ----
    AGENT_PREFIX=()
    { grep -v '^device:' /etc/passwd; echo "device:x:4711:65534::$TMP:/bin/sh"; } >"$TMP/passwd"
    { grep -v '^device:' /etc/shadow; echo "device:$(openssl passwd -6 s3cret-word):19000:0:99999:7:::"; } >"$TMP/shadow"
    kill "$SSHD_PID"
    SSHD_PORT=$(free_port)
    SSHD_PREFIX="unshare -m bash -c 'mount --bind $TMP/passwd /etc/passwd && mount --bind $TMP/shadow /etc/shadow && exec \"\$@\"' -"
    echo 'exec '"$SSHD_PREFIX"' "$@"' >"$TMP/with_accounts"
    SSHD_PREFIX="bash $TMP/with_accounts" start_sshd <<<'PasswordAuthentication yes'
    if wait_for 10 listening "$SSHD_PORT"; then
        (umask 077 && echo s3cret-word >"$TMP/password")
        GATEWAY_USER=device CREDENTIAL="password_file = $TMP/password"
        { gateway_section; reverse web "$WEB" "$GATE"; } >"$CONF"
        start_agent
        wait_up
        [ "$(curl -sS "http://127.0.0.1:$GATE/")" = hello ] || fail "the service is not reachable after a login with a password"
        prints_no s3cret json || fail "the password is in the status"
        end_agent
        ! logged s3cret || fail "the password is in the log"
        echo wrong >"$TMP/password"
        start_agent
        wait_for 30 context_is web .last_error.code auth || fail "the refusal of a wrong password is not reported"
        end_agent
        ok "password"
    else
        skip_part "password login: no mount namespace"
    fi
fi
