#!/usr/bin/env bash
# Accounts of a name service such as LDAP, on a system gateway: the service hangs, and it changes between two look-ups.
. "$(dirname "$0")/../gateway_system_lib.sh"
system_gateway
cp "$CMX_BIN/libnss_slow.so.2" "$BIN/" && export LD_LIBRARY_PATH=$BIN || fail "the name service"
sed -i 's/^\(passwd\|group\):.*/\1: files slow/' /etc/nsswitch.conf && grep -q '^passwd: files slow$' /etc/nsswitch.conf || fail "nsswitch.conf"
useradd -M -u 5001 local || fail "a local account"
account() { echo "$1:x:$2:$2::/:/bin/false" >/etc/nss-accounts; }
account lena 5011
[ "$(id -u lena)" = 5011 ] || skip "the C library does not load the name service"

key a; key b
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null && gw grant user:local cam-17:81 >/dev/null && gw grant user:lena cam-17:81 >/dev/null || fail "grants"
serve_system
wait_for 20 judged || fail "the rules are not checked"
allowed() { nft list map inet cmxsafe_host user_marks | grep -qw "$1"; }
denied_uid() { ! allowed "$1"; }
allowed 5001 && allowed 5011 || fail "the rules: $(nft list map inet cmxsafe_host user_marks)"

# timed SECONDS COMMAND...: expects that the command succeeds within this time.
timed() { local max=$1 begin=$SECONDS; shift; "$@" >"$TMP/timed.out" 2>&1 || fail "$*: $(cat "$TMP/timed.out")"; [ $((SECONDS - begin)) -le "$max" ] || fail "$* took $((SECONDS - begin)) s"; }
# The worker makes no look-up meanwhile, so that it cannot notice that the answers change and change back.
WORKER=$(pgrep -o --nslist mnt --ns $$ -f "cmxsafe gateway worker --dir $GW")
[ -n "$WORKER" ] && kill -STOP "$WORKER" || fail "no worker: $(ps ax)"
touch /etc/nss-hangs
timed 25 gw grant user:5002 cam-17:81
allowed 5001 && allowed 5002 || fail "a local account has lost its grant: $(nft list map inet cmxsafe_host user_marks)"
denied_uid 5011 || fail "the account of a service that does not answer has access"
timed 25 gw enroll cam-18 --key "$TMP/b.pub" --ports 81 --dry-run
timed 25 timeout 60 "$BIN/cmxsafe" gateway exec --uid 5011 -- true
timed 25 eval 'gw doctor; [ $? -le 1 ]'
ok "a name service that hangs delays no command, and its accounts have no access"

rm /etc/nss-hangs
kill -CONT "$WORKER"
wait_for 90 allowed 5011 || fail "the rules stay as they were loaded while the service did not answer"
account lena 5012
wait_for 90 allowed 5012 && denied_uid 5011 || fail "the rules keep lena's former number"
ok "the rules follow the name service once it answers again"
# The worker itself notices that the service hangs, and then that it answers again.
touch /etc/nss-hangs
wait_for 90 denied_uid 5012 || fail "the account of a service that hangs keeps its access"
allowed 5001 || fail "a local account has lost its grant"
sleep 40 # until the worker has made another look-up
rm /etc/nss-hangs
wait_for 90 allowed 5012 || fail "the rules do not follow the service after the worker has seen it hang"
ok "the worker queries a service again after the service did not answer"
stop_gateway
