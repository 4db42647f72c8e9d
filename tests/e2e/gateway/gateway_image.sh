#!/usr/bin/env bash
# The gateway stores images for updates, from a file or from standard input. Tests the check with the update key,
# refusals, the copy that a campaign uses, and interrupted uploads.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$ROOT/tests/tools/ota_image.sh"
need_namespaces
esptool_ready
command -v jq >/dev/null || skip "no jq"
start_gateway --fleet fd12:3456:789a::/48
cd "$TMP" || exit 1
for k in k other; do openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $k.pem 2>/dev/null; done
for v in 1 2; do make_image v$v.bin $v.0.0; done
cp v2.bin bare.bin
"$BIN/cmxsafe" image sign --key k.pem v1.bin >/dev/null && "$BIN/cmxsafe" image sign --key other.pem v2.bin >/dev/null || fail "sign"
seq 20000 >bundle
"$BIN/cmxsafe" image sign --opaque --key k.pem --out bundle.signed bundle >/dev/null || fail "sign the bundle"
digest() { sha256sum <"$1" | cut -d' ' -f1; }
kept() { gw image list --json | jq -r "$1"; }
refuses() { # refuses MESSAGE COMMAND...: expects that the command fails with exactly this message
    local message=$1
    shift
    ! "$@" >out 2>err || fail "accepted: $*"
    [ "$(cat err)" = "cmxsafe: $message" ] || fail "$* reports '$(cat err)' instead of '$message'"
}

[ "$(gw image list --json)" = '{"bytes_max":512000000,"keys":[],"images":[]}' ] || fail "the list is not empty at first: $(gw image list --json)"
gw image add v1.bin >out || fail "add v1.bin"
grep -q "^$(digest v1.bin) .* ESP32-C3, camera 1.0.0, [0-9]* bytes, signature: unchecked  v1.bin$" out || { cat out; fail "wrong text"; }
gw image add bare.bin >/dev/null || fail "without an update key, an image without a signature is stored"
[ "$(kept '[.images[] | .signature] | sort | join(" ")')" = "none unchecked" ] || fail "signatures: $(kept .)"
cmp v1.bin "$(kept ".images[] | select(.name == \"v1.bin\") | .file")" || fail "the stored copy differs from the image"
refuses "the image was not stored: it is neither an ESP-IDF image nor signed; sign it with 'cmxsafe image sign'" gw image add bundle
head -c 5000 v1.bin >short.bin
! gw image add short.bin >out 2>err || fail "a truncated image is stored"
refuses "missing.bin: No such file or directory" gw image add missing.bin
refuses "/dev/zero: it has more than 512000000 bytes" gw image add /dev/zero
refuses "no image: No such file or directory" gw image add "no image"
refuses "no image: No such file or directory" gw campaign start may --all --image "no image"
mkfifo nobody
! timeout 60 "$BIN/cmxsafe" gateway image add nobody >out 2>err || fail "a FIFO without a writer is stored"
grep -q '^cmxsafe: the image was not stored: ' err || fail "wrong message about a FIFO without a writer: $(cat err)"
# The file is read only once, so the bytes that are checked are the bytes that are stored.
gw image add <(cat v1.bin) --name v1.bin >out && grep -q "^$(digest v1.bin) " out || fail "an image that can be read once: $(cat out)"
ok "images are stored under their digest"

"$BIN/cmxsafe" image key --key k.pem --pem | gw image key - >out || fail "image key -"
grep -q "^images are checked with 1 update key" out || { cat out; fail "'image key' does not report the number of keys"; }
[ "$(kept '[.images[] | select(.problem == null) | .name] | join(" ")')" = v1.bin ] || fail "the key does not verify exactly v1.bin: $(kept .)"
gw image list --json | json_is '.keys[0] as $k | .images[] | select(.name == "v1.bin") | .signature == "good" and .signed_by == $k' >/dev/null || fail "the list does not name the key that signed v1.bin"
refuses "the image was not stored: it is not signed; sign it with 'cmxsafe image sign'" gw image add bare.bin
refuses "the image was not stored: it is signed with a key that is not the update key; sign it with the update key" gw image add v2.bin
cp bundle.signed wrong.signed && printf x | dd of=wrong.signed bs=1 seek=7 conv=notrunc 2>/dev/null
refuses "the image was not stored: its signature does not match its content; sign it again" gw image add wrong.signed
"$BIN/cmxsafe" image key --key other.pem >other.hex
gw image key <(:) 2>/dev/null && fail "an empty file is accepted as the update key"
gw image key k.pem 2>err && fail "a private key is accepted as the update key"
"$BIN/cmxsafe" image key --key k.pem >k.hex
gw image key k.hex other.hex >/dev/null && gw image add v2.bin >/dev/null || fail "an image signed with the successor of the update key is refused"
[ "$(gw image key | wc -l)" = 2 ] || fail "'image key' does not list two keys: $(gw image key)"
gw log | grep -q "update-key .*set" && gw log | grep -q "image .*camera 2.0.0 $(digest v2.bin)" || fail "wrong audit trail"
ok "images are checked with the update key and its successor"

# An image may arrive on standard input in pieces; an upload that ends early is not stored, and leaves no file.
size=$(stat -c %s bundle.signed)
{ head -c 1000 bundle.signed; sleep 0.2; tail -c +1001 bundle.signed; } | gw image add - --name 'a bundle' --bytes "$size" --progress --json >out || fail "an image from standard input is refused"
[ "$(head -n 1 out)" = "{\"received\":$size}" ] || { cat out; fail "wrong progress"; }
tail -n 1 out | json_is '.format == "opaque" and .signature == "good" and .name == "a bundle" and .image == $d' --arg d "$(digest bundle.signed)" >/dev/null || { cat out; fail "the result of the check is wrong"; }
head -c "$((size - 96))" bundle.signed >cut
refuses "the image was not stored: $((size - 96)) of $size bytes arrived; send it again" gw image add - --bytes "$size" <cut
refuses "the image was not stored: it has more than $((size - 1)) bytes" gw image add - --bytes "$((size - 1))" <bundle.signed
refuses "the image was not stored: it has more than 512000000 bytes" gw image add - < <(head -c 512000001 /dev/zero)
mkfifo pipe
exec 8<>pipe
"$BIN/cmxsafe" gateway image add - --progress <pipe >progress 8>&- & ADD=$!; PIDS+=("$ADD")
head -c 300000 /dev/zero >&8
wait_for 20 grep -q received progress || fail "no progress"
kill "$ADD"; wait "$ADD" 2>/dev/null
exec 8>&-
[ -z "$(find "$GW" -name '.image*')" ] || fail "an upload that was ended left a file"
[ "$(kept '.images | length')" = 4 ] || fail "four images: $(kept .)"
ok "'image add -' shows progress and has a size limit; an upload that ends early leaves no file"

# A campaign that uses a stored image has its own copy. Removing the image leaves this copy, which is removed with the
# campaign.
key a
gw enroll cam-1 --key "$TMP/a.pub" --ports 8989 >/dev/null || fail enroll
D=$(digest v1.bin)
[ "$(kept '[.images[].image] | . == sort')" = true ] || fail "the list is not sorted: $(kept .)"
gw campaign start later cam-1 --image <(cat "$(kept ".images[] | select(.image == \"$D\") | .file")") --at '2099-01-01 02:00' >/dev/null || fail "campaign start"
gw image remove --dry-run "${D^^}" >/dev/null && [ -n "$(kept ".images[] | select(.image == \"$D\")")" ] || fail "remove --dry-run"
gw image remove "$D" >/dev/null || fail "remove"
[ -e "$GW/store/$D" ] || fail "the campaign's copy is gone"
for dry in "" --dry-run; do
    refuses "the image was not removed: the gateway keeps no such image; see 'cmxsafe gateway image list'" gw image remove $dry "$D"
done
gw image remove "${D:0:8}" 2>/dev/null && fail "remove accepts a part of a digest"
gw campaign stop later >/dev/null && gw campaign remove later >/dev/null && gw image remove "$(digest v2.bin)" >/dev/null || fail "remove"
[ ! -e "$GW/store/$D" ] && [ ! -e "$GW/store/$(digest v2.bin)" ] || fail "copies that nothing needs are left"
[ -e "$GW/store/$(digest bundle.signed)" ] || fail "an image that was not removed is gone"
# A damaged copy is listed with its problem.
chmod u+w "$GW/store/$(digest bundle.signed)" && printf x | dd of="$GW/store/$(digest bundle.signed)" bs=1 seek=7 conv=notrunc 2>/dev/null
[ "$(kept '.images[] | select(.name == "a bundle") | .problem')" = "its signature does not match its content; sign it again" ] || fail "a damaged copy: $(kept .)"
gw image add bundle.signed --name 'a bundle' >/dev/null && [ "$(kept '.images[] | select(.name == "a bundle") | .problem')" = null ] || fail "a damaged copy is not replaced: $(kept .)"
# doctor reports a campaign's copy that is lost or damaged.
finding() { gw doctor --json | jq -r '.[] | select(.check == "the policy and campaign files are intact") | .finding + " " + .why'; }
[ "$(finding)" = "ok " ] || fail "doctor: $(finding)"
gw campaign start first cam-1 --image v2.bin --at '2099-01-01 02:00' >/dev/null || fail "campaign start"
printf x >>"$GW/store/$(digest v2.bin)"
[ "$(finding)" = "bad the image of the campaign 'first' is missing or was changed" ] || fail "doctor does not report a damaged copy: $(finding)"
gw image add v2.bin >/dev/null && [ "$(finding)" = "ok " ] || fail "doctor still reports the copy after the repair: $(finding)"
# A stopped campaign can't be resumed while its devices are in another campaign that is not done.
gw campaign stop first >/dev/null && gw campaign start second cam-1 --image v2.bin --at '2099-01-01 02:00' >/dev/null || fail "a second campaign"
refuses "the campaign was not resumed: 'cam-1' is in the campaign 'second', which is not done; stop that one first" gw campaign resume first
gw campaign show first | grep -q stopped || fail "a refused resume changes the campaign: $(gw campaign show first)"
gw campaign stop second >/dev/null && gw campaign resume first >/dev/null || fail "resume after the other campaign ended"
gw campaign list | grep -q '^first .*: resumed by the operator$' || fail "list: $(gw campaign list)"
sql "$CMXSAFE_GATEWAY/registry.db" "UPDATE meta SET value = 'x,' WHERE key = 'update_keys'"
! gw image add v2.bin >/dev/null 2>err && grep -q "the update key in the registry can't be read" err || fail "images are not checked because the key can't be read: $(cat err)"
gw image key --remove >/dev/null && [ "$(gw image key)" = "no update key" ] || fail "image key --remove"
ok "an image is removed at once, and a copy that a campaign uses when the campaign is removed; damaged copies are reported and replaced; a device is in one campaign"
stop_gateway
