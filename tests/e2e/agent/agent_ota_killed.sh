# Updates of a Linux device while processes are killed: the processes that run the hooks, the hooks, and the agent. Each
# update must be confirmed, rolled back or refused nevertheless.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
command -v jq >/dev/null || skip "no jq"
cd "$TMP" || exit 1
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
"$BIN/cmxsafe" image key --key k.pem --pem >k.pub
for b in bundle1 bundle2; do
    head -c 300000 /dev/urandom >$b
    "$BIN/cmxsafe" image sign --opaque --key k.pem --out $b.signed $b >/dev/null || fail "sign"
done
start_sshd </dev/null
PORT=$(free_port) GATE=$(free_port)
URL=http://127.0.0.1:$GATE
for hook in install confirm rollback restart; do
    # Each hook notes its call. While the file hang.HOOK exists, it waits for a child that does not end.
    cat >$hook <<SH
#!/bin/sh
cd $TMP
[ $hook != install ] || cat >installed
echo $hook >>calls
[ ! -e hang.$hook ] || sleep 300
exec test ! -e refuse.$hook
SH
    chmod +x $hook
done
config() { # config CONFIRM_WITHIN
    {
        gateway_section
        printf '[ota]\nkey_file = %s/k.pub\nspool = %s/spool\nport = %s\nversion = cat %s/version\nconfirm_within = %s\n' "$TMP" "$TMP" "$PORT" "$TMP" "$1"
        for hook in install confirm rollback restart; do printf '%s = %s/%s\n' $hook "$TMP" $hook; done
        reverse ota "$PORT" "$GATE"
    } >"$CONF"
}
get() { curl -sS -m 10 "$URL/update" 2>/dev/null | jq -r "$1"; }
is() { [ "$(get "$1")" = "$2" ]; }
boot() { export CMXSAFED_BOOT_ID=boot-$1; start_agent; } # boot N: starts the agent in the machine's boot N
called() { [ "$(grep -cx "$1" calls)" -ge "${2:-1}" ]; }
upload() { curl -sS -m 60 -o answer -w '%{http_code}' -F "update=@$1.signed" "$URL/update"; }
runners() { pgrep -r R,S,D -f "^$BIN/cmxsafed -c $CONF\$" | grep -vx "$AGENT"; } # prints the two processes that can run hooks: a parent and its child
runner() { # prints the one of them that runs the hooks: the child, or the only one that is left
    local all pid
    all=$(runners)
    for pid in $all; do [ "$pid" != "$all" ] && ! grep -qx "$(ps -o ppid= "$pid" | tr -d ' ')" <<<"$all" || echo "$pid"; done
}
replaced() { [ "$(runners | wc -l)" = 2 ] && [ "$(runners | grep -cx "$1")" = 0 ]; }
kill_parent() { # kills the process in which no hook runs
    local parent
    parent=$(runners | grep -vx "$(runner)")
    kill -KILL "$parent"
    wait_for 20 replaced "$parent" || fail "the killed process is not replaced"
}
hook_pid() { pgrep -P "$(runner)"; }
sleeper() { # prints the child that a hook waits for
    local pid
    for pid in $(descendants "$(runner)"); do [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != sleep ] || echo "$pid"; done
}
hangs() { [ -n "$(sleeper)" ]; }
gone() { ! kill -0 "$1" 2>/dev/null; }
killed_while_it_hangs() { # killed_while_it_hangs HOOK WHAT: kills the hook's runner, or the hook, while the hook runs
    local sleeper victim
    wait_for 40 hangs || fail "the $1 hook does not run"
    sleeper=$(sleeper)
    if [ "$2" = runner ]; then victim=$(runner); else victim=$(hook_pid); fi
    rm hang."$1"
    kill -KILL "$victim"
    wait_for 20 gone "$sleeper" || fail "a process of the $1 hook outlives its killed $2"
}
install_killed() { # install_killed WHAT MESSAGE: expects that an update fails with MESSAGE if WHAT is killed while its hook runs
    touch hang.install
    upload bundle1 >code &
    local uploading=$!
    killed_while_it_hangs install "$1"
    wait "$uploading"
    [ "$(cat code)" = 500 ] && grep -q "$2" answer || { cat code answer; fail "install: the $1 was killed"; }
}
trial() { # trial BUNDLE N: installs the bundle, whose version is N, and boots it
    : >calls
    [ "$(upload "$1")" = 200 ] || { cat answer; fail "upload of $1"; }
    wait_for 20 called restart || fail "the restart hook is not run"
    end_agent
    : >calls
    echo "$2" >version
    boot "$2"
}

# ---- install ----
: >calls
echo 1 >version
config 10m
boot 1
wait_for 40 is .running.version 1 || fail "start"
install_killed runner "the install hook was ended or not run: the process that runs hooks was killed"
install_killed hook "the install hook was ended by signal 9"
ok "install: a killed hook or runner fails the update"

# ---- confirm ----
touch hang.confirm
trial bundle1 2
killed_while_it_hangs confirm runner
wait_for 40 is .running.confirmed true || { get .; fail "not confirmed after the runner was killed"; }
touch hang.confirm
trial bundle2 3
killed_while_it_hangs confirm hook
wait_for 40 is .running.confirmed true || { get .; fail "not confirmed after the hook was killed"; }
touch refuse.confirm
trial bundle1 4
wait_for 40 is .error "the confirm hook failed" || { get .; fail "the confirm hook is not run"; }
kill_parent; kill_parent
rm refuse.confirm
wait_for 40 is .running.confirmed true || { get .; fail "not confirmed after two runners were killed"; }
ok "confirm: a killed hook or runner does not prevent the confirmation"

touch refuse.confirm
trial bundle2 5
wait_for 40 is .error "the confirm hook failed" || { get .; fail "the confirm hook is not run"; }
kill -KILL $(runners)
wait "$AGENT"; code=$?
[ "$code" = 1 ] && logged "the agent ends, so that its service manager starts it again" || { tail -3 "$AGENT_LOG"; fail "all runners are killed: $code"; }
rm refuse.confirm
boot 5
wait_for 40 is .running.confirmed true || { get .; fail "not confirmed after the agent started again"; }
ok "confirm: without any runner the agent ends, and continues the trial when it starts again"

# ---- rollback ----
end_agent
config 1s
boot 5
wait_for 40 is .running.version 5 || fail "start"
touch refuse.confirm hang.rollback
trial bundle1 6
killed_while_it_hangs rollback runner
touch hang.restart
wait_for 40 called rollback 2 || { get .; fail "the rollback hook is not run again"; }
killed_while_it_hangs restart runner
wait_for 40 called restart 2 || { get .; fail "the restart hook is not run again"; }
end_agent
rm refuse.confirm
echo 5 >version
boot 7
wait_for 40 is .rolled_back.version 6 || { get .; fail "not rolled back"; }
ok "rollback: a killed runner does not prevent the rollback and the restart"

# ---- the agent ends while the install hook still runs, although the hook has already installed the new system ----
end_agent
config 10m
for sig in TERM KILL; do
    boot $sig.1
    wait_for 40 is .state idle || fail "start"
    touch hang.install
    : >calls
    upload bundle2 >code &
    uploading=$!
    wait_for 40 hangs || fail "the install hook does not run"
    kill -$sig "$AGENT"; wait "$AGENT"
    wait "$uploading"
    rm hang.install
    ! called confirm || fail "confirmed before the boot"
    echo $sig >version
    boot $sig.2
    wait_for 40 called confirm && wait_for 20 is .running.confirmed true || { get .; fail "install, SIG$sig: the new system is not tried"; }
    end_agent
done
ok "a new system is on trial even if the agent ended before its installer"
