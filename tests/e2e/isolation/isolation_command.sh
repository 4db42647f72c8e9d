#!/usr/bin/env bash
# `cmxsafed isolation`: show, dry run, apply, commit-confirm, confirm, remove; other tables do not change.
if [ -z "${CMX_IN_NETNS:-}" ]; then
    [ "$(id -u)" = 0 ] && unshare -nm true 2>/dev/null || { echo "SKIPPED: needs root for a network namespace" >&2; exit 77; }
    exec env CMX_IN_NETNS=1 unshare -nm bash "$0"
fi
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
command -v nft >/dev/null || skip "no nft"
mount -t tmpfs none /run # a private /run, for the file that marks an unconfirmed change
SSHD_PORT=22 PIN=SHA256:0123456789012345678901234567890123456789012 KEY=$TMP/none
{
    gateway_section
    printf '[isolation]\ntime_servers = 192.0.2.123\n'
    reverse web 8081 9081
} >"$CONF"
ip link set lo up
iso() { "$BIN/cmxsafed" isolation -c "$CONF" "$@"; }
in_force() { nft list table inet cmxsafe >/dev/null 2>&1 && nft list table arp cmxsafe >/dev/null 2>&1; }

iso --show >"$TMP/out" 2>&1 && fail "--show prints a ruleset although none is in force"
grep -q 'not in force' "$TMP/out" || fail "does not report that isolation is not in force"
iso --dry-run >"$TMP/dry" || fail "--dry-run"
grep -q 'tcp dport @gateways4' "$TMP/dry" || fail "--dry-run prints no ruleset"
in_force && fail "--dry-run changed something"
nft -c -f "$TMP/dry" || fail "nft does not accept the output of --dry-run"
ok "dry run"

# Without -c the command reads the default configuration file. The rules are then for the user of cmxsafed.service,
# unless the file sets agent_user.
mkdir -p /run/systemd/system
printf '[Service]\nUser=daemon\n' >/run/systemd/system/cmxsafed.service
cp -a /etc "$TMP/etc" && mkdir -p "$TMP/etc/cmxsafe" && rm -rf "$TMP/etc/systemd/system/"cmxsafed.service* && mount --bind "$TMP/etc" /etc || fail "a copy of /etc"
cp "$CONF" /etc/cmxsafe/cmxsafed.conf
for_user() { "$BIN/cmxsafed" isolation --dry-run | grep -q "^add element inet cmxsafe agent { \"+$(id -u "$1")\" }"; }
for_user daemon || fail "the rules are not for the user of the unit"
sed -i 's/^time_servers.*/&\nagent_user = bin/' /etc/cmxsafe/cmxsafed.conf
for_user bin || fail "agent_user is ignored"
umount /etc
ok "the agent's user"

nft add table inet other
nft add chain inet other c
iso --apply || fail "--apply"
in_force || fail "the rules are not in force"
iso --apply || fail "a second --apply fails"
iso --show | grep -q 'chain loopback' || fail "--show"
ok "apply and show"

# A gateway given by name: the rules permit the addresses that the name has now.
cp "$CONF" "$TMP/by_address.conf"
printf '127.0.0.1 localhost\n10.9.8.7 gw.test\n' >"$TMP/hosts" && mount --bind "$TMP/hosts" /etc/hosts || fail "a private /etc/hosts"
sed -i 's/^host = .*/host = gw.test/' "$CONF"
iso --apply || fail "--apply fails with a gateway given by name"
nft list set inet cmxsafe gateways4 | grep -qF '10.9.8.7 . 22' || fail "the gateway's address is not permitted"
sed -i 's/^host = .*/host = gw.test, nowhere.invalid/' "$CONF"
! iso --apply 2>"$TMP/err" && grep -q 'gateway name nowhere.invalid: .*; correct' "$TMP/err" || fail "a name that does not resolve: $(cat "$TMP/err")"
iso --dry-run | grep -qF '{ 10.9.8.7 . 22 }' || fail "--dry-run does not permit the gateway's address"
cp "$TMP/by_address.conf" "$CONF"
iso --apply || fail "--apply"
ok "a gateway given by name"

# Without a confirmation the previous state is restored. Two cases: there was a ruleset before, and there was none.
sed -i 's/192.0.2.123/192.0.2.124/' "$CONF"
iso --apply --commit-confirm 8 || fail "--commit-confirm"
iso --show | grep -q 192.0.2.124 || fail "the new rules are not applied"
back() { iso --show | grep -q 192.0.2.123 && [ ! -e /run/cmxsafe-isolation.unconfirmed ]; }
wait_for 20 back || fail "the previous ruleset was not restored"
iso --remove || fail "--remove"
in_force && fail "the rules are still in force"
iso --apply --commit-confirm 8 || fail "--commit-confirm"
in_force || fail "the rules are not in force"
gone() { ! in_force; }
wait_for 20 gone || fail "the ruleset was not removed"
# If another program has removed one of the two tables, --show fails, and --apply and --remove work.
iso --apply && nft delete table inet cmxsafe || fail "--apply"
iso --show 2>/dev/null && fail "--show succeeds with one table"
iso --apply --commit-confirm 8 || fail "--commit-confirm fails with one table"
in_force || fail "the rules are not in force"
wait_for 20 gone || fail "the ruleset was not removed"
nft list table arp cmxsafe >/dev/null || fail "the table that was there was not restored"
iso --remove || fail "--remove fails with one table"
# A process that waits for --confirm is ended, for example at the end of its login: the change is reverted at once.
iso --apply --commit-confirm 300 || fail "--commit-confirm"
kill -TERM "$(pgrep -f "^$BIN/cmxsafed isolation -c $CONF --apply --commit-confirm 300")" || fail "no process waits"
wait_for 20 gone || fail "the ruleset was not removed"
[ ! -e /run/cmxsafe-isolation.unconfirmed ] || fail "the change is still unconfirmed"
ok "an unconfirmed change is reverted"

iso --apply --commit-confirm 8 || fail "--commit-confirm"
iso --confirm | grep -q confirmed || fail "--confirm"
sleep 10 # longer than the confirmation timeout
in_force || fail "a confirmed change was reverted"
iso --confirm 2>/dev/null && fail "confirm succeeds although no change is pending"

# While rules wait for their confirmation, a second --apply --commit-confirm is refused: its timeout could restore the
# first rules, which nobody confirmed.
iso --remove && iso --apply --commit-confirm 8 || fail "--commit-confirm"
iso --apply --commit-confirm 2 2>"$TMP/err" && fail "rules are tried while others wait"
grep -q "other rules are waiting for confirmation; first run" "$TMP/err" || { cat "$TMP/err"; fail "wrong reason"; }
wait_for 20 gone || fail "the first rules were not reverted"
# After a trial is confirmed, its timeout does not revert a later trial.
iso --apply --commit-confirm 8 && iso --confirm >/dev/null && iso --remove && iso --apply --commit-confirm 30 || fail "a trial fails after an earlier one was confirmed"
sleep 10
iso --confirm >/dev/null || fail "a later trial ended with an earlier one"
# A command that fails does not end a trial. Otherwise the trial's rules would stay without a confirmation.
for failing in --apply --remove; do
    iso --remove && iso --apply --commit-confirm 30 || fail "--commit-confirm"
    setpriv --bounding-set=-net_admin --inh-caps=-net_admin "$BIN/cmxsafed" isolation -c "$CONF" "$failing" 2>"$TMP/err" &&
        fail "$failing without permission"
    grep -q 'not permitted' "$TMP/err" || { cat "$TMP/err"; fail "$failing: the reason"; }
    iso --confirm >/dev/null || fail "$failing failed, and ended the trial"
done
ok "a confirmed change stays"

iso --remove && iso --remove || fail "a second --remove fails"
in_force && fail "the rules are still in force"
nft list chain inet other c >/dev/null || fail "the table of another program was changed"
ok "remove; other tables do not change"

# If --boot cannot load the rules, it must not report that everything is denied.
sed 's/^time_servers.*/&\nenabled = yes/' "$CONF" >"$TMP/boot.conf"
setpriv --bounding-set=-net_admin --inh-caps=-net_admin "$BIN/cmxsafed" isolation -c "$TMP/boot.conf" --boot 2>"$TMP/err" &&
    fail "--boot reports success without permission"
grep -q 'the network is not isolated' "$TMP/err" || { cat "$TMP/err"; fail "--boot does not report that nothing is denied"; }
grep -q 'everything is denied' "$TMP/err" && fail "--boot reports a denial that is not in force"
in_force && fail "--boot without permission installed rules"
ok "boot without permission"

for action in --apply "--apply --commit-confirm 30" --remove; do
    # shellcheck disable=SC2086
    "$BIN/cmxsafed" isolation -c "$TMP/boot.conf" $action 2>"$TMP/err" || fail "$action fails with enabled = yes"
    grep -q 'a running agent installs its own rules again' "$TMP/err" || fail "$action does not warn of a running agent"
done
ok "a running agent"

for bad in "" "--apply --remove" "--commit-confirm 5 --show" "--apply --commit-confirm 0" "--nonsense" "--show extra"; do
    # shellcheck disable=SC2086
    iso $bad >/dev/null 2>"$TMP/err"
    [ $? = 2 ] || fail "'$bad' is not refused as usage"
    grep -q '^cmxsafe\|unrecognized' "$TMP/err" || fail "'$bad': no message"
done
setpriv --reuid=nobody --regid=nogroup --clear-groups "$BIN/cmxsafed" isolation --remove 2>"$TMP/err" && fail "the user nobody removed the rules"
grep -q 'not permitted' "$TMP/err" || { cat "$TMP/err"; fail "does not say what is missing"; }
setpriv --reuid=nobody --regid=nogroup --clear-groups "$BIN/cmxsafed" isolation --show 2>"$TMP/err" && fail "the user nobody is shown the rules"
[ "$(grep -c . "$TMP/err")" = 1 ] && grep -q '^cmxsafe: .*not permitted' "$TMP/err" || { cat "$TMP/err"; fail "--show does not say what is missing, in a line"; }
sed -i 's/^local_port.*/&\nlocal_host = 192.0.2.7/' "$CONF"
iso --dry-run >/dev/null 2>"$TMP/err" && fail "accepts a service that is not on this machine"
grep -q 'not a loopback address' "$TMP/err" || fail "does not say why"
users() { # users LIST REASON: expects that a direct context with these users is refused
    { gateway_section; printf '[context d]\ndirection = direct\nlocal_port = 8082\nremote_host = h\nremote_port = 1\nusers = %s\n' "$1"; } >"$TMP/users.conf"
    "$BIN/cmxsafed" isolation -c "$TMP/users.conf" --dry-run >/dev/null 2>"$TMP/err" && fail "accepts users = $1"
    grep -qF "[context d] users: $2" "$TMP/err" || { cat "$TMP/err"; fail "users = $1"; }
}
users 1,2,3,4,5,6,7,no-such-user "there is no user no-such-user"
users 1,2,3,4,5,6,7,8,9 "more than 8"
ok "mistakes are refused"
