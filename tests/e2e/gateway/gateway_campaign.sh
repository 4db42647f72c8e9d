#!/usr/bin/env bash
# Runs update campaigns on three boards, one of them offline, with an enforced policy. The worker is killed at every
# step, and no board receives the image twice. Then a campaign is paused, resumed and scheduled, and the boards refuse
# an image.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$ROOT/tests/tools/ota_image.sh"
need_namespaces
esptool_ready
cd "$TMP" || exit 1
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
public=$("$BIN/cmxsafe" image key --key k.pem)
for v in 1 2 3 4 5 6 7; do make_image v$v.bin $v.0.0 esp32c3 0 1600; done
for v in 1 2 4 5 6 7; do "$BIN/cmxsafe" image sign --key k.pem v$v.bin >/dev/null || fail "sign"; done
openssl rand -out key.bin 32
echo BURN | "$ESPTOOL" -m espefuse --chip esp32c3 --virt --path-efuse-file efuse.bin burn-key BLOCK_KEY3 key.bin HMAC_UP >espefuse.log 2>&1 || fail "espefuse"

start_gateway --fleet fd12:3456:789a::/48
pin=$(grep -oE 'SHA256:[A-Za-z0-9+/]{43}' init.out | head -n 1)
make_board() {
    "$BIN/cmxsafe-board" create "$1" --chip esp32c3 --image v1.bin >/dev/null || fail "create $1"
    openssl rand -out "$1.key" 32
    # All boards have the same efuse.bin, which lacks the read-protected key. Each board has its own key in a file.
    cp efuse.bin "$1/" && cp "$1.key" "$1/private_key.bin"
    gw enroll "$1" --hwkey "$1.key" --ports 81,8989,8888 --group boards >/dev/null || fail "enroll $1"
    gw grant "user:$(id -un)" "$1" >/dev/null || fail "grant"
    echo $(free_offset) >"$1.offset"
}
run_board() {
    "$BIN/cmxsafe-board" run "$1" --gateway "127.0.0.1:$GW_PORT" --set gateway.user=cmxsafe-gw --set "gateway.host_key=$pin" \
        --set "gateway.remote_address=$(address_of "$1")" --set "board.port_offset=$(cat "$1.offset")" --set "ota.public_key=$public" \
        --set ota.confirm_s=60 2>>"$1.log" &
    PIDS+=("$!")
}
for n in b1 b2 b3; do make_board $n; done
for n in b1 b2; do run_board $n; done
told() { inside curl -sS -m 10 "http://[$(address_of "$1")]:8989/update" 2>/dev/null | jq -r "$2"; }
told_nothing() { ! inside curl -sS -m 3 -o /dev/null "http://[$(address_of "$1")]:8989/update" 2>/dev/null; }
runs() { [ "$(told "$1" '"\(.running.version) \(.running.confirmed)"')" = "$2 true" ]; }
for n in b1 b2; do wait_for 60 runs $n 1.0.0 || fail "$n does not answer through the gateway"; done


# A firmware image can run from either slot, so it has two manifests. The flash after the image is not compared.
write_manifest() { # write_manifest VERSION OFFSET: writes the file vVERSION-OFFSET
    local end=$(($2 + ($(stat -c %s "v$1.bin") + 4095) / 4096 * 4096))
    "$BIN/cmxsafe" image manifest --at "$2" --end "$(printf '0x%x' $end)" "v$1.bin" >"v$1-$2" || fail "manifest"
}
for v in 1 2 4; do write_manifest $v 0x10000; write_manifest $v 0x200000; done
gw policy set @boards --manifest v1-0x10000 --max-age 10m --enforce yes >/dev/null || fail "policy set"
standing() { gw policy show --json | jq -r --arg n "$1" '.[] | select(.device == $n) | .standing'; }
is() { [ "$(standing "$1")" = "$2" ]; }
for n in b1 b2; do wait_for 60 is $n trusted || fail "$n is not trusted: $(gw policy show)"; done

worker() { pgrep -o -f "^[^ ]*cmxsafe gateway worker --dir $GW\$"; }
kill_worker() { # kills the worker, and any child of it that has not called exec yet
    local pids
    mapfile -t pids < <(worker)
    [ ${#pids[@]} -gt 0 ] && kill -9 "${pids[@]}"
}
progress() { gw campaign show "$1" --json 2>/dev/null | jq -r --arg n "$2" '.devices[] | select(.device == $n) | .state'; }
at() { [ "$(progress "$1" "$2")" = "$3" ]; }
state() { [ "$(gw campaign show "$1" --json | jq -r .state)" = "$2" ]; }
count() { grep -c "$2" "$1.log"; }
log_has() { grep -q "$2" "$1.log"; }
soon() { # soon COMMAND...: waits until COMMAND succeeds; polls often, so that the following kill hits this step
    local i
    for i in $(seq 1200); do "$@" && return 0; sleep 0.05; done
    return 1
}
reported() { fail "$1: $(gw campaign show may) $(tail -n 5 gateway.log)"; }

# The campaign has its own copies of the manifests, so the operator's files can be deleted.
gw campaign start may --group boards --image v2.bin --manifest v2-0x10000 --manifest v2-0x200000 --first 1 --parallel 2 >start.out || fail "campaign start"
kill_worker
grep -qx 'may: version 2.0.0 for 3 devices' start.out || fail "start: $(cat start.out)"
mkdir away && mv v2.bin v2-* v1-* away/
soon at may b1 begun || reported "b1 does not begin"
kill_worker
soon log_has b1 'upload begins' || reported "no upload"
kill_worker
soon log_has b1 'update ready' || reported "no whole upload"
kill_worker
soon log_has b1 'restarting into' || reported "no restart"
kill_worker
soon log_has b1 'version 2.0.0 is confirmed' || reported "no confirmation"
kill_worker
gw campaign show may --json | json_is '.devices | map({(.device): .state}) | add | .b1 == "done" or .b2 == "waiting"' || reported "b2 began before the first board was done"
soon at may b1 attesting || at may b1 done || reported "b1 does not attest"
kill_worker
soon at may b1 done || reported "b1 is not done"
for i in 1 2 3 4 5 6; do at may b2 done && break; sleep "$((RANDOM % 3)).$((RANDOM % 10))"; kill_worker; done
wait_for 120 at may b2 done || reported "b2 is not done"
[ "$(progress may b3)" = waiting ] && state may active || reported "a board that is away does not wait"
for n in b1 b2; do
    runs $n 2.0.0 || fail "$n does not run 2.0.0"
    [ "$(count $n 'update ready')" = 1 ] && [ "$(count $n 'restarting into')" = 1 ] || fail "$n was updated twice: $(grep ota $n.log)"
    is $n trusted || fail "$n: $(gw policy show)"
done
ok "the worker was killed at every step; each board was updated once, and attested"

run_board b3
wait_for 120 at may b3 done && wait_for 20 state may done || reported "a board that came back is not updated"
runs b3 2.0.0 || fail "b3 does not run 2.0.0"
[ "$(gw log b3 | grep -c '  updated .*may: version 2.0.0')" = 1 ] || fail "wrong audit trail: $(gw log b3)"
gw campaign show may --json | json_is '.done == 3 and .failed == 0 and (.manifests | length) == 2' >/dev/null || reported "the counts"
ok "a board that was away is updated when it comes back"

# A repeated campaign uploads nothing to a board that already runs the version.
gw campaign start again --all --image away/v2.bin >/dev/null || fail "campaign start"
wait_for 60 state again done || fail "$(gw campaign show again)"
for n in b1 b2 b3; do [ "$(count $n 'update ready')" = 1 ] || fail "$n received the image that it already runs"; done
gw campaign remove again >/dev/null && ! gw campaign show again 2>/dev/null || fail "remove"
ok "a board that runs the version gets no upload"

# Campaigns are scheduled, paused and resumed; an update ends the quarantine of boards. If the first board refuses the
# image, the campaign stops.
! gw campaign start june b1 2>err.out >/dev/null && grep -q -- --image err.out || fail "a campaign without an image starts"
gw campaign start june --all --image v4.bin --manifest v4-0x10000 --manifest v4-0x200000 --at "$(date -u -d '+1 hour' '+%Y-%m-%d %H:%M')" >/dev/null || fail "campaign start --at"
! gw campaign start july b1 --image v4.bin 2>err.out >/dev/null && grep -q "is in the campaign 'june'" err.out || fail "a board is in two campaigns"
gw campaign list | grep -q '^june .*3 waiting.*begins' || fail "list: $(gw campaign list)"
sleep 3
at june b1 waiting || fail "the campaign begins early"
gw campaign pause june >/dev/null && state june paused || fail "pause"
sql "$GW/registry.db" "UPDATE campaign SET begins = 0 WHERE name = 'june'" || fail "sqlite3"
sleep 3
at june b1 waiting || fail "a paused campaign begins"
! gw campaign remove june 2>/dev/null || fail "a paused campaign is removed"
# Boards that are quarantined, because the policy requires the new firmware, are trusted again after the update.
gw policy set @boards --manifest v4-0x10000 --manifest v4-0x200000 --max-age 10m --enforce yes >/dev/null || fail "policy set"
for n in b1 b2 b3; do wait_for 30 is $n QUARANTINED || fail "$n is trusted with firmware that the policy does not have: $(gw policy show)"; done
wait_for 20 told_nothing b1 || fail "a quarantined board is reached"
gw campaign resume june >/dev/null && wait_for 180 state june done || fail "resume: $(gw campaign show june)"
for n in b1 b2 b3; do runs $n 4.0.0 && is $n trusted || fail "$n does not run 4.0.0, trusted: $(gw policy show)"; done
gw campaign start bad --all --image v3.bin >/dev/null || fail "campaign start"
wait_for 60 state bad stopped || fail "a refused image does not stop it: $(gw campaign show bad)"
gw campaign show bad --json | json_is '.failed == 1 and .waiting == 2 and (.devices[0].detail | test("not signed"))' >/dev/null || fail "$(gw campaign show bad)"
gw log | grep -q 'campaign-stopped .*bad' && gw log b1 | grep -q 'update-failed .*not signed' || fail "wrong audit trail"
gw campaign remove bad >/dev/null || fail "remove"
ok "schedule, pause, resume, stop"

# The clock is set back by a year, either after the update or between the evidence and the update. In both cases the
# campaign waits for new evidence.
year=31536000
forget() { # forget SQL: sets the campaign june back to where it waits for the boards' evidence, and runs SQL
    sql "$GW/registry.db" "UPDATE campaign_device SET state = 'attesting', at = unixepoch() WHERE campaign = (SELECT id FROM campaign WHERE name = 'june'); $1;
        UPDATE campaign SET state = 'active' WHERE name = 'june'" || fail "sqlite3"
}
forget "UPDATE campaign_device SET at = at + $year WHERE campaign = (SELECT id FROM campaign WHERE name = 'june')"
wait_for 60 state june done || fail "the campaign does not end after the clock was set back after the update: $(gw campaign show june)"
forget "UPDATE evidence SET given = given + $year"
wait_for 60 state june done || fail "the campaign does not end after the clock was set back before the update: $(gw campaign show june)"
[ "$(sql "$GW/registry.db" "SELECT count(*) FROM evidence WHERE given > unixepoch()")" = 0 ] || fail "evidence from before the update counts"
ok "a clock that was set back does not stop a campaign"

# A campaign is stopped while it updates a board. Another campaign for this board waits until the update has ended: the
# board then runs the image, or still waits for it.
gw policy remove @boards >/dev/null || fail "policy remove"
gw campaign start v5 b1 --image v5.bin >/dev/null || fail "campaign start"
soon at v5 b1 begun && gw campaign stop v5 >/dev/null && gw campaign start v6 b1 --image v6.bin >/dev/null || fail "a stopped campaign prevents another one"
completed() { # succeeds once v6 is done; fails the scenario if v6 begins during the update of v5
    at v6 b1 waiting || ! at v5 b1 begun || fail "two campaigns update one board at the same time"
    state v6 done
}
wait_for 120 completed && runs b1 6.0.0 || fail "the second campaign does not follow the first: $(gw campaign show v5) $(gw campaign show v6)"
settled() { at "$1" b1 done || at "$1" b1 waiting; }
wait_for 60 settled v5 || fail "the update that had begun is not settled: $(gw campaign show v5)"
# If the worker is killed too, its successor finds out whether the board runs the image of the stopped campaign, and sends nothing.
received() { count b1 'upload begins'; }
uploads=$(received)
gw campaign start v7 b1 --image v7.bin >/dev/null || fail "campaign start"
soon at v7 b1 begun && gw campaign stop v7 >/dev/null || fail "stop"
kill_worker
wait_for 60 settled v7 || fail "the update that had begun is not settled after a stop and a killed worker: $(gw campaign show v7)"
[ "$(received)" -le $((uploads + 1)) ] || fail "a stopped campaign sends its image: $(gw campaign show v7)"
gw campaign remove v7 >/dev/null || fail "remove"
gw campaign remove v5 >/dev/null && gw campaign remove v6 >/dev/null && gw campaign remove june >/dev/null && gw policy set @boards --manifest v4-0x10000 --max-age 10m --enforce no >/dev/null || fail "remove"
ok "two campaigns, one after the other"

# The next change of the gateway removes unused files from the store; a dry run removes none.
stored() { [ -e "$GW/store/$(sha256sum <"$1" | cut -d' ' -f1)" ]; }
gw campaign remove may --dry-run >/dev/null && stored away/v2.bin || fail "a dry run removes files"
gw campaign remove may >/dev/null && gw policy set @boards --manifest v4-0x10000 --max-age 10m --enforce yes >/dev/null || fail "remove"
! stored away/v2.bin && ! stored v3.bin && stored v4.bin || fail "the store: $(ls -l "$GW/store")"
stop_gateway
no_sanitizer_report b?.log || fail "a sanitizer complains"
ok "the store"
