#!/usr/bin/env bash
# A dry run of each command that changes the gateway: it prints what the command then does, it fails where the command
# fails, and it changes nothing.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$ROOT/tests/tools/ota_image.sh"
need_namespaces
esptool_ready
command -v jq >/dev/null || skip "no jq"
cd "$TMP" || exit 1
for k in k other; do openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $k.pem 2>/dev/null; done
make_image v1.bin 1.0.0
"$BIN/cmxsafe" image sign --key k.pem v1.bin >/dev/null || fail "sign"
"$BIN/cmxsafe" image key --key k.pem --pem >k.pub
"$BIN/cmxsafe" image manifest v1.bin >manifest || fail "manifest"
for k in a b c ca; do key $k; done
printf 'name,key,ports\nbatch-1,%s,81\n' "$(cat c.pub)" >batch.csv
ssh-keygen -q -k -f list.krl b.pub >/dev/null || fail "ssh-keygen -k"

# SQLite's own files and the lock file's times are not part of the state.
snapshot() {
    sql "$GW/registry.db" .dump
    find "$GW" -type f ! -name 'registry.db*' ! -name apply.lock -printf '%P %m %T@ ' -exec sha256sum {} \;
}
plain() { jq -cS 'del(.dry_run, .at, .device?.enrolled)' "$1"; } # prints a result without the members that may differ
agrees() { # agrees ARGUMENT...: runs the command of `cmxsafe gateway` as a dry run and then for real, and compares the results
    local before
    before=$(snapshot)
    gw "$@" --dry-run >dry.txt 2>err || { cat err; fail "dry run: $*"; }
    gw "$@" --dry-run --json >dry.json 2>err || { cat err; fail "the dry run with --json fails: $*"; }
    [ "$(snapshot)" = "$before" ] || { diff <(echo "$before") <(snapshot); fail "a dry run changes something: $*"; }
    head -n 1 dry.txt | grep -q '(dry run)' || { cat dry.txt; fail "a dry run is not marked as one: $*"; }
    gw "$@" --json >real.json 2>err || { cat err; fail "$*"; }
    json_is '.dry_run == true' <dry.json >/dev/null || { cat dry.json; fail "a dry run is not marked as one in JSON: $*"; }
    equal "$(plain dry.json)" "$(plain real.json)" || { cat dry.json real.json; fail "the dry run prints another result: $*"; }
}
fails_alike() { # fails_alike ARGUMENT...: expects that the command and its dry run fail with the same message
    local before
    before=$(snapshot)
    ! gw "$@" --dry-run >out 2>dry.txt || { cat out; fail "the dry run accepts: $*"; }
    [ "$(snapshot)" = "$before" ] || fail "a dry run changes something: $*"
    ! gw "$@" >out 2>real.txt || { cat out; fail "accepted: $*"; }
    cmp dry.txt real.txt || { cat dry.txt real.txt; fail "the messages differ: $*"; }
}
outcome_is() { [ "$(jq -r .outcome dry.json)" = "$1" ] || { cat dry.json; fail "the outcome is not '$1'"; }; }

gw init --user --listen 127.0.0.1:2222 --host 127.0.0.1 >/dev/null || fail init
for user in user:0 user:1; do agrees grant $user @cameras:81; done
agrees enroll cam-1 --key a.pub --ports 81,8989 --group cameras; outcome_is added
agrees enroll cam-1 --ports 81,8888 --address "$(address_of cam-1)"; outcome_is changed
agrees enroll cam-1 --ports 81,8888; outcome_is unchanged
agrees import batch.csv
agrees rename batch-1 cam-2
agrees rotate cam-2 --key b.pub; outcome_is changed
agrees grant --remove user:1 @cameras:81; outcome_is changed
agrees platform corp --ca ca.pub; outcome_is added
key d
agrees platform vms --key d.pub; outcome_is added
agrees revoke --platform vms
agrees krl list.krl; outcome_is added
agrees krl --remove
ok "devices, consumers, grants and the KRL: a dry run prints what the command does"

agrees image key k.pub
agrees image add v1.bin --name first
equal "$(jq -r .image dry.json)" "$(sha256sum <v1.bin | cut -d' ' -f1)" && grep -q "^$(jq -r .image dry.json) .* camera 1.0.0, .*  first (dry run)$" dry.txt ||
    { cat dry.json dry.txt; fail "the dry run does not print the image's digest"; }
agrees policy set @cameras --manifest manifest --enforce no; outcome_is added
agrees policy set @cameras --manifest manifest --enforce no; outcome_is unchanged
agrees policy exempt cam-1 --why test; outcome_is changed
agrees campaign start one cam-1 --image v1.bin --manifest manifest --at '2099-01-01 02:00'; outcome_is added
for action in pause resume stop; do agrees campaign $action one; outcome_is changed; done
agrees campaign remove one
agrees policy remove @cameras
agrees image remove "$(sha256sum <v1.bin | cut -d' ' -f1)"
for i in $(seq 64); do : >"$GW/images/$(printf %064d "$i")"; done
fails_alike image add v1.bin
rm "$GW"/images/*
ok "images, policies and campaigns: a dry run prints what the command does"

fails_alike enroll cam-3 --key a.pub --ports 81
fails_alike enroll cam-1 --mac 02:00:00:00:00:01 --address "$(address_of cam-1)"
fails_alike rename cam-1 cam-2
fails_alike grant user:0 nobody:81
fails_alike policy set @cameras --manifest v1.bin --enforce no
fails_alike campaign start two nobody --image v1.bin
fails_alike image remove "$(printf %064d 1)"
fails_alike leave
agrees revoke cam-2
agrees delete cam-2
ok "a dry run fails where the command fails"
