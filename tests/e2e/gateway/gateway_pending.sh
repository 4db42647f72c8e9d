#!/usr/bin/env bash
# A device tries to log in before it is enrolled: the gateway stores its key, and an operator approves the key. A flood
# of unknown keys is stored only up to a limit and uses almost no disk space, and devices can log in meanwhile.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

start_gateway
key a; key b; key c
fingerprint() { ssh-keygen -lf "$TMP/$1.pub" | awk '{print $2}'; }
pending() { gw pending --json | json_is '[.pending[] | select(.fingerprint == $f)] | length > 0' --arg f "$1"; }
FA=$(fingerprint a)
[ "$(gw pending --json | jq '.pending | length')" = 0 ] || fail "keys are listed before any login attempt"
refused_login a -N || fail "an unknown key logs in"
wait_for 10 pending "$FA" || fail "the key is not remembered: $(gw pending)"
gw pending | grep -q "^$FA *127.0.0.1:" || fail "no source: $(gw pending)"
! gw approve "${FA%?}x" cam-17 --ports 81 2>"$TMP/err" || fail "another fingerprint was approved"
grep -q "tried to log in lately" "$TMP/err" || fail "wrong message: $(cat "$TMP/err")"
gw approve "$FA" cam-17 --ports 81 --group cameras --dry-run >/dev/null && pending "$FA" || fail "a dry run changes something"
gw approve "$FA" cam-17 --ports 81 --group cameras | grep -q "cam-17: added, address fd" || fail "approve"
gw approve "$FA" cam-17 --ports 81 --group cameras | grep -q "cam-17: unchanged, address fd" || fail "approve is not idempotent"
! gw approve "$FA" cam-18 --ports 81 >/dev/null 2>&1 || fail "a device's key was approved for another device"
! pending "$FA" || fail "an enrolled key is still listed"
A=$(address_of cam-17)
web one
client a -N -R "[$A]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 connected cam-17 || fail "the approved device does not log in"
ok "a device is enrolled after it has tried to log in"

# A key that was revoked is not listed.
gw enroll cam-18 --key "$TMP/b.pub" --ports 81 >/dev/null && gw revoke cam-18 >/dev/null || fail "revoke"
refused_login b -N || fail "a revoked key logs in"
! pending "$(fingerprint b)" || fail "a revoked key is listed"
gw delete cam-18 >/dev/null || fail "delete"
refused_login b -N || fail "a deleted device's key logs in"
! pending "$(fingerprint b)" || fail "a deleted device's key is listed"
! gw approve "$(fingerprint b)" cam-18 --ports 81 >/dev/null 2>&1 || fail "a deleted device's key was approved"
ok "revoked keys stay refused"

# Several sources flood the gateway, each with more keys than the gateway keeps for one source. Devices must still log
# in.
for s in $(seq 2 9); do for i in $(seq 6); do key "f$s-$i"; done; done
flood() { # flood N: offers six unknown keys in one connection from 127.0.0.N
    local keys=() i
    for i in $(seq 6); do keys+=(-i "$TMP/f$1-$i"); done
    timeout 20 ssh -b "127.0.0.$1" "${keys[@]}" -p "$GW_PORT" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
        -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -F none -l cmxsafe-gw -N 127.0.0.1 >/dev/null 2>&1
}
disk() { du -sb "$GW" | cut -f1; }
BEFORE=$(disk)
FLOODS=()
for i in $(seq 2 9); do flood "$i" & FLOODS+=("$!"); done
gw enroll cam-19 --key "$TMP/c.pub" --ports 81 >/dev/null || fail "enroll"
C=$(address_of cam-19)
client c -N -R "[$C]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 30 connected cam-19 || fail "a device does not log in during the flood"
connected cam-17 || fail "the flood ended a session"
wait "${FLOODS[@]}"
N=$(gw pending --json | jq '.pending | length')
[ "$N" -ge 4 ] && [ "$N" -le 32 ] || fail "$N keys of 8 sources are kept, not 4 to 32"
gw pending --json | json_is '[.pending[].from | sub(":[0-9]*$"; "")] | group_by(.) | map(length) | max <= 4' || fail "a source has more than 4: $(gw pending)"
[ $(($(disk) - BEFORE)) -lt 65536 ] || fail "the flood grew the folder by $(($(disk) - BEFORE)) bytes"
ok "a flood of unknown keys is bounded, and devices log in meanwhile"
stop_gateway

# The helper for sshd reaches a gateway whose folder has a long path, and ends in time if the gateway hangs.
LONG=$TMP/$(printf 'x%.0s' {1..150})
gw init --dir "$LONG" --user --simple --host 127.0.0.1 >/dev/null && mkdir -p "$LONG/run" || fail "init fails in a folder with a long path"
cat >"$TMP/hang.py" <<'P'
import os, socket, subprocess, sys, time
os.chdir(sys.argv[2] + "/run")
gateway = socket.socket(socket.AF_UNIX)
gateway.bind("control")
gateway.listen(0)
def helper():
    return subprocess.Popen([sys.argv[1], sys.argv[2], "-", "ssh-ed25519", sys.argv[3]])
first = helper()
gateway.settimeout(60)
connection = gateway.accept()[0]
assert connection.recv(100).startswith(b"unknown ssh-ed25519 "), "the helper does not report the key"
connection.close()
first.wait(60)
waiting = []
while True:  # fill the queue of connections
    s = socket.socket(socket.AF_UNIX)
    s.setblocking(False)
    waiting.append(s)
    try:
        s.connect("control")
    except BlockingIOError:
        break
begin = time.monotonic()
helper().wait(60)
print("ended after %.1f s" % (time.monotonic() - begin))
P
python3 "$TMP/hang.py" "$BIN/cmxsafe-authkeys" "$LONG" "$(cut -d' ' -f2 "$TMP/f2-1.pub")" || fail "sshd's helper does not end although the gateway hangs"
ok "sshd's helper ends although the gateway hangs"
