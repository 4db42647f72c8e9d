#!/usr/bin/env bash
# If a file that the operator names is endless, a FIFO without a writer, a folder, empty or missing, each command that reads it
# ends with a message that names the file. Public keys are also read from a pipe. A command that writes a file
# destroys no input, key or device, and leaves no incomplete file. Output that cannot be written is a failure.
. "$(dirname "$0")/../lib.sh"

export CMXSAFE_GATEWAY=$TMP/gateway
"$BIN/cmxsafe" gateway init --user --host 127.0.0.1 --listen 127.0.0.1:1 >/dev/null || fail "init"
ssh-keygen -q -t ed25519 -N '' -f "$TMP/key"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$TMP/ota.pem" 2>/dev/null || fail "openssl"
head -c 32 /dev/urandom >"$TMP/private_key.bin"
mkfifo "$TMP/fifo"
mkdir "$TMP/folder"
: >"$TMP/empty"
URL=http://127.0.0.1:1

# refused FILE COMMAND...: checks that the command soon fails with a message that names FILE
refused() {
    local file=$1 rc
    shift
    timeout -s KILL 120 "$BIN/cmxsafe" "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
    rc=$?
    [ "$rc" != 137 ] || fail "does not end: $*"
    [ "$rc" = 1 ] || fail "exit status $rc: $*: $(cat "$TMP/out" "$TMP/err")"
    grep -qF "$file" "$TMP/err" || fail "the message does not name the file: $*: $(cat "$TMP/err")"
}

for f in /dev/zero "$TMP/fifo" "$TMP/folder" "$TMP/empty" "$TMP/missing"; do
    refused "$f" image info "$f"
    refused "$f" image verify --key "$f" "$f"
    refused "$f" image sign --key "$TMP/ota.pem" "$f"
    refused "$f" image manifest "$f"
    refused "$f" image manifest --fill "$f" "$TMP/private_key.bin"
    refused "$f" image fill --key "$TMP/private_key.bin" "$f" "$TMP/filled"
    refused "$f" identity public --key "$f"
    refused "$f" attest --url "$URL" --key "$f" --image "$f"
    refused "$f" attest --url "$URL" --key "$TMP/private_key.bin" --image "$f"
    refused "$f" attest --url "$URL" --evidence --attest-key "$f" --manifest "$f"
    refused "$f" update --url "$URL" "$f"
    refused "$f" gateway enroll cam-17 --key "$f" --ports 81
    refused "$f" gateway enroll cam-17 --hwkey "$f" --ports 81
    refused "$f" gateway enroll cam-17 --key "$TMP/key.pub" --attest-key "$f" --ports 81
    refused "$f" gateway platform vms --key "$f"
    refused "$f" gateway policy set @cameras --manifest "$f" --max-age 1h --enforce yes
    refused "$f" gateway campaign start may --all --image "$f"
done
for f in /dev/zero "$TMP/folder" "$TMP/missing"; do
    refused "$f" gateway import "$f"
done
[ "$("$BIN/cmxsafe" gateway list --json)" = "[]" ] || fail "a refused command enrolled something"
ok "an endless file, a FIFO, a folder, an empty and a missing file are refused by name"

"$BIN/cmxsafe" gateway enroll cam-17 --key <(cat "$TMP/key.pub") --ports 81 >/dev/null || fail "a key from a pipe is refused"
"$BIN/cmxsafe" gateway platform vms --key - <"$TMP/key.pub" 2>/dev/null && fail "the key of a device is registered for a platform"
ssh-keygen -q -t ed25519 -N '' -f "$TMP/vms"
"$BIN/cmxsafe" gateway platform vms --key - <"$TMP/vms.pub" >/dev/null || fail "a key from stdin is refused"
{ echo "name,key,ports"; ssh-keygen -q -t ed25519 -N '' -f "$TMP/c"; echo "cam-18,$(cat "$TMP/c.pub"),81"; } | "$BIN/cmxsafe" gateway import - >/dev/null || fail "CSV from stdin"
equal "$("$BIN/cmxsafe" gateway list --json | jq -r '[.[].name] | join(" ")')" "cam-17 cam-18" || fail "list"
ok "public keys and CSV are read from pipes"

# ---- files that are written ----
cd "$TMP" || exit 1
head -c 100000 /dev/urandom >image && cp image image.was && head -c 32 /dev/urandom >fill.key && cp fill.key fill.key.was
"$BIN/cmxsafe" image fill --key fill.key --end 0x80000 image filled && "$BIN/cmxsafe" image fill --key fill.key --end 0x80000 image image || fail "fill"
cmp image filled && [ "$(stat -c %s image)" = 458752 ] && cmp -n 100000 image image.was || fail "filled in place"
refused fill.key image fill --key fill.key image fill.key
cmp fill.key fill.key.was || fail "the key was replaced by an image"
refused ota.pem image sign --opaque --key ota.pem --out ota.pem image.was
printf 'cmxsafe-manifest 1\nflash-size 0x1000\nregion 0 0x1000 erased\n' >manifest && echo token >token && cp private_key.bin private_key.was
for key in "" "--key private_key.bin"; do
    # shellcheck disable=SC2086
    refused private_key.bin attest --evidence $key --manifest manifest --token token --nonce "$(printf '0%.0s' {1..64})" --save private_key.bin
done
cmp private_key.bin private_key.was || fail "the hardware key was replaced by a token"
openssl pkey -in ota.pem -noout || fail "the signing key was replaced by an image"
ln -s /dev/null sink
"$BIN/cmxsafe" image sign --opaque --key ota.pem --out sink image.was >out && [ -L sink ] && [ -c /dev/null ] || fail "a device was replaced by an image"
openssl ecparam -name prime256v1 -genkey -out curve_first.pem && cp image.was other && "$BIN/cmxsafe" image sign --opaque --key curve_first.pem other >out || fail "a key as 'openssl ecparam -genkey' writes it"
"$BIN/cmxsafe" image key --key curve_first.pem | { printf '\xef\xbb\xbf'; cat; } >marked.pub && "$BIN/cmxsafe" image verify --opaque --key marked.pub other >out || fail "a public key with a byte order mark is refused"
sign() { "$BIN/cmxsafe" image sign --opaque --key ota.pem --out "$1" image.was; }
signed() { cmp -n 100000 "$1" image.was && [ "$(stat -c %s "$1")" -gt 100000 ] || fail "$2"; }
: >target && chmod 600 target && { [ "$(id -u)" != 0 ] || chown 65534:65534 target; } && owner=$(stat -c %u target)
ln -s target link && ln -s new_target dangling
sign link >out && [ -L link ] && signed target "the output did not go through a link"
equal "$(stat -c '%a %u' target)" "600 $owner" || fail "mode or owner of a file that is replaced"
(umask 027; sign dangling >out) && [ -L dangling ] && signed new_target "the output did not go through a dangling link"
(umask 027; sign fresh >out) && equal "$(stat -c %a fresh new_target | uniq)" 640 || fail "a new file has a wrong mode"
sign /dev/fd/7 7>redirected >out && [ -L /dev/stdout ] && signed redirected "the output did not go to a descriptor"
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
    mkdir small
    unshare -m bash -c 'mount -t tmpfs -o size=200k none small && cp image.was small/image && cd small &&
        ! "$0/cmxsafe" image fill --key ../fill.key image image 2>../err && cmp image ../image.was && [ "$(ls)" = image ] &&
        ! "$0/cmxsafe" image fill --key ../fill.key image /dev/full && ! "$0/cmxsafe-board" create board && [ "$(ls)" = image ]' "$BIN" >out 2>&1 ||
        { cat out err; fail "a full disk"; }
    grep -q "No space left on device" err || fail "wrong reason"
else
    skip_part "a full disk: no mount"
fi
ok "no input, key or device is lost, and no incomplete file is left"

# ---- output that cannot be written, and closed streams ----
printf '[gateway]\nhost = gw\nuser = u\nhost_key = SHA256:%s\nkey_file = %s\n[isolation]\nagent_user = root\n[context web]\nlocal_port = 80\nremote_port = 80\n' \
    "$(printf 'A%.0s' {1..43})" "$TMP/key" >conf
unwritten() { # unwritten PROGRAM ARGUMENT...: expects that output to a full disk, and to a closed stream, is a failure
    local program=$1
    shift
    ! "$BIN/$program" "$@" >/dev/full 2>err && grep -q "writing the output failed" err || { cat err; fail "a full disk: $program $*"; }
    ! "$BIN/$program" "$@" >&- 2>err && grep -q "writing the output failed" err || { cat err; fail "closed: $program $*"; }
}
"$BIN/cmxsafe" gateway import - <&- 2>err && fail "a closed stdin is an empty file"
grep -q "Bad file descriptor" err || { cat err; fail "wrong message about a closed stdin"; }
for program in cmxsafe cmxsafed cmxsafe-board; do unwritten $program --version && unwritten $program --help; done
unwritten cmxsafed --config-reference
unwritten cmxsafed --check -c conf
unwritten cmxsafed isolation --dry-run -c conf
unwritten cmxsafe image key --key ota.pem
unwritten cmxsafe-board keys
for command in "init --user" list "list --json" show "show --json" "show cam-17" "show cam-17 --json" "show cam-17 --form agent" export hosts "grant --json" platform "platform --json" \
    krl "krl --json" "policy list --json" "policy show --json" log "log --json" metrics "whois cam-17" "whois cam-17 --json" nodes "nodes --json" doctor "doctor --json" "image key" "image list --json" \
    "campaign list --json" "enroll cam-17 --ports 81" "enroll cam-17 --ports 81 --json" "rename cam-17 cam-17" "grant user:root cam-17:81" "grant --remove user:root cam-17:81" "leave --help"; do
    # shellcheck disable=SC2086
    unwritten cmxsafe gateway $command
done
unwritten cmxsafe identity public --key private_key.bin
unwritten cmxsafe attest --compute --challenge x --key private_key.bin --image key
ok "output that cannot be written is a failure"

# ---- the gateway's folder, and texts that the registry stores ----
says() { # says STATUS TEXT COMMAND...: expects that `cmxsafe gateway COMMAND` ends with STATUS and a message with TEXT
    local status=$1 text=$2 rc=0
    shift 2
    "$BIN/cmxsafe" gateway "$@" >"$TMP/out" 2>"$TMP/err" </dev/null || rc=$?
    [ "$rc" = "$status" ] && grep -qF -- "$text" "$TMP/err" || { cat "$TMP/out" "$TMP/err"; fail "$rc: $*"; }
}
mkdir gone && cd gone && rmdir "$TMP/gone"
for command in list "init --user" metrics worker follow; do says 1 "current folder can't be found" $command --dir gateway; done
cd "$TMP" || exit 1
says 2 "--dir is empty" init --user --dir ""
says 1 "too long" list --dir "/$(printf 'x%.0s' {1..5000})"
[ ! -e registry.db ] || fail "a gateway was set up in the current folder"
if [ "$(id -u)" = 0 ]; then
    for name in 'a b' "it's" 'a"b' 'a%b' 'a$b' 'a\b' $'a\nb'; do says 1 "has blanks, control characters or one of" init --host gw --dir "$TMP/$name" && [ ! -e "$name" ] || fail "folder $name"; done
fi
ok "a folder that can't be found, or that sshd and systemd can't use, is refused"

for text in $'a\e[31mb' $'a\nb' $'a\xc2\x9bb' $'a\xffb' $'a\xe2\x80\xaeb'; do
    says 1 "the reason has control or invisible characters" policy exempt cam-17 --why "$text"
    says 1 "the reason has control or invisible characters" grant user:root cam-17:81 --why "$text"
    says 1 "the version has control or invisible characters" campaign start may --all --image image --opaque --expect "$text"
    : >"$text"
    for command in "policy set cam-17 --enforce yes" "campaign start may --all --image image --opaque --expect 1"; do
        says 1 "b' has control or invisible characters" $command --manifest "$text"
    done
done
says 1 "longer than" policy exempt cam-17 --why "$(printf 'x%.0s' {1..300})"
says 1 "longer than" campaign start may --all --image image --opaque --expect "$(printf 'x%.0s' {1..300})"
says 2 "give the reason" policy exempt cam-17
"$BIN/cmxsafe" gateway policy exempt cam-17 --why "größere Prüfung" >out && "$BIN/cmxsafe" gateway log | grep -q "größere Prüfung" || fail "a reason in UTF-8 is lost"
# The printed configuration of a device with a hardware key names that key as the source of its SSH key, in `show` as in `enroll`.
openssl rand -out hw.bin 32 && openssl rand -out hw2.bin 32 && "$BIN/cmxsafe" identity public --key hw2.bin >hw2.pub || fail "hardware keys"
forms() { # forms WANT NAME: expects that WANT of the three forms (0 or 3) have the SSH key derived from the hardware key
    local form n
    n=$(for form in agent settings kconfig; do "$BIN/cmxsafe" gateway show $2 --form $form; done | grep -cE '^\[identity\]$|^#define SSH_CLIENT_KEY_DERIVED 1$|^CONFIG_CMX_CREDENTIAL_HWKEY=y$')
    [ "$n" = "$1" ] || fail "$n forms of $2 have a derived key, not $1"
}
"$BIN/cmxsafe" gateway enroll hw-1 --hwkey hw.bin --ports 81 >enrolled && forms 3 hw-1 || fail "enroll hw-1"
for form in agent settings kconfig; do "$BIN/cmxsafe" gateway show hw-1 --form $form >out && [ "$(grep -cxFf out enrolled)" -ge "$(wc -l <out)" ] || fail "show prints another $form form than enroll"; done
"$BIN/cmxsafe" gateway enroll hw-1 --ports 82 --form kconfig | grep -q '^CONFIG_CMX_CREDENTIAL_HWKEY=y$' || fail "a change of the ports prints another kind of key"
attest_key_of() { sql "$CMXSAFE_GATEWAY/registry.db" "SELECT attest_key FROM device WHERE name = '$1'"; }
"$BIN/cmxsafe" gateway rotate hw-1 --hwkey hw2.bin >out && forms 3 hw-1 && equal "$(attest_key_of hw-1)" "$(grep '^cmxsafe-attest-1' hw2.pub)" || fail "rotate --hwkey keeps the attestation key of the former hardware key: $(attest_key_of hw-1)"
ssh-keygen -q -t ed25519 -N '' -f hw3 && "$BIN/cmxsafe" gateway rotate hw-1 --key hw3.pub >out && forms 0 hw-1
"$BIN/cmxsafe" identity public --key private_key.bin >hw4.pub && "$BIN/cmxsafe" gateway enroll hw-4 --key hw4.pub --attest-key hw4.pub --ports 81 >out && forms 3 hw-4
forms 0 cam-17
ok "the configuration of a device with a hardware key"
# A refusal of a value says what to give instead.
ssh-keygen -q -t ed25519 -N '' -f new
says 1 "the host 'http://h' of a direct service is neither a host name nor an address" enroll new --key new.pub --direct http://h:80
says 1 "port 81 is given twice; name each port once" enroll new --key new.pub --ports 81,81
says 1 "'[fd00::5]' is not an IPv6 address; give one without brackets" enroll new --key new.pub --ports 81 --address '[fd00::5]'
says 1 "no platform 'none'; see 'cmxsafe gateway platform'" revoke --platform none
says 1 "a grant must end in the future and within ten years; give another time" grant user:root cam-17:81 --until 2020-01-01
# For a name that no device, group or consumer has, a command fails and prints nothing on stdout. The audit trail still
# finds a former name.
ssh-keygen -q -t ed25519 -N '' -f yard
"$BIN/cmxsafe" gateway enroll cam-1 --key yard.pub --ports 81 --group yard >out && "$BIN/cmxsafe" gateway rename cam-1 cam-2 >out || fail "a device in a group can't be enrolled or renamed"
silent() { says "$@" && [ ! -s out ] || fail "$3 prints $(cat out)"; } # like says; nothing is printed on stdout
for name in cam-99 @camras user:no-such-user cgroup:system.slice/no-such.service fd00::1; do
    for json in "" --json; do silent 1 "no entry names '$name', and the registry does not have it" log $json $name; done
done
for command in list "list --json" export "attest --dry-run" "campaign start may --opaque --expect 1 --image image"; do silent 1 "no device is in the group 'camras'" $command --group camras; done
silent 1 "no device is in the group 'camras'" update --dry-run --group camras -- --opaque image
silent 1 "no device and no group of devices has the name 'camras'" policy remove camras
for name in @yard yard user:root root; do "$BIN/cmxsafe" gateway log $name >out || fail "log $name is refused"; done
"$BIN/cmxsafe" gateway revoke cam-2 >out && "$BIN/cmxsafe" gateway list --group yard >out && "$BIN/cmxsafe" gateway delete cam-2 >out || fail "a group whose only device is revoked"
for name in cam-1 CAM-2 vms; do [ -n "$("$BIN/cmxsafe" gateway log $name)" ] || fail "log $name prints nothing"; done
silent 1 "no device is in the group 'yard'" list --group yard
ok "a name that nothing has is refused"
usage() { # usage TEXT COMMAND...: expects an error in the command line with this text
    local text=$1 rc=0
    shift
    "$BIN/cmxsafe" "$@" >"$TMP/out" 2>"$TMP/err" </dev/null || rc=$?
    [ "$rc" = 2 ] && grep -qF -- "$text" "$TMP/err" || { cat "$TMP/out" "$TMP/err"; fail "$rc: $*"; }
}
# An empty argument, such as "$NAME" of a variable that is not set, selects neither everything nor a file without a name.
for command in "list --group" "export --group" "access --device" "access --consumer" "attest --all --group" "policy set cam-17 --enforce yes --manifest" \
    "init --user --dir" "policy exempt cam-17 --why" "campaign start may --image image --group" "update --group"; do
    # shellcheck disable=SC2086
    usage "--${command##*--} is empty" gateway $command ""
done
for command in "gateway log" "gateway show" "gateway migrate" "gateway import" "gateway leave" "image info" "update"; do
    # shellcheck disable=SC2086
    usage "an argument is empty" $command ""
done
"$BIN/cmxsafe" gateway enroll cam-17 --group "" --direct "" --json | json_is '.outcome == "unchanged"' >out || fail "an option that may be empty"
for option in --no-wait --look; do usage "--attest-key can't be used with --no-wait or --look" update $option --attest-key private_key.bin image; done
for option in "--no-wait" "--since x" "--wait 3" "--limit-rate 3"; do usage "${option% *} can't be used with --look" update --look $option image; done
usage "--wait can't be used with --no-wait" update --no-wait --wait 3 image
for option in "--url http://127.0.0.1" "--timeout 3" "--locate"; do usage "${option% *} can't be used with --compute" attest --compute --challenge x $option; done
for option in "--url http://127.0.0.1" "--timeout 3"; do usage "${option% *} can't be used with --token" attest --evidence --manifest m --nonce 0011223344556677 --token t $option; done
usage "--at can't be used with --evidence" attest --evidence --manifest m --at 0x10000
for option in "--chip esp32" "--min-secure-version 1"; do usage "${option% *} can't be used with --opaque" image verify --key k --opaque $option image; done
usage "--form can't be used with --json" gateway enroll cam-99 --form agent --json
usage "--offline is for 'sqlite'" gateway migrate --offline postgresql://db.example/x
for option in "--for 1h" "--until 2099-01-01" "--why x" --break-glass --remove --dry-run; do usage "CONSUMER and DEVICE are missing" gateway grant $option; done
usage "NAME is missing" gateway platform --dry-run
for command in krl "image key"; do usage "--dry-run needs FILE or --remove" gateway $command --dry-run; done
says 1 "give an address or a MAC, not both" enroll cam-17 --mac 02:00:00:00:00:01 --address fd00::1
! "$BIN/cmxsafed" status --socket s -c c 2>err && grep -q "config can't be used with --socket" err || fail "status accepts --socket with -c: $(cat err)"
for option in --version --config-reference; do ! "$BIN/cmxsafed" --check $option 2>err && grep -q "check can't be used with $option" err || fail "--check $option: $(cat err)"; done
ok "an option that would have no effect is refused"
usage "--attest-url needs --attest-key" update --attest-url http://127.0.0.1:8888 image
for option in --device --ssh-config --port; do usage "--device, --port and --ssh-config need --gateway" update $option 1 image; done
for option in --remove "--for 1h" "--until 2030-01-01" "--why x" --break-glass; do
    # shellcheck disable=SC2086
    usage "CONSUMER and DEVICE are missing" gateway grant $option
done
usage "give --fleet or --prefix, not both" gateway init --user --fleet fd00::/48 --prefix fd00 --mac 02:00:00:00:00:01

# The gateway's account is less privileged than the operator. A program that replaces the gateway sends the content of the
# file `answer`; if this is "endless", its answer never ends. If it is "large", the answer lists 150,000 sessions.
mkdir -p gateway/run && python3 - gateway/run/control answer 2>fake.err <<'PY' &
import contextlib, os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
while True:
    s, _ = listener.accept()
    with s, contextlib.suppress(OSError):
        while not s.recv(4096).endswith(b"\n"):
            pass
        data = open(sys.argv[2], "rb").read()
        if data == b"large":
            data = ('{"sessions":[' + ",".join(f'{{"name":"cam-{i}","key":"{"x" * 480}"}}' for i in range(150000)) + "]}\n").encode()
        s.sendall(data)
        while data == b"endless":
            s.sendall(b" " * (1 << 20))
PY
PIDS+=("$!")
wait_for 20 test -S gateway/run/control || fail "the program does not listen: $(cat fake.err)"
printf endless >answer
for command in status "status --json" pending; do says 1 "answer is longer than 256 MB; restart the gateway" $command; done
for text in nonsense '{"sessions":[]' '{"sessions":[]}}' ''; do
    echo "$text" >answer
    for command in status "status --json" pending; do says 1 "its answer is malformed; restart it" $command; [ ! -s out ] || fail "a malformed answer is printed: $(cat out)"; done
done
printf large >answer
"$BIN/cmxsafe" gateway status --json >large || fail "the answer of a large gateway is refused"
equal "$(tail -c 5 large)" '"}]}' && equal "$(grep -o '"name":"cam-' large | wc -l)" 150000 || fail "the answer of a large gateway is cut"
rm large
echo '{"sessions":[]}' >answer
"$BIN/cmxsafe" gateway status --json | json_is '.sessions == []' || fail "an answer that is not malformed"
rm gateway/run/control
ok "answers of a program in place of the gateway are bounded and checked"

for selection in "" "--all --group x" "cam-17 --all" "--group x cam-17"; do
    # shellcheck disable=SC2086
    for command in attest "update -- image" "campaign start may --image image"; do usage "give one of these: names of devices, --all, --group" gateway ${command%% --*} $selection ${command#"${command%% --*}"}; done
done
# A dry run of a rollout runs, for each device, the checks that `cmxsafe attest` or `cmxsafe update` runs before it contacts
# the device. A small gateway (--simple) needs no namespaces.
small() { "$BIN/cmxsafe" gateway "$1" --dir "$TMP/simple" "${@:2}"; }
small init --user --simple --host 127.0.0.1 --listen 127.0.0.1:1 >out && for n in 1 2; do ssh-keygen -q -t ed25519 -N '' -f s$n && small enroll s-$n --key s$n.pub --ports 8$n || fail "a small gateway"; done >out
cp private_key.bin s-1.bin && cp private_key.bin s-2.bin
good=(attest "--key {name}.bin --image image" update "--opaque image --attest-key {name}.bin")
bad=(update missing update image update "--opaque image --attest-key missing" update "--opaque image --wait 0"
    attest "--key missing" attest "--key private_key.bin --image missing" attest "--key private_key.bin --image image --ranges 0x10000-0x20000000"
    attest "--key private_key.bin --evidence --manifest missing" attest "--evidence")
for ((i = 0; i < ${#good[@]}; i += 2)); do
    # shellcheck disable=SC2086
    small ${good[i]} --dry-run s-1 S-1 s-2 s-1 -- ${good[i + 1]} >out && equal "$(sort out)" "would ${good[i]} s-1"$'\n'"would ${good[i]} s-2" || fail "a dry run of ${good[i]}, with a device that is named twice: $(cat out)"
    small ${good[i]} --dry-run --json s-1 -- ${good[i + 1]} >out && equal "$(cat out)" '{"name":"s-1","dry_run":true}' || fail "a dry run of ${good[i]} with --json: $(cat out)"
    usage "give --dry-run before --" gateway ${good[i]} --all -- --dry-run image
    "$BIN/cmxsafe" ${good[i]} --dry-run --json ${good[i + 1]//\{name\}/s-1} >out && json_is '.dry_run or .outcome == "not-sent"' <out || fail "${good[i]} --dry-run: $(cat out)"
done
small log --json | json_is 'all(.[]; .what == "enroll")' && small show s-1 --json | json_is '.attestation.at == 0' || fail "a dry run is recorded: $(small log)"
for ((i = 0; i < ${#bad[@]}; i += 2)); do
    # shellcheck disable=SC2086
    ! small ${bad[i]} --dry-run s-1 -- ${bad[i + 1]} >dry && grep -q '^failed  s-1 .*cmxsafe: ' dry || fail "a dry run accepts ${bad[*]:i:2}: $(cat dry)"
    # shellcheck disable=SC2086
    ! small ${bad[i]} s-1 -- ${bad[i + 1]} >real && equal "$(head -n 1 dry)" "$(head -n 1 real)" || fail "the dry run fails otherwise than ${bad[*]:i:2}: $(cat dry real)"
done
! small update --dry-run --json s-1 -- missing >out && json_is '.dry_run and .outcome == "failed" and (.detail | contains("missing"))' <out || fail "a failed dry run with --json: $(cat out)"
equal "$(small log --json | jq '[.[] | select(.what == "update-failed")] | length')" 4 || fail "a failed dry run is recorded"
ok "a dry run of a rollout refuses what the rollout would refuse at once"
usage "--image, --ranges and --challenge can't be used with --evidence" attest --evidence --manifest manifest --image image
says 2 "excludes --json" show cam-17 --form agent --json
"$BIN/cmxsafe" attest --compute --challenge x --key private_key.bin --image image --json | json_is '.challenge == "x" and (.expected | length) == 64' >out || fail "attest --compute --json"
head -c 8 fill.key >short.key && ! "$BIN/cmxsafe" image manifest --fill short.key image.was 2>err && grep -q "less than 16 bytes" err || fail "a short key: $(cat err)"
! "$BIN/cmxsafe" image manifest --at 0x3ff000 image.was 2>err && grep -q "does not fit" err || fail "an image that does not fit: $(cat err)"
"$BIN/cmxsafe" gateway attest cam-17 -- --key "$(printf 'x%.0s' {1..2000})" >out 2>err && fail "an argument that is too long"
grep -q "too many arguments after --, or one is too long" out || { cat out err; fail "the reason for an argument that is too long"; }
ok "texts that would change a terminal, wrong URLs and arguments that are too long are refused with the reason"

for arguments in "image info" "identity public --key" "gateway import" "gateway list" "gateway show" "image" "attest --url"; do
    "$BIN/cmxsafe" $arguments $'a\e[31m\xc2\x9bb' >out 2>err </dev/null && fail "$arguments accepts control characters"
    [ -z "$(cat out err | LC_ALL=C tr -d '[:print:]\n\302')" ] || fail "$arguments: a message has control characters: $(cat -v err)"
    grep -qF 'a?[31m' err || fail "$arguments: the message does not quote the argument: $(cat -v err)"
done
ok "messages have no control characters"
