#!/usr/bin/env bash
# Tests `cmxsafe update` and its ssh on a terminal: the passphrase prompt, Ctrl-C, a command that is killed, and the
# messages when the device refuses.
. "$(dirname "$0")/../lib.sh"
start_sshd </dev/null
cp "$KEY" "$TMP/locked_key"
ssh-keygen -q -p -P '' -N 'a secret phrase' -f "$TMP/locked_key" || fail "ssh-keygen -p"
printf '[127.0.0.1]:%s %s\n' "$SSHD_PORT" "$(cut -d' ' -f1,2 "$TMP/host_ed25519.pub")" >"$TMP/known_hosts"
for key in client_key locked_key; do
    cat >"$TMP/config_$key" <<CONF
UserKnownHostsFile $TMP/known_hosts
StrictHostKeyChecking yes
IdentityFile $TMP/$key
IdentitiesOnly yes
IdentityAgent none
CONF
done
head -c 200000 /dev/urandom >"$TMP/image.bin"
SERVICE=$(free_port)
python3 "$(dirname "$0")/cli_update.py" "$BIN/cmxsafe" "$TMP" "$SSHD_USER@[127.0.0.1]:$SSHD_PORT" "$SERVICE" || fail "see above"
