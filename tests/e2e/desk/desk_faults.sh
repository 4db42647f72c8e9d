# Tests the Python tools with faults: endless and missing files, closed streams, a full disk, broken files of a batch,
# wrong options, and a device whose answers are hostile. Each command ends with one line that says what failed.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../desk_lib.sh"
desk_ready
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null || fail "openssl"
head -c 32 /dev/urandom >private_key.bin
make_image app.bin 1.0.0
printf 'cmxsafe-manifest 1\nflash-size 0x1000\nregion 0 0x1000 erased\n' >manifest
echo token >token

# ends STATUS TEXT ARGUMENT...: adds a case: the command soon ends with STATUS and prints one line on stderr, which
# contains TEXT.
# check_cases: runs the cases in one process
ends() { jq -nc --args '$ARGS.positional' -- "$@" >>cases; }
check_cases() {
    PYTHONPATH=$TMP/site "$PYTHON" "$ROOT/tests/e2e/desk/desk_cases.py" <cases || fail "see above"
    rm cases
}

mkfifo fifo
mkdir folder
: >empty
for f in /dev/zero fifo folder empty missing; do
    ends 1 "$f" image info "$f"
    ends 1 "$f" image verify --key "$f" app.bin
    ends 1 "$f" image sign --key "$f" app.bin
    ends 1 "$f" image manifest "$f"
    ends 1 "$f" image manifest --fill "$f" app.bin
    ends 1 "$f" image fill --key "$f" app.bin filled
    ends 1 "$f" identity public --key "$f"
    ends 1 "$f" attest --compute --challenge c --image "$f"
    ends 1 "$f" attest --evidence --attest-key "$f" --manifest manifest
    ends 1 "$f" attest --evidence --manifest "$f"
    ends 1 "$f" attest --evidence --manifest manifest --token "$f" --nonce 0011223344556677
    ends 1 "$f" update "$f"
    ends 1 "$f" update --attest-key "$f" app.bin
    ends 1 "" provision cam-1 --chip esp32c3 --virt efuse --settings "$f"
done
ends 1 "No such file or directory; make one with" image key --key missing
check_cases
ok "endless and missing files are refused by name"

cp private_key.bin private_key.was
ends 1 "private_key.bin: is the key" attest --evidence --manifest manifest --token token --nonce 0011223344556677 --save private_key.bin
check_cases
cmp private_key.bin private_key.was || fail "the hardware key was replaced by a token"
for option in --wait --limit-rate --port; do ends 2 "is not a number from 1 to" update $option 0 app.bin; done
ends 2 "'2x' is not a number from 0 to 4294967295" attest --at 2x
ends 2 "'0' is not a number from 1 to 3600" attest --timeout 0
ends 2 "'4GB' is not a size such as 4MB" image manifest --end 4GB app.bin
for mask in 1-2 2-1=x 1-2,3-4=x 1-2=; do ends 2 "'$mask' is not BEGIN-END=NAME" image manifest --mask "$mask" app.bin; done
for url in host https://host http:// 'http://[' http://host:99999 http://host:0 'http://h st' http://hüte "http://$(printf 'a%.0s' {1..70})" http://h/?q; do
    ends 2 "is not a URL of the form http://HOST[:PORT]" attest --url "$url"
    ends 2 "is not a URL of the form http://HOST[:PORT]" update --url "$url" app.bin
    ends 2 "is not a URL of the form http://HOST[:PORT]" update --attest-key private_key.bin --attest-url "$url" app.bin
done
ends 2 "--attest-key can't be used with --no-wait" update --no-wait --attest-key private_key.bin app.bin
ends 2 "--evidence-url needs reference values: --manifest FILE" provision cam-1 --chip esp32c3 --virt efuse --settings file --evidence-url http://127.0.0.1:8888
ends 2 "--attest-url needs --attest-key" update --attest-url http://127.0.0.1:8888 app.bin
for option in --device --ssh-config --port; do ends 2 "--device, --port and --ssh-config need --gateway" update $option 1 app.bin; done
ends 2 "--image, --ranges and --challenge can't be used with --evidence" attest --evidence --manifest manifest --image app.bin
for option in --firmware=app.bin --firmware=0x0= --firmware==app.bin; do ends 2 "is not OFFSET=FILE" provision cam-1 --chip esp32c3 $option; done
for place in 0x9000 0x9000+ 0x9000+0x2fff; do ends 2 "is not OFFSET+SIZE" provision cam-1 --chip esp32c3 --nvs $place; done
ends 2 "not LOCAL[:REMOTE]" provision cam-1 --chip esp32c3 --contexts "８０"
check_cases
tools image info $'a\e[31m\xc2\x9bb\x9b' >out 2>err && fail "a missing file is not an error"
equal "$(cat err)" "cmxsafe: a?[31m?b?: No such file or directory" || fail "a message has control characters"
ok "wrong options"

unwritten() { # unwritten ARGUMENT...: expects that output to a full disk, to a closed stream and to one that cannot be written is a failure
    ! tools "$@" >/dev/full 2>err && equal "$(cat err)" "cmxsafe: writing the output failed: No space left on device" || { cat err; fail "a full disk: $*"; }
    ! tools "$@" >&- 2>err && equal "$(cat err)" "cmxsafe: writing the output failed: Bad file descriptor" || { cat err; fail "closed: $*"; }
    ! tools "$@" 1</dev/null 2>err && equal "$(cat err)" "cmxsafe: writing the output failed: Bad file descriptor" || { cat err; fail "read-only: $*"; }
}
unwritten --version
unwritten image sign --help
unwritten identity public
unwritten image manifest app.bin
tools identity public --key missing >out 2>&- && fail "a missing key is not an error"
[ ! -s out ] || { cat out; fail "with stderr closed, a message goes to stdout"; }
tools image verify --key k.pem app.bin <&- 2>err && fail "a private key is accepted as the public key"
{ tools --help; echo "$?" >rc; } 2>err | true
[ ! -s err ] || { cat err; fail "output to a pipe that is closed"; }
for locale in C C.UTF-8; do
    name=$'\xff\xc3\xbc.bin'
    LC_ALL=$locale PYTHONIOENCODING=ascii tools image sign --opaque --key k.pem --out "$name" token >out 2>err && grep -qaF "$name: signed" out || { cat -v out err; fail "a name that is not UTF-8"; }
    LC_ALL=$locale tools attest --compute --json --challenge $'\xff\e' --image app.bin >out 2>err && json_is '.challenge == "\ufffd\u001b"' out || { cat -v out err; fail "a challenge that is not UTF-8"; }
done
ok "output that cannot be written, closed streams, and names that are not UTF-8"

provision() { ends 1 "$1" provision --chip esp32c3 --settings settings --dir "$2" "${@:3}" && check_cases; }
printf 'CONFIG_CMX_%s="x"\n' GATEWAY_HOST USER HOST_KEYS >settings
: >file
provision "file" file cam-1 --virt efuse.bin
provision "not confirmed; nothing was burned" devices cam-1 --virt efuse.bin
[ "$(stat -c %a devices/cam-1/private_key.bin)" = 600 ] || fail "the key's file can be read by others"
for text in '[]' '{"a":' $'\xff'; do
    printf %s "$text" >devices/cam-1/journal.json
    provision "cam-1/journal.json: is " devices cam-1 --virt efuse.bin
    provision "cam-1/journal.json: is " devices cam-2 --virt efuse.bin
done
rm -r devices
for text in '' 'name\n' 'ports\n81\n' 'name,ports\n,81\n' 'name,colour\ncam-1,red\n' 'name,ports\ncam-1,81\ncam-2,81,82\n' 'name\n"cam-1\n' 'name\n\xff\n'; do
    printf "$text" >batch.csv
    provision "batch.csv: " devices --batch batch.csv --virt '{name}'
done
printf 'name,ports\ncam-1,81\nCam 2,81\n' >batch.csv
provision "batch.csv: Cam 2: 'Cam 2': a name has lower-case letters, digits and hyphens" devices --batch batch.csv --virt '{name}'
printf 'name,ports\ncam-1,81\ncam-2,81;reboot\n' >batch.csv
provision "batch.csv: cam-2: --ports '81;reboot': not a list" devices --batch batch.csv --virt '{name}'
printf 'name,port\ncam-1,/dev/null\n' >batch.csv
provision "batch.csv: cam-1: --port needs --firmware" devices --batch batch.csv
[ ! -e devices ] || fail "a batch with a wrong line is begun"
ok "broken journals and batches are refused before anything is burned"

PYTHONPATH=$TMP/site "$PYTHON" "$ROOT/tests/e2e/desk/desk_faults.py" || fail "see above"
ok "hostile answers of a device"
