# Updates a Linux device through a real sshd: the confined agent passes a verified file to the install hook. Also tests
# hooks that fail or do not end, and the trial, confirmation and rollback of an update.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
command -v jq >/dev/null || skip "no jq"
cd "$TMP" || exit 1
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
"$BIN/cmxsafe" image key --key k.pem --pem >k.pub
head -c 3000000 /dev/urandom >bundle1
head -c 500000 /dev/urandom >bundle2
for b in bundle1 bundle2; do "$BIN/cmxsafe" image sign --opaque --key k.pem --out $b.signed $b >/dev/null || fail "sign"; done
start_sshd </dev/null
PORT=$(free_port) GATE=$(free_port) EVIDENCE=$(free_port)
head -c 32 /dev/urandom >hw.key && chmod 600 hw.key
URL=http://127.0.0.1:$GATE
echo 1.0 >version
cat >install <<'SH'
#!/bin/sh
cat >installed
[ ! -e broken ] || { echo "signature of the bundle is not ours"; exit 3; }
echo 2.0 >version
echo done
SH
chmod +x install
config() { # config [LINES]: writes a configuration with LINES in [ota]
    { gateway_section; printf '[ota]\ninstall = cd %s && ./install\nversion = cat %s/version\nkey_file = %s/k.pub\nspool = %s/spool\nport = %s\n%s\n' \
        "$TMP" "$TMP" "$TMP" "$TMP" "$PORT" "$*"; printf '[identity]\nkey_file = %s/hw.key\n[attest]\nenabled = yes\nport = %s\n' "$TMP" "$EVIDENCE"; reverse ota "$PORT" "$GATE"; } >"$CONF"
}
get() { curl -sS -m 10 "$URL/update" 2>/dev/null | jq -r "$1"; }
is() { [ "$(get "$1")" = "$2" ]; }
slot_state() { curl -sS -m 10 -H 'Accept: application/json' "http://127.0.0.1:$EVIDENCE/evidence?nonce=0011223344556677" | jq -r .slot_state; }

# ---- a handler that needs no restart ----
config
start_agent
wait_for 40 is .running.version 1.0 || fail "the service does not answer through the gateway"
[ "$(get .signature_required)" = true ] || fail "GET /update does not report that a signature is needed"
code=$(curl -sS -m 60 -o answer -w '%{http_code}' -F update=@bundle1 "$URL/update")
[ "$code" = 422 ] && grep -q "not signed" answer || { cat answer; fail "an unsigned bundle is not refused: HTTP status $code"; }
[ ! -e installed ] || fail "the handler saw a bundle that was not verified"
[ -e spool ] && [ ! -s spool ] || fail "a refused bundle stays on the disk"
curl -sS -m 60 -F update=@bundle1.signed "$URL/update" >answer || fail curl
grep -q "^OK version=- slot=handler sha256=$(sha256sum <bundle1 | cut -d' ' -f1)$" answer || { cat answer; fail "wrong answer"; }
cmp installed bundle1 || fail "the handler got a changed bundle"
is .running.version 2.0 && is .state idle || fail "the new version is not shown"
sed "s|^control_socket = .*|control_socket = $RUN/second|; s|^port = $PORT|port = $(free_port)|" "$CONF" >second.conf
timeout 20 "$BIN/cmxsafed" -c second.conf 2>second.log; code=$?
[ "$code" = 1 ] && grep -q "$TMP/spool is in use by another agent" second.log || { cat second.log; fail "a second agent with the same spool starts, or gives another reason: $code"; }
ok "a verified bundle reaches the handler's standard input"

touch broken
code=$(curl -sS -m 60 -o answer -w '%{http_code}' --data-binary @bundle2.signed "$URL/update")
[ "$code" != 200 ] && grep -q "the install hook failed: signature of the bundle is not ours" answer || { cat answer; fail "the answer does not report the handler's failure: HTTP status $code"; }
is .state idle || fail "the service is not idle after a failure"
rm broken
timeout 60 "$BIN/cmxsafe" update --opaque --url "$URL" bundle2.signed >out 2>err || { cat out err; fail "cmxsafe update --opaque"; }
cmp installed bundle2 && grep -q "^installed; the device needs no restart" out || { cat out; fail "the second bundle was not installed, or the message is wrong"; }
ok "the exit status is the outcome"
# A reload frees the texts of the old configuration; the service must no longer use them.
kill -HUP "$AGENT"
wait_for 20 logged "read again" || fail "no reload"
is .device "$SSHD_USER" || fail "wrong device name after a reload: $(get .)"
! logged "the update keys have changed" || fail "unchanged keys count as changed"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem 2>/dev/null
cp k.pub k.pub.old && "$BIN/cmxsafe" image key --key other.pem --pem >k.pub || fail "another key"
kill -HUP "$AGENT"
wait_for 20 logged "the update keys have changed: until the agent restarts" || fail "a reload hides that the old update key stays valid"
mv k.pub.old k.pub
ok "reload"
json | json_is '[.confinement[]? | select(.applied)] | length > 0' >/dev/null 2>&1 || logged "confinement: seccomp: applied" || fail "the agent is not confined"
end_agent
ok "under confinement"

# The history of uploads, with the client of each upload, survives a restart of the agent. After the restart, the
# confined agent can read the history file.
start_agent
wait_for 40 is .state idle || fail "start"
[ "$(get '[.history[] | .ok] | tostring')" = "[true,false,true,false]" ] || { get .; fail "wrong outcomes in the history after a restart of the agent"; }
[ "$(get '[.history[] | select(.age_ms < 600000 and .received > 100000 and .from != null)] | length')" = 4 ] || { get .history; fail "wrong ages, sizes or clients in the history after a restart of the agent"; }
get '.history[1].what' | grep -q "the install hook failed" || { get .history; fail "the history lacks the reason why the upload failed"; }
timeout 60 "$BIN/cmxsafe" update --opaque --expect 2.0 --url "$URL" bundle2.signed >out 2>err || { cat out err; fail "--expect of the version that the device reports"; }
! timeout 60 "$BIN/cmxsafe" update --opaque --expect 9.9 --url "$URL" bundle2.signed >out 2>err || fail "update with --expect of another version succeeds"
grep -q "the device is running version 2.0, not 9.9; check --expect" err || { cat err; fail "wrong message for --expect of another version"; }
ok "the history of uploads survives a restart of the agent"
ok "--expect is compared with the version that the device reports"

: >"$AGENT_LOG"
for i in $(seq 40); do curl -sS -m 60 -o answer --data-binary "bundle $i" "$URL/update"; done
for line in "upload begins" "update refused"; do # 10 lines a minute; the uploads may be in two different minutes
    n=$(grep -c "$line" "$AGENT_LOG")
    [ "$n" -ge 1 ] && [ "$n" -le 20 ] || fail "40 refused uploads write $n lines '$line'"
done
end_agent
ok "uploads without end write few lines"

# ---- hooks that leave background processes, do not end, or run while the agent stops ----
config "install_timeout = 6s"
cat >install <<'SH'
#!/bin/sh
cat >installed
[ ! -e background ] || { (exec sleep 300) & echo $! >left; }
[ ! -e hanging ] || { echo waiting; echo $$ >hung; sleep 300; }
SH
start_agent
wait_for 40 is .state idle || fail "start"
touch background
[ "$(curl -sS -m 60 -o answer -w '%{http_code}' --data-binary @bundle2.signed "$URL/update")" = 200 ] || { cat answer; fail "a hook with a background child fails"; }
gone() { ! kill -0 "$(cat "$1")" 2>/dev/null; }
wait_for 20 gone left || fail "the background child of a hook still runs"
rm background; touch hanging
[ "$(curl -sS -m 60 -o answer -w '%{http_code}' --data-binary @bundle2.signed "$URL/update")" = 500 ] && grep -q "install hook was ended after 6 s: waiting" answer || { cat answer; fail "a hook that does not end"; }
gone hung || fail "the hook still runs"
is .error "the install hook was ended after 6 s: waiting" && is .state idle || { get .; fail "the end of the hook is not shown"; }
end_agent
config "install_timeout = 10m"
start_agent
wait_for 40 is .state idle || fail "start"
rm hung
curl -sS -m 120 -o answer --data-binary @bundle2.signed "$URL/update" 2>/dev/null &
uploader=$!
PIDS+=("$uploader")
wait_for 40 test -s hung || fail "the hook does not run"
[ "$(curl -sS -m 5 "$URL/update" | jq -r .state)" = checking ] || fail "wrong state while a hook runs"
kill -KILL "$AGENT"; wait "$AGENT" 2>/dev/null
wait_for 20 gone hung || fail "a hook outlives its killed agent"
wait "$uploader"
rm hanging
start_agent
wait_for 40 is .state idle || { tail -3 "$AGENT_LOG"; fail "the agent does not start after it was killed"; }
[[ $(get .error) == *interrupted* ]] || { get .; fail "an interrupted installation is not shown"; }
# An agent that is killed while it receives an update leaves a part of the update in the spool, until it starts again.
curl -sS -m 120 --limit-rate 30k -o answer --data-binary @bundle1.signed "$URL/update" 2>/dev/null &
uploader=$!
PIDS+=("$uploader")
wait_for 20 test -s spool || fail "nothing of the upload is stored"
kill -KILL "$AGENT"; wait "$AGENT" 2>/dev/null
wait "$uploader"
[ -s spool ] || fail "the upload had ended before the agent was killed"
start_agent
wait_for 40 is .state idle || fail "the agent does not start after it was killed"
[ ! -s spool ] || fail "a part of an update stays on the disk"
touch hanging; rm hung
curl -sS -m 120 -o answer --data-binary @bundle2.signed "$URL/update" 2>/dev/null &
uploader=$!
PIDS+=("$uploader")
wait_for 40 test -s hung || fail "the hook does not run"
end_agent # the agent exits with 0, and the hook's processes end too
gone hung || fail "a hook outlives the agent's stop"
wait "$uploader"
rm hanging
ok "hooks end with their command, at their limit, and with the agent"

# ---- a handler that needs a restart: trial, confirm, rollback. Another boot identifier simulates a boot of the machine ----
boot() { export CMXSAFED_BOOT_ID=boot-$1; start_agent; }
installed() { curl -sS -m 60 -F "update=@$1.signed" "$URL/update" | grep -q '^OK ' || fail "upload of $1"; }
cat >install <<'SH'
#!/bin/sh
cat >installed
SH
echo 1.0 >version
restarts() { # restarts [LINES]: writes a configuration with the hooks confirm, rollback and restart, and with LINES in [ota]
    config "$(printf 'confirm = echo confirm >>%s/calls; cat %s/words; exec test ! -e %s/refuse\nrollback = echo rollback >>%s/calls; cat %s/words; exec test ! -e %s/refuse_rollback\n' \
        "$TMP" "$TMP" "$TMP" "$TMP" "$TMP" "$TMP"; printf 'restart = echo restart >>%s/calls; cat %s/words; exec test ! -e %s/refuse_restart\n%s\n' "$TMP" "$TMP" "$TMP" "$*")"
}
calls() { grep -cx "$1" calls 2>/dev/null; }
called() { [ "$(calls "$1")" -ge 1 ]; }
: >words; : >calls
restarts
boot 1
wait_for 40 is .running.version 1.0 || fail "start"
first=$(get .boot)
installed bundle1
wait_for 20 called restart || fail "the restart hook is not run"
end_agent
boot 1 # only the agent starts again; the machine has not restarted yet
wait_for 40 is .state ready || { get .; fail "the update that is waiting for a restart was lost"; }
is .running.confirmed true && is .boot "$first" || { get .; fail "a start of the agent counts as a boot of the machine"; }
: >calls
curl -sS -m 10 -X POST "$URL/restart" | grep -q ^OK || fail "POST /restart"
wait_for 20 called restart || fail "the restart hook is not run again"
! called confirm || fail "confirmed before the restart"
end_agent
echo 2.0 >version
boot 2
wait_for 40 called confirm || fail "the confirm hook is not run"
wait_for 10 is .running.confirmed true && is .running.version 2.0 || fail "the update is not confirmed"
equal "$(slot_state)" valid || fail "the evidence of a confirmed update"
[ "$(get .boot)" != "$first" ] || fail "a boot of the machine is not noticed"
ok "only a boot of the new version leads to the confirmation"

installed bundle2
wait_for 20 is .state restarting || fail "the service is not restarting"
end_agent
: >calls
boot 3 # the boot loader has fallen back to the old system
wait_for 40 is .rolled_back.why "the old version booted" || { get .; fail "a fallback of the boot loader is not noticed"; }
is .running.confirmed true && is .running.version 2.0 && ! called confirm || { get .; fail "the old system was confirmed as the new one"; }
rc=0; timeout 60 "$BIN/cmxsafe" update --opaque --wait 20 --url "$URL" bundle2.signed >out 2>err &
updating=$!
wait_for 30 is .state restarting || fail "the upload of cmxsafe update does not end"
end_agent
boot 4
wait "$updating" || rc=$?
[ $rc = 1 ] && grep -q "rolled back to version 2.0" err || { cat out err; fail "cmxsafe update --opaque reports success of an update that was rolled back: $rc"; }
ok "a fallback of the boot loader is a rollback"

rc=0; timeout 60 "$BIN/cmxsafe" update --opaque --wait 20 --url "$URL" bundle1.signed >out 2>err &
updating=$!
wait_for 30 is .state restarting || fail "the upload of the image that runs"
end_agent
: >calls
boot 4b
wait_for 40 called confirm || { get .; fail "the reinstalled image is not on trial"; }
wait "$updating" || rc=$?
[ $rc = 0 ] && is .rolled_back null && is .running.confirmed true || { cat out err; get .; fail "installing the same image again counts as a rollback: $rc"; }
ok "installing the same image again is not a rollback"

# After a refused restart the state is `ready` again, with the hook's message, and the restart can be requested again.
touch refuse_restart; echo "Interactive authentication required." >words
: >calls
installed bundle1
wait_for 20 is .error "the restart hook failed: Interactive authentication required." || { get .; fail "the refusal of the restart is not shown"; }
is .state ready || fail "after a refused restart: $(get .state)"
rm refuse_restart
curl -sS -m 10 -X POST "$URL/restart" | grep -q ^OK || fail "POST /restart fails after a refusal"
twice() { [ "$(calls restart)" -ge 2 ]; }
wait_for 20 twice && is .state restarting || fail "a second POST /restart does not run the hook again"
end_agent
ok "a refused restart can be requested again"

# The confirm hook fails: it is retried with pauses, its message is reported, and at the deadline the update is rolled
# back. Then the rollback hook fails.
restarts "confirm_within = 8s"
echo 3.0 >version
touch refuse refuse_rollback; echo "no bootloader environment" >words
: >calls
boot 5
wait_for 40 is .error "the confirm hook failed: no bootloader environment" || { get .; fail "the refusal of the confirmation is not shown"; }
is .running.confirmed false || fail "confirmed by a hook that failed"
equal "$(slot_state)" pending-verify || fail "evidence does not say that the update is on trial"
wait_for 30 called rollback || fail "an image that cannot be confirmed is kept"
[ "$(calls confirm)" -le 5 ] || fail "the confirm hook ran more than 5 times in 8 s: $(calls confirm)"
wait_for 20 is .error "the rollback hook failed: no bootloader environment" || { get .; fail "the refusal of the rollback is not shown"; }
is .rolled_back null || fail "a rollback that failed is reported as done"
kill -KILL "$AGENT"; wait "$AGENT" 2>/dev/null
: >calls
rm refuse refuse_rollback
boot 5 # the agent was killed during the rollback and continues it, although the confirm hook would succeed now
wait_for 30 called rollback && wait_for 20 called restart || { cat calls; fail "the rollback is not continued"; }
! called confirm || fail "confirmed after the rollback had begun"
is .rolled_back null || fail "reported before the old system runs"
end_agent
echo 2.0 >version
boot 6
wait_for 40 is .rolled_back.why "confirm failed" && is .rolled_back.version 3.0 || { get .; fail "the rollback is not reported"; }
ok "failing confirm and rollback hooks"

# No session comes up before the deadline.
: >words; : >calls
installed bundle2
wait_for 20 called restart || fail "the restart hook was not run"
end_agent
stop_sshd
echo 3.0 >version
boot 7
wait_for 40 called rollback || fail "the rollback hook is not run"
! called confirm || fail "confirmed without a session"
wait_for 10 logged "is rolled back: no session" || fail "the rollback is not logged"
end_agent
start_sshd </dev/null
echo 2.0 >version
boot 8
wait_for 40 is .rolled_back.why "no session" || { get .; fail "the rollback is not reported"; }
# A forward that the gateway refuses is not a fault of the new system: the update is confirmed nevertheless.
installed bundle1
wait_for 20 called restart || fail "the restart hook was not run"
end_agent
stop_sshd
start_sshd <<<"PermitListen $GATE"
echo 3.0 >version
restarts "confirm_within = 60s"
reverse refused 8888 18888 >>"$CONF"
: >calls
boot 9
wait_for 40 is .running.confirmed true && called confirm || { get .; fail "a refused forward prevents the confirmation"; }
end_agent
# With a damaged record nothing is confirmed, and GET /update shows the damage.
echo "phase trial" >spool.state
: >calls
boot 10
wait_for 40 is .running.version 3.0 || fail "the agent does not start with a damaged record"
[[ $(get .error) == *damaged* ]] && ! called confirm || { get .; fail "the damaged record is not reported, or a hook runs"; }
end_agent
unset CMXSAFED_BOOT_ID
ok "no session, a refused forward, a damaged record"

printf '[ota]\ninstall = cat\n' >>"$CONF"; sed -i '/^key_file = .*k.pub/d' "$CONF"
"$BIN/cmxsafed" --check -c "$CONF" 2>err && fail "--check accepts two sections [ota]"
config; sed -i "s|^key_file = $TMP/k.pub|key_file = $TMP/version|" "$CONF"
! "$BIN/cmxsafed" --check -c "$CONF" 2>err && grep -q "not a P-256 public key" err || { cat err; fail "--check does not report the invalid key"; }
config; sed -i "/^key_file = .*k.pub/d" "$CONF"
! "$BIN/cmxsafed" --check -c "$CONF" 2>err && grep -q "allow_unsigned" err || { cat err; fail "the missing key is not reported"; }
ok "configuration"
