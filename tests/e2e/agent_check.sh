#!/usr/bin/env bash
# `cmxsafed --check` finds what would fail at the first login, says what to do, and prints no secret.
. "$(dirname "$0")/lib.sh"
cd "$TMP" || exit 1
ssh-keygen -q -t ed25519 -N '' -f key
ssh-keygen -q -t ed25519 -N 'pass phrase' -f locked
ssh-keygen -q -t ecdsa -N 'pass phrase' -m PEM -f locked_pem
echo 'pass phrase' >phrase && echo wrong >other && chmod 600 phrase other
cp key.pub public && chmod 600 public
cp locked locked_copy

# config KEY [lines of [gateway]]
config() {
    printf '[gateway]\nhost = gw\nuser = u\nhost_key = %s\nkey_file = %s\n%b\n[context web]\nlocal_port = 80\nremote_port = 8080\n' \
        "${PIN_TEXT:-SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}" "$TMP/$1" "${2:-}" >conf
}
takes() { config "$@"; "$BIN/cmxsafed" --check -c conf >out 2>&1 || { cat out; fail "refused: $*"; }; }
refuses() { # refuses MESSAGE KEY [LINES]
    local message=$1
    shift
    config "$@"
    "$BIN/cmxsafed" --check -c conf >out 2>&1
    [ $? = 1 ] && grep -qF "$message" out || { cat out; fail "not said: $message"; }
    ! grep -q 'pass phrase\|wrong' out || fail "a secret is printed"
}
takes key
grep -q '1 pinned host key, 1 context$' out || fail "summary: $(cat out)"
takes locked "key_passphrase_file = $TMP/phrase"
takes locked_pem "key_passphrase_file = $TMP/phrase"
refuses "key_file $TMP/locked: it is no private key, or has a passphrase: give key_passphrase_file" locked
refuses "key_passphrase_file does not open it" locked "key_passphrase_file = $TMP/other"
refuses "it is no private key" public
refuses "No such file or directory; make one: ssh-keygen -t ed25519 -N '' -f $TMP/none" none
ok "keys"
takes key 'ciphers = aes256-gcm@openssh.com,chacha20-poly1305@openssh.com'
refuses "ciphers: 'aes256-gmc@openssh.com' is not known to libssh" key 'ciphers = aes256-ctr,aes256-gmc@openssh.com'
refuses "ciphers: '' is not known" key 'ciphers = aes256-ctr,'
ok "ciphers"
PIN_TEXT="256 $(ssh-keygen -lf key.pub | cut -d' ' -f2-)" refuses "is ssh-keygen's whole line: give the SHA256:... of it alone" key
refuses "known_hosts_file $TMP/no: No such file or directory; see: ssh-keyscan -p 22 gw" key "known_hosts_file = $TMP/no"
for word in --no-such -x -c; do
    "$BIN/cmxsafed" $word >out 2>&1
    [ $? = 2 ] && grep -q "^cmxsafe: option not known, or without its value: '$word'; see 'cmxsafed --help'$" out || { cat out; fail "$word"; }
done
ok "pins and options"

# The running agent keeps the old configuration rather than take a key that it can't use.
start_sshd </dev/null
S=$(free_port) R=$(free_port)
config2() { config "$1"; sed -i "s|^host = .*|host = 127.0.0.1\nport = $SSHD_PORT|; s|^user = .*|user = $SSHD_USER|; s|^host_key = .*|host_key = $PIN|
    s|^local_port = .*|local_port = $S|; s|^remote_port = .*|remote_port = $R|" conf; printf '[agent]\ncontrol_socket = %s\nconfine = no\n' "$TMP/ctl" >>conf; }
config2 client_key
"$BIN/cmxsafed" -c conf 2>agent.log & AGENT=$!
PIDS+=("$AGENT")
up() { "$BIN/cmxsafed" status --socket "$TMP/ctl" --json | grep -q '"all_up":true'; }
wait_for 30 up || fail "not up"
config2 locked
kill -HUP "$AGENT"
failed() { "$BIN/cmxsafed" status --socket "$TMP/ctl" | grep -q "reload failed .*has a passphrase"; }
wait_for 20 failed || fail "the status does not say why the reload failed"
up || fail "a key that can't be used took the session down"
stop "$AGENT"
! grep -qE 'ERROR: (Address|Leak)Sanitizer|runtime error' agent.log || fail "a sanitizer complains"
ok "reload"
