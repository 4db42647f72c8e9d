#!/usr/bin/env bash
# cmxsafe logs in with user and host names that OpenSSH accepts but libssh's options refuse. /etc/hosts of a mount
# namespace defines the host names.
. "$(dirname "$0")/../lib.sh"

[ "$(id -u)" = 0 ] || skip "needs root for a mount namespace"
S=$(free_port) R=$(free_port)
PYTHON=$(python_with asyncssh==2.24.1) || fail "asyncssh cannot be installed"
start_sshd </dev/null
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"

cat >"$TMP/hosts" <<<"127.0.0.1 localhost my_gateway gateway- a_b.example"
cat >"$TMP/driver" <<'DRIVER'
#!/usr/bin/env bash
# driver ARGUMENTS: runs proxy_run with another hosts file, host name and user name.
shift; port=$1 user=$2; shift 2
exec unshare -m sh -c 'mount --bind "$1" /etc/hosts && shift && exec "$@"' sh "$HOSTS" "$RUN" "$NAME" "$port" "${USER_NAME:-$user}" "$@"
DRIVER
chmod +x "$TMP/driver"
export HOSTS=$TMP/hosts RUN=$BIN/proxy_run
BIN=$TMP PROXY_DRIVER=driver

for NAME in my_gateway gateway- a_b.example; do
    export NAME
    start_proxy -- "echo,$S,$R"
    up
    python3 "$ROOT/tests/e2e/client.py" "$R" sink 1000 || fail "$NAME: nothing passes"
    quit_proxy
    wait_for 10 eval "! listening $R" || fail "the listener stays"
    ok "host name $NAME"
done

# This server accepts any user name and prints it.
SSHD_PORT=$(free_port)
"$PYTHON" "$ROOT/tests/e2e/hostile.py" "$SSHD_PORT" "$TMP/host_ed25519" "$TMP/authorized_keys" names >"$TMP/hostile.out" 2>"$TMP/hostile.log" & PIDS+=($!)
wait_for 20 listening "$SSHD_PORT" || fail "server"
export NAME=localhost USER_NAME
for USER_NAME in 'DOM\me' 'a;b' "o'brien" '-dash' 'me@example.org' '%u' 'back\'; do
    start_proxy -- "echo,$S,$R"
    up
    quit_proxy
    grep -qxF "user $USER_NAME" "$TMP/hostile.out" || fail "$USER_NAME: $(tail -n 1 "$TMP/hostile.out")"
    ok "user name $USER_NAME"
done
