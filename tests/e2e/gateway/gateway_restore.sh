#!/usr/bin/env bash
# A registry that somebody changed, such as a backup that was kept elsewhere, is restored. Its texts must add no line or
# statement to the files that 'init' generates: root reads and executes some of them.
. "$(dirname "$0")/../gateway_system_lib.sh"
system_gateway
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 --direct gateway.cmx:1883 >/dev/null && gw grant user:1234 cam-17 >/dev/null || fail "enroll"
A=$(address_of cam-17)
gw backup "$TMP/good.db" >/dev/null || fail "backup"
# The line evil.example after a line break, as SQL.
LINE="char(10) || '192.0.2.66 evil.example' || char(10)"
# restore SQL: restores the backup, changed by SQL. None of the generated files may have the word evil after a line break or outside
# the quotes of a comment.
restore() {
    cp "$TMP/good.db" "$GW/registry.db" && sql "$GW/registry.db" "$1" >/dev/null || fail "restore: $1"
    gw init >"$TMP/restore.out" 2>&1 || true # a malformed setting may also be refused
    cat /etc/hosts "$GW/hosts" "$GW"/*.nft "$GW/sshd_config" "$TMP"/units/* >"$TMP/generated" 2>/dev/null # rules may be missing after an error
    lacks -E '^[^"]*evil' "$TMP/generated" || fail "restored with $1: $(grep -E '^[^"]*evil' "$TMP/generated") $(cat "$TMP/restore.out")"
    prints_no evil nft list tables || fail "a table was added: $1"
}
restore "UPDATE meta SET value = '2222' || char(10) || 'ExecStartPre=/evil' || char(10) || 'ListenStream=[::]:2222' WHERE key = 'listen'"
restore "UPDATE meta SET value = 'cmx' || $LINE WHERE key = 'domain'"
restore "UPDATE meta SET value = 'cmx evil.example' WHERE key = 'domain'"
restore "UPDATE device SET name = 'x' || $LINE"
restore "UPDATE device SET name = 'x evil.example'"
restore "UPDATE device SET address = '$A evil.example x'"
restore "UPDATE device SET name = 'x\" } } table inet evil { chain x {'"
restore "UPDATE device SET address = '$A } } table inet evil { set x { #'; UPDATE port SET address = (SELECT address FROM device)"
restore "UPDATE meta SET value = 'fdaa::' || $LINE WHERE key = 'link'"
restore "UPDATE meta SET value = 'x' || $LINE WHERE key = 'host'"
ok "a changed registry adds nothing to the generated files"
restore "UPDATE device SET name = 'x\"'"
! gw list >/dev/null 2>"$TMP/list.err" && grep -q 'a device with a malformed name (row [0-9]* of table device); restore another backup' "$TMP/list.err" ||
    fail "list does not report a malformed name: $(cat "$TMP/list.err")"
ok "a malformed name is reported"

# A changed registry must not make sshd's helper print a second line or a further option.
helper() { "$BIN/cmxsafe-authkeys" "$GW" "$(ssh-keygen -lf "$TMP/a.pub" | awk '{print $2}')" 2>/dev/null; }
restore "SELECT 1"
[ "$(helper | wc -l)" = 1 ] || fail "the helper does not work: $(helper)"
for change in "UPDATE key SET blob = blob || $LINE" "UPDATE device SET name = 'x' || $LINE" "UPDATE direct SET host = 'evil\",permitopen=\"*'" \
    "UPDATE port SET address = 'evil\",permitlisten=\"*'"; do
    restore "$change"
    helper >"$TMP/helper.out" # may also fail
    [ "$(wc -l <"$TMP/helper.out")" -le 1 ] && lacks evil "$TMP/helper.out" || fail "$change: $(cat "$TMP/helper.out")"
done
ok "a changed registry adds nothing to sshd's authorized_keys lines"
restore "SELECT 1"
equal "$(gw show cam-17 --json | jq -r .device.address)" "$A" || fail "the unchanged backup gives another address"
grep -q "^$A cam-17.cmx$" /etc/hosts && grep -q 'comment "cam-17"' "$GW/host.nft" || fail "the unchanged backup gives wrong generated files"
ok "an unchanged backup works"
