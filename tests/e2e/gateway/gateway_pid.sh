#!/usr/bin/env bash
# In --user mode the gateway's account may write to the folder `run`. A compromised account names a process of its own in
# run/pid: commands must not enter the namespaces of that process, where the account could have replaced every program.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

start_gateway
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null && gw grant user:1 cam-17:81 >/dev/null || fail "enroll"
RIGHT=$(cat "$GW/run/pid")
ns_of() { readlink "/proc/$1/ns/user"; }
entered() { inside readlink /proc/self/ns/user 2>/dev/null; }
equal "$(ns_of "$RIGHT")" "$(entered)" || fail "exec does not enter the gateway's namespaces"

# The account has the id 1000 in the gateway's user namespace.
nsenter -t "$RIGHT" --user --net --setuid 1000 --setgid 1000 unshare --user --map-root-user --mount --net sleep 1000 & WRONG=$!
PIDS+=("$WRONG")
is_sleep() { [ "$(cat "/proc/$WRONG/comm")" = sleep ]; }
wait_for 10 is_sleep || skip "the account can't create namespaces here"
differ "$(ns_of "$RIGHT")" "$(ns_of "$WRONG")" || fail "no namespaces of its own"
name() { rm -f "$GW/run/pid" && echo "$1" >"$GW/run/pid"; }
refused() {
    ! inside true 2>"$TMP/err" && grep -q "the gateway is not running, or belongs to another user" "$TMP/err" || fail "exec, $1: $(cat "$TMP/err")"
    ! gw grant user:1 cam-17:81 --remove >/dev/null 2>"$TMP/err" && grep -q "namespaces can't be entered" "$TMP/err" || fail "grant, $1: $(cat "$TMP/err")"
    gw grant user:1 cam-17:81 >/dev/null 2>&1
}
name "$WRONG"
refused "namespaces that the account created"
# Each of the namespaces counts: the account can also create only some of them.
name $$
refused "the namespaces of the host"
rm "$GW/run/pid" && mkfifo "$GW/run/pid" || fail "mkfifo"
refused "a FIFO"
rm "$GW/run/pid" && echo "$RIGHT" >"$TMP/pid" && ln -s "$TMP/pid" "$GW/run/pid" || fail "ln"
refused "a link"
name "$RIGHT"
equal "$(ns_of "$RIGHT")" "$(entered)" && gw grant user:1 cam-17:81 --remove >/dev/null || fail "the gateway's own process is refused"
ok "commands enter only namespaces that the gateway's owner created"
stop_gateway
