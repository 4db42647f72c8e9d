# Tests `cmxsafe-tools provision` with espefuse's virtual mode: it enrols a device at a real gateway over ssh, and the
# virtual board with the burned eFuse logs in and is verified. Whenever the command is killed, the next run continues.
# No key is burned twice. Other chips, other keys and key blocks in use are refused.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../desk_lib.sh"
need_namespaces
desk_tools
cd "$TMP" || exit 1
start_sshd </dev/null # the gateway host's own sshd, for its operator
start_gateway --simple
cat >ssh_config <<CONF
Host gw
    HostName 127.0.0.1
    Port $SSHD_PORT
    User $SSHD_USER
    IdentityFile $KEY
    UserKnownHostsFile $TMP/known_hosts
CONF
echo "[127.0.0.1]:$SSHD_PORT $(cut -d' ' -f1,2 host_ed25519.pub)" >known_hosts
port=$(free_port)
provision() { tools provision --chip esp32s3 --ssh-config ssh_config --gateway-command "env CMXSAFE_GATEWAY=$GW $BIN/cmxsafe" "$@"; }
update_key=04$(openssl rand -hex 64)
cam1() { provision cam-1 --virt "$TMP/board/efuse.bin" --enroll gw --ports "$port" --contexts 8080:80,554+high_bw --update-key "$update_key" "$@"; }
refused() { # refused WORDS COMMAND...: expects exit status 1 and a message that contains WORDS
    local words=$1 rc=0
    shift
    "$@" >out 2>err || rc=$?
    [ $rc = 1 ] && grep -q "^cmxsafe: .*$words" err || { cat out err; fail "$*: exit status $rc, not '$words'"; }
}

"$BIN/cmxsafe-board" create board --chip esp32s3 >/dev/null || fail "create"
refused "not confirmed; nothing was burned" cam1 <<<no
grep -q BURN out && lacks '"burn"' devices/cam-1/journal.json || fail "the key was burned without a confirmation"
idle() { ! pgrep -f "espefuse.*$TMP/board/efuse.bin" >/dev/null; }
for delay in 1 2.5 3.5 5; do
    echo BURN | PYTHONPATH=$TMP/site timeout -s KILL $delay "$PYTHON" -m cmxsafe_tools provision cam-1 --chip esp32s3 --virt "$TMP/board/efuse.bin" \
        --enroll gw --ssh-config ssh_config --gateway-command "env CMXSAFE_GATEWAY=$GW $BIN/cmxsafe" --ports "$port" \
        --contexts 8080:80,554+high_bw --update-key "$update_key" >>killed.log 2>&1
    wait_for 20 idle || fail "the espefuse of the killed command does not end"
    [ -z "${key:-}" ] || cmp -s "$key" devices/cam-1/private_key.bin || fail "another key was drawn"
    key=$TMP/first_key
    cp devices/cam-1/private_key.bin "$key"
done
echo BURN | cam1 >out 2>err || { cat out err killed.log; fail "provision"; }
grep -q "done, see devices" out || { cat out; fail "provision does not report that it is done"; }
[ "$(stat -c %a devices/cam-1/private_key.bin)" = 600 ] || fail "the key's file can be read by others"
lacks "$(xxd -p -c 32 "$key")" out err killed.log devices/cam-1/journal.json devices/fleet.csv || fail "the key is printed"
cmp "$key" devices/cam-1/private_key.bin || fail "another key"
ok "killed at four moments, then finished"

# If a command was killed after the burn, the next command finds the key on the chip. It does not ask for confirmation
# and does not burn the key again.
cp board/efuse.bin before
jq '.burn = "begun"' devices/cam-1/journal.json >journal && cp journal devices/cam-1/journal.json
cam1 >out 2>err </dev/null || { cat out err; fail "the command fails after an earlier one was killed after burning"; }
cmp before board/efuse.bin && lacks "Type BURN" out || fail "burned again"
# If a command was killed before the burn, the next one asks for the confirmation again.
mkdir -p devices/cam-2
jq '.burn = "begun" | .name = "cam-2" | .ueid = "none" | del(.settings, .flash)' journal >devices/cam-2/journal.json
refused "not confirmed" provision cam-2 --virt cam-2.bin --enroll gw --ports "$(free_port)" </dev/null
grep -q "Type BURN" out || fail "provision does not ask again"
ok "killed before and after burning"

# Two commands for one device, each with a chip of its own: the second must not burn the same key.
mkfifo first.in
provision cam-7 --virt first.bin --enroll gw --ports "$(free_port)" <first.in >first.out 2>&1 &
first=$!
PIDS+=("$first")
exec {answer_in}>first.in
wait_for 60 grep -q 'Type BURN' first.out || { cat first.out; fail "no question"; }
refused "device.lock: database is locked" provision cam-7 --virt second.bin --enroll gw <<<BURN
echo no >&"$answer_in"
exec {answer_in}>&-
wait "$first"
grep -q "not confirmed; nothing was burned" first.out || { cat first.out; fail "the first command"; }
[ ! -e second.bin ] || fail "the second command used its chip"
ok "two commands for one device"

refused "a key that is not in this folder; nothing was burned" provision cam-3 --virt board/efuse.bin --enroll gw <<<BURN
refused "cam-1 has the same key" provision cam-6 --virt new.bin --enroll gw --key devices/cam-1/private_key.bin <<<BURN
openssl rand -out other.key 32
refused "cam-1 has another key already" cam1 --key other.key <<<BURN
(cd "$TMP" && "$PYTHON" -m espefuse --chip esp32s3 --virt --path-efuse-file used.bin --do-not-confirm burn-key BLOCK_KEY3 other.key USER) >espefuse.log 2>&1 || fail "espefuse"
refused "BLOCK_KEY3 is in use" provision cam-4 --virt used.bin --enroll gw <<<BURN
jq 'del(.flash)' devices/cam-1/journal.json >journal && cp journal devices/cam-1/journal.json
refused "this chip does not have cam-1's key" provision cam-1 --virt other_chip.bin --enroll gw --ports "$port" </dev/null
refused "espefuse at /dev/no-such-port" provision cam-5 --port /dev/no-such-port --firmware 0x10000=before --enroll gw <<<BURN
rc=0; provision cam-5 --virt x.bin 2>err || rc=$?; [ $rc = 2 ] || fail "usage: $rc"
for bad in "--contexts 81:0" "--contexts 81+high" "--update-key 04abcd"; do
    rc=0; provision cam-5 --virt x.bin --enroll gw $bad 2>err || rc=$?; [ $rc = 2 ] || fail "$bad: $rc"
done
rc=0; provision 'Cam 5' --virt x.bin --enroll gw 2>err || rc=$?; [ $rc = 2 ] || fail "a name with a blank is not a usage error: $rc"
cam1 >out 2>err </dev/null || { cat out err; fail "flashing again"; }
ok "other chips, other keys and used blocks are refused"

# Checks the files that were written: the settings, the label, and the device's line in the fleet's file.
for text in gateway 127.0.0.1 "$GW_PORT" cmxsafe-gw SHA256: contexts "8080:80 554+high_bw" update_key "$update_key"; do grep -aq "$text" devices/cam-1/nvs.bin || fail "the NVS image lacks $text"; done
[ "$(stat -c %s devices/cam-1/nvs.bin)" = $((0x5000)) ] || fail "the NVS image has another size"
fingerprint=$(ssh-keygen -lf devices/cam-1/key.pub | awk '{print $2}')
"$PYTHON" - devices/cam-1/label.svg "$fingerprint" <<'PY' || fail "wrong label"
import sys, xml.dom.minidom
texts = [t.firstChild.data for t in xml.dom.minidom.parse(sys.argv[1]).getElementsByTagName("text")]
assert texts[0] == "cam-1" and "".join(texts[1:]) == sys.argv[2], texts
PY
gw show cam-1 --json | json_is '.device.key == $f' --arg f "$fingerprint" >/dev/null || { gw show cam-1 --json; fail "enrolled with another key"; }
gw import devices/fleet.csv | grep -q "unchanged 1" || fail "cmxsafe gateway import"
ok "settings, label and the fleet's file"

# The device logs in for the first time. A chip has its settings in NVS. Here the virtual board gets them on its command
# line, from the journal that `provision` wrote.
set_of() { jq -r ".settings.$1" devices/cam-1/journal.json; }
cp devices/cam-1/private_key.bin board/ # a chip has the key in its eFuse, but espefuse leaves read-protected bits out of efuse.bin
"$BIN/cmxsafe-board" run board --gateway "$(set_of gateway):$(set_of port)" --set "gateway.user=$(set_of user)" \
    --set "gateway.host_key=$(set_of host_key | cut -d' ' -f1)" --set "board.port_offset=$(free_offset)" \
    --set "context attest.local_port=8888" --set "context attest.remote_port=$port" 2>>board.log &
PIDS+=($!)
tail -c +65537 board/flash.bin >firmware.bin
tools image manifest --require hardware-key firmware.bin >manifest || fail "manifest"
cam1 --manifest manifest --evidence-url "http://127.0.0.1:$port" --wait 60 >out 2>err </dev/null || { cat out err; fail "evidence"; }
grep -q "evidence TRUSTED" out || fail "no verdict"
flip firmware.bin 5000
tools image manifest --require hardware-key firmware.bin >manifest || fail "manifest"
refused "NOT TRUSTED; do not deliver" cam1 --again --manifest manifest --evidence-url "http://127.0.0.1:$port" </dev/null # trusted before
refused "NOT TRUSTED; do not deliver" cam1 --manifest manifest --evidence-url "http://127.0.0.1:$port" </dev/null
no_sanitizer_report board.log || fail "a sanitizer complains"
ok "the device logs in with its key, and its evidence is verified"

# A batch stops at the first device that the operator does not confirm; the next run continues with this device. The CSV
# files have the form in which a spreadsheet writes them.
printf '\xef\xbb\xbf\r\nName;ports ;group;\r\nb-1;"%s, %s";lab\r\n;;;\r\nb-2; %s ;lab;' "$(free_port)" "$(free_port)" "$(free_port)" >batch.csv
batch() { provision --batch batch.csv --virt '{name}.bin' --enroll gw --dir fleet; }
refused "b-2: not finished" batch <<<BURN
sed -i 's/,/;/g; s/$/\r/' fleet/fleet.csv
batch >out 2>err <<<BURN || { cat out err; fail "the second run"; }
prints_no "b-1: the key is about" cat out || fail "b-1 is burned again"
[ "$(wc -l <fleet/fleet.csv)" = 3 ] && gw show b-2 --json | json_is '.device.group == "lab"' >/dev/null || { gw show b-2 --json; fail "the fleet's file or the device's group is wrong"; }
gw import fleet/fleet.csv | grep -q "unchanged 2" || { cat fleet/fleet.csv; fail "the fleet's file differs from the gateway's registry"; }
ok "a batch continues where it stopped"
printf 'name\nb-3\nb-3\n' >batch.csv
refused "b-3 is given twice; " batch <<<BURN
[ ! -e fleet/b-3 ] || fail "a batch with two devices of one name is begun"

# A device that was finished is enrolled and flashed again, with the new options, only with --again. Otherwise a message reports that it was finished.
again() { provision cam-1 --virt "$TMP/board/efuse.bin" --enroll gw --ports "$port" --group garden --contexts 9090 "$@" >out 2>err </dev/null || { cat out err; fail "again $*"; }; }
cp devices/fleet.csv fleet.was
again
grep -q "was enrolled and flashed before; give --again to do both again" out && cmp fleet.was devices/fleet.csv && lacks -a 9090 devices/cam-1/nvs.bin || { cat out; fail "a finished device was changed, or the message does not name --again"; }
again --again
grep -q garden devices/fleet.csv && grep -aq 9090 devices/cam-1/nvs.bin && gw show cam-1 --json | json_is '.device.group == "garden"' >/dev/null || { cat out; fail "--again"; }
# A flash that failed is tried again with the options of the new command.
jq 'del(.flash)' devices/cam-1/journal.json >journal && cp journal devices/cam-1/journal.json
again --contexts 9191
grep -aq 9191 devices/cam-1/nvs.bin || fail "the second attempt did not use its own options"
ok "options that differ from those of an earlier command"

# Files that are missing or belong to another device are found before the key is burned.
before() { refused "$@" <<<BURN && lacks "Type BURN" out || { cat out; fail "found too late: $*"; }; }
before "no-such-file: " provision w-1 --virt w-1.bin --enroll gw --manifest no-such-file
before "no-such-file: " provision w-1 --port /dev/null --enroll gw --firmware 0x10000=no-such-file
before "no-such-file: .*; print it at the gateway: .* gateway enroll w-1 .* <devices/w-1/key.pub" provision w-1 --virt w-1.bin --settings no-such-file
"$BIN/cmxsafe" gateway init --user --dir "$TMP/fleet-gateway" --host 127.0.0.1 --listen "127.0.0.1:$(free_port)" --fleet fd12:3456:789a::/48 >/dev/null || fail "init"
w1() { provision w-1 --virt w-1.bin --settings "$@"; }
for name in w-1 w-2; do
    [ $name = w-1 ] && cp devices/w-1/key.pub key.pub || ssh-keygen -q -t ecdsa -N '' -f key <<<y >/dev/null
    "$BIN/cmxsafe" gateway enroll $name --dir "$TMP/fleet-gateway" --key key.pub --ports 81 --form kconfig >$name.settings || fail "enroll $name"
done
before "has no line '# sdkconfig for w-1', so its address may be another device's; " w1 w-2.settings
sed -i 's/REMOTE_ADDRESS=.*/REMOTE_ADDRESS="fleet:fd12:3456:789a::\/48"/' w-2.settings
for file in w-1.settings w-2.settings; do w1 $file --again >out 2>err <<<BURN || { cat out err; fail "$file"; }; done
ok "files are checked before the key is burned"

# Commands that run at the same time each add their device to the fleet's file.
printf 'name\n' >batch.csv && for n in 1 2 3 4 5 6; do echo "t-$n" >>batch.csv; done
provision --batch batch.csv --virt '{name}.bin' --settings w-2.settings --dir together >out 2>err <<<"$(printf 'BURN\n%.0s' {1..6})" || { cat out err; fail "batch"; }
rm together/fleet.csv
for n in 1 2 3 4 5 6; do
    provision "t-$n" --virt "t-$n.bin" --settings w-2.settings --dir together >>together.log 2>&1 &
    last=$!
    together="${together:-} $last"
done
# shellcheck disable=SC2086
wait $together || { cat together.log; fail "one of the commands at the same time fails"; }
equal "$(cut -d, -f1 together/fleet.csv | sort | tr '\n' ' ')" "name t-1 t-2 t-3 t-4 t-5 t-6 " || { cat together.log; fail "fleet.csv lost a device"; }
ok "several commands at the same time"

# Ctrl-C does not stop a burn half-way. A shell ignores it for background processes, so env switches it on again.
PYTHONPATH=$TMP/site env --default-signal=INT setsid "$PYTHON" -m cmxsafe_tools provision c-1 --chip esp32s3 --virt c-1.bin --settings w-2.settings <<<BURN >out 2>err &
command=$!
PIDS+=("$command")
burning() { pgrep -g "$command" -f "burn-key" >/dev/null; }
wait_for 30 burning || { cat out err; fail "it does not burn"; }
kill -INT -- "-$command"
wait "$command" || { cat out err; fail "the command was stopped while it burned the key"; }
grep -q "key burned and read-protected" out || { cat out err; fail "not burned"; }
ok "Ctrl-C while the key is burned"

# Before the key is burned, its file and the names of the file and its folders are synced: a power cut after the burn then
# loses no key.
if command -v strace >/dev/null; then
    PYTHONPATH=$TMP/site strace -f -y -s 200 -e trace=fsync,/rename,/mkdir,execve -o trace "$PYTHON" -m cmxsafe_tools provision s-1 --chip esp32s3 \
        --virt s.bin --enroll gw --ssh-config ssh_config --gateway-command "env CMXSAFE_GATEWAY=$GW $BIN/cmxsafe" --dir synced \
        --ports "$(free_port)" >out 2>err <<<BURN || { cat out err; fail "provision"; }
    sed -i '/"burn-key"/q' trace
    grep -q '"burn-key"' trace || fail "no burn: $(cat out err trace)"
    after() { sed "1,/$1/d" trace | grep -q -- "$2"; } # after FIRST SECOND: the call SECOND follows the call FIRST
    after 'fsync(.*private_key.bin.* = 0' 'rename.*private_key.bin"[^"]*= 0' || fail "the key is not synced before the burn: $(cat trace)"
    after 'rename.*private_key.bin"[^"]*= 0' 'fsync(.*/synced/s-1>) *= 0' || fail "the name of the key's file is not synced before the burn: $(cat trace)"
    after 'mkdir.*s-1", ' 'fsync(.*/synced>) *= 0' || fail "the name of the device's folder is not synced before the burn: $(cat trace)"
    ok "the key is on the disk before it is burned"
else
    skip_part "order of writes: no strace"
fi
