#!/usr/bin/env bash
# `cmxsafed --check` finds errors that would prevent the first login, says what to do, and prints no secret.
. "$(dirname "$0")/../lib.sh"
cd "$TMP" || exit 1
ssh-keygen -q -t ed25519 -N '' -f key
ssh-keygen -q -t ed25519 -N 'pass phrase' -f locked
ssh-keygen -q -t ecdsa -N 'pass phrase' -m PEM -f locked_pem
echo 'pass phrase' >phrase && echo wrong >other && chmod 600 phrase other
cp key.pub public && chmod 600 public
cp locked locked_copy
head -c 32 /dev/urandom >hwkey && chmod 600 hwkey

# config KEY [LINES]: writes a configuration with the key file KEY and with LINES in [gateway].
config() {
    printf '[gateway]\nhost = gw\nuser = u\nhost_key = %s\nkey_file = %s\n%b\n[context web]\nlocal_port = 80\nremote_port = 8080\n' \
        "${PIN_TEXT:-SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}" "$TMP/$1" "${2:-}" >conf
}
takes() { config "$@"; "$BIN/cmxsafed" --check -c conf >out 2>&1 || { cat out; fail "refused: $*"; }; }
refuses() { # refuses MESSAGE KEY [LINES]: expects --check to refuse a configuration with this message
    local message=$1
    shift
    config "$@"
    "$BIN/cmxsafed" --check -c conf >out 2>&1
    [ $? = 1 ] && grep -qF "$message" out || { cat out; fail "the message is missing: $message"; }
    lacks 'pass phrase\|wrong' out || fail "a secret is printed"
}
takes key
grep -q '1 pinned host key, 1 context$' out || fail "summary: $(cat out)"
takes locked "key_passphrase_file = $TMP/phrase"
takes locked_pem "key_passphrase_file = $TMP/phrase"
refuses "key_file $TMP/locked: not a private key; if it has a passphrase, set key_passphrase_file" locked
refuses "key_passphrase_file does not contain its passphrase" locked "key_passphrase_file = $TMP/other"
refuses "not a private key" public
refuses "No such file or directory; make one: ssh-keygen -t ed25519 -N '' -f $TMP/none" none
config locked_pem
! setsid -w "$BIN/cmxsafed" --check -c conf >out 2>&1 <<<'pass phrase' || fail "--check asks for the passphrase of a key in PEM form"
equal "$(cat out)" "conf: key_file $TMP/locked_pem: not a private key; if it has a passphrase, set key_passphrase_file" || fail "wrong message for locked_pem"
ok "keys"
takes key 'ciphers = aes256-gcm@openssh.com,chacha20-poly1305@openssh.com'
refuses "ciphers: libssh does not support 'aes256-gmc@openssh.com'" key 'ciphers = aes256-ctr,aes256-gmc@openssh.com'
refuses "ciphers: libssh does not support ''" key 'ciphers = aes256-ctr,'
ok "ciphers"
PIN_TEXT="256 $(ssh-keygen -lf key.pub | cut -d' ' -f2-)" refuses "is ssh-keygen's whole line: give only the SHA256:... part" key
refuses "known_hosts_file $TMP/no: No such file or directory; see: ssh-keyscan -p 22 gw" key "known_hosts_file = $TMP/no"
usage() { # usage MESSAGE OPTION: expects that `cmxsafed OPTION` prints only MESSAGE and exits with 2
    "$BIN/cmxsafed" "$2" >out 2>&1
    [ $? = 2 ] && [ "$(cat out)" = "cmxsafe: $1; see 'cmxsafed --help'" ] || { cat out; fail "$2"; }
}
usage "unknown option '--no-such'" --no-such
usage "unknown option '-x'" -x
usage "--config needs a value" -c
usage "--unit needs --check" --unit
config key
# If a check that the command line requests can't be made, the command fails.
if [ "$(id -u)" != 0 ] || ! [ -e /lib/systemd/system/cmxsafed.service ]; then
    "$BIN/cmxsafed" --check --unit -c conf >out 2>&1
    [ $? = 1 ] && grep -q '^cmxsafe: --unit: .*; leave out --unit' out || { cat out; fail "the message does not say to leave out --unit"; }
fi
ok "pins and options"

# If a file is a FIFO, the check does not wait for a writer, and its message names the option.
mkfifo fifo && chmod 600 fifo
openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout -out update.pub 2>/dev/null
no_fifo() { # no_fifo OPTION LINES: expects that a FIFO as the file of OPTION is refused at once; LINES set the option
    config key "$2"
    timeout 20 "$BIN/cmxsafed" --check -c conf >out 2>&1
    rc=$?
    [ $rc = 1 ] && grep -q "$1.*$TMP/fifo" out || { cat out; fail "$1: $rc"; }
}
no_fifo known_hosts_file "known_hosts_file = $TMP/fifo"
no_fifo key_passphrase_file "key_passphrase_file = $TMP/fifo"
no_fifo password_file "password_file = $TMP/fifo"
no_fifo "\[identity\] key_file\|key_file" "[identity]\nkey_file = $TMP/fifo"
no_fifo image "[identity]\nkey_file = $TMP/hwkey\n[attest]\nenabled = yes\nimage = $TMP/fifo"
no_fifo "\[ota\] key_file" "[ota]\ninstall = true\nspool = $TMP/s\nkey_file = $TMP/fifo"
no_fifo "next_key_file" "[ota]\ninstall = true\nspool = $TMP/s\nkey_file = $TMP/update.pub\nnext_key_file = $TMP/fifo"
ok "a FIFO is refused at once"

# Some editors write a byte order mark. If the agent did not skip it, a revocation in the first line would be lost, and
# a passphrase would be wrong.
marked() { printf '\xef\xbb\xbf' | cat - "$1" >"$1.marked" && chmod 600 "$1.marked"; }
echo "@revoked * $(cut -d' ' -f1,2 key.pub)" >revoked && marked revoked && marked phrase && marked update.pub
takes locked "key_passphrase_file = $TMP/phrase.marked"
takes key "[ota]\ninstall = true\nspool = $TMP/s\nkey_file = $TMP/update.pub.marked"
PIN_TEXT=$(cut -d' ' -f1,2 key.pub) refuses "every pinned key is revoked" key "known_hosts_file = $TMP/revoked.marked"
config key && iconv -f UTF-8 -t UTF-16 conf >conf16 && "$BIN/cmxsafed" --check -c conf16 >out 2>&1 && fail "UTF-16 is accepted"
equal "$(cat out)" "conf16: it is UTF-16 text; save it as UTF-8" || fail "UTF-16"
ok "byte order marks"

# The check accepts the host names that resolvers accept, and the user names that servers accept.
names() { # names HOST USER: expects that --check accepts both
    config key
    sed -i "s|^host = .*|host = $1|; s|^user = .*|user = $2|" conf
    "$BIN/cmxsafed" --check -c conf >out 2>&1 || { cat out; fail "refused: host $1, user $2"; }
}
names my_gateway 'DOM\\\\me'
names gateway- 'me@realm'
names gw_1.example.org 'fd00:0:1'
ok "host and user names"

# The check opens every file that the configuration names, and tests every folder in which the agent creates a file.
refuses "image $TMP/none: No such file or directory" key "[identity]\nkey_file = $TMP/hwkey\n[attest]\nenabled = yes\nimage = $TMP/none"
refuses "spool $TMP/none/s: cannot write to $TMP/none: No such file or directory" key \
    "[ota]\ninstall = true\nspool = $TMP/none/s\nkey_file = $TMP/update.pub"
refuses "control_socket $TMP/none/s: cannot write to $TMP/none" key "[agent]\ncontrol_socket = $TMP/none/s"
takes key "[ota]\ninstall = true\nspool = $TMP/s\nkey_file = $TMP/update.pub\n[agent]\ncontrol_socket = $TMP/ctl2"
ok "missing files and folders are refused"

# A file that exists must be of the kind that the agent can use, and no upload may overwrite a file that the agent needs.
touch regular image0 && truncate -s 5G image5 && mkdir folder && head -c 33 /dev/urandom >hwkey33 && chmod 600 hwkey33
update="[ota]\ninstall = true\nkey_file = $TMP/update.pub\nspool"
refuses "is not a file of 32 bytes" key "[identity]\nkey_file = $TMP/hwkey33"
for size in 0 5; do
    refuses "image $TMP/image$size: not a file or block device of 1 byte to 4 GB" key \
        "[identity]\nkey_file = $TMP/hwkey\n[attest]\nenabled = yes\nimage = $TMP/image$size"
done
refuses "control_socket $TMP/regular: exists and is not a socket" key "[agent]\ncontrol_socket = $TMP/regular"
refuses "is too long" key "[agent]\ncontrol_socket = /$(printf 'a%.0s' {1..107})"
takes key "[agent]\ncontrol_socket = $TMP/$(printf 'a%.0s' $(seq $((106 - ${#TMP}))))"
refuses "spool $TMP/folder: exists and is not a regular file" key "$update = $TMP/folder"
refuses "spool: uploads would overwrite the key_file of [gateway]" key "$update = $TMP/key"
refuses "spool: uploads would overwrite the key_file of [ota]" key "$update = $TMP/update.pub"
refuses "spool: uploads would overwrite the key_file of [gateway]" key "$update = $TMP/./key"
config key "$update = $TMP/conf"
! "$BIN/cmxsafed" --check -c "$TMP/conf" 2>out && grep -q "spool: uploads would overwrite this configuration" out || { cat out; fail "accepts the configuration file as the spool"; }
takes key "$update = $TMP/regular"
ok "existing files of a wrong kind, or needed for another purpose, are refused"

# Messages show the name of a file without its control characters.
for arguments in "--check -c" "-c" "isolation --dry-run -c" "status -c" "status --socket"; do
    timeout 20 "$BIN/cmxsafed" $arguments $'/a\e[31m\xc2\x9bb' >out 2>err </dev/null && fail "$arguments accepts control characters"
    [ -z "$(cat out err | LC_ALL=C tr -d '[:print:]\n\302')" ] || fail "$arguments: a message has control characters: $(cat -v err)"
    grep -qF '/a?[31m' err || fail "$arguments: the message does not name the file: $(cat -v err)"
done
ok "no control characters"

start_sshd </dev/null
# --check also reports a ruleset that is too long, although it installs no rules.
config client_key
printf '[isolation]\nenabled = yes\n' >>conf
for i in $(seq 500); do
    printf '[context d%s]\ndirection = direct\nlocal_port = %s\nremote_port = 1\nremote_host = h\nusers = 1,2,3,4,5,6,7,8\n' "$i" $((10000 + i))
done >>conf
"$BIN/cmxsafed" -c conf --check >out 2>&1 && fail "accepts a ruleset that is too long"
grep -q 'the isolation ruleset is too long' out || { cat out; fail "a ruleset that is too long"; }
ok "a ruleset that is too long"

# A reload with a key that the agent cannot use is refused; the old configuration stays in force.
S=$(free_port) R=$(free_port)
config2() { config "$1"; sed -i "s|^host = .*|host = 127.0.0.1\nport = $SSHD_PORT|; s|^user = .*|user = $SSHD_USER|; s|^host_key = .*|host_key = $PIN|
    s|^local_port = .*|local_port = $S|; s|^remote_port = .*|remote_port = $R|" conf; printf '[agent]\ncontrol_socket = %s\nconfine = no\n' "$TMP/ctl" >>conf; }
config2 client_key
printf '[context d]\ndirection = direct\nlocal_port = %s\nremote_port = %s\nremote_host = 127.0.0.1\nusers = root\n' "$(free_port)" "$S" >>conf
"$BIN/cmxsafed" -c conf 2>agent.log & AGENT=$!
PIDS+=("$AGENT")
up() { "$BIN/cmxsafed" status --socket "$TMP/ctl" --json | grep -q '"all_up":true'; }
wait_for 30 up || fail "the agent does not come up"
grep -q "d: users has no effect without isolation" agent.log || fail "a restriction that nothing enforces is not reported"
config2 locked
kill -HUP "$AGENT"
failed() { "$BIN/cmxsafed" status --socket "$TMP/ctl" | grep -q "reload failed .*has a passphrase"; }
wait_for 20 failed || fail "the status does not say why the reload failed"
up || fail "a key that cannot be used ended the session"
stop "$AGENT"
no_sanitizer_report agent.log || fail "a sanitizer complains"
ok "reload"
