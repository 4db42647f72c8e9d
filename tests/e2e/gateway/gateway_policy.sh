#!/usr/bin/env bash
# Attestation decides which devices can be reached. The flash of a device is altered: the device is quarantined. Once it
# runs the right firmware, it is reachable again. Without fresh, trusted evidence access stays denied. Exemptions and
# break-glass grants are visible.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
need_namespaces

make_key
make_flash $((4 << 20))
cp "$TMP/flash.bin" "$TMP/good.bin"
head -c $((0x80000)) "$TMP/firmware.bin" >"$TMP/app.bin"
tail -c 65536 "$TMP/firmware.bin" >"$TMP/last.bin"
cmx image manifest --end 0x3f0000 app.bin >"$TMP/manifest" || fail "manifest"
echo "region 0x3f0000 0x400000 file last.bin 0 $(sha256sum <"$TMP/last.bin" | cut -d' ' -f1)" >>"$TMP/manifest"
cmx identity public --key private_key.bin >"$TMP/device.pub" || fail "identity public"
grep -v '^cmxsafe-attest-1 ' "$TMP/device.pub" >"$TMP/device_ssh.pub"
[ "$(id -u)" = 0 ] && WHO=user:0 || WHO=user:$(id -un)
start_board --keyfile private_key.bin

start_gateway
key a; key b
gw enroll cam-17 --key "$TMP/a.pub" --attest-key "$TMP/device.pub" --ports 81,8888 --group cameras >/dev/null || fail "enroll"
gw enroll cam-18 --key "$TMP/b.pub" --ports 81 --group cameras >/dev/null || fail "enroll"
A=$(address_of cam-17)
web one
login() { client a -N -R "[$A]:81:127.0.0.1:$WEB" -R "[$A]:8888:127.0.0.1:$BOARD_PORT" & DEVICE=$!; PIDS+=("$DEVICE"); wait_for 20 connected cam-17 || fail "no login"; }
reaches() { answers "http://[$A]:81/" one; }
reaches_not() { ! reaches; }
standing() { gw policy show --json | jq -r --arg n "$1" '.[] | select(.device == $n) | .standing'; }
reason() { gw policy show --json | jq -r --arg n "$1" '.[] | select(.device == $n) | .reason'; }
is() { [ "$(standing "$1")" = "$2" ]; }
login
gw grant "$WHO" @cameras:81 >/dev/null || fail "grant"
wait_for 10 reaches || fail "no access before the policy"

# Mistakes are reported when the policy is set.
refused() { local why=$1; shift; ! gw policy set "$@" 2>"$TMP/err" >/dev/null || fail "policy set $*"; grep -q -- "$why" "$TMP/err" || fail "wrong message: $(cat "$TMP/err")"; }
refused "$TMP/nothing: No such file or directory" @cameras --manifest "$TMP/nothing" --enforce yes
refused "at least 60" @cameras --manifest "$TMP/manifest" --max-age 5s --enforce yes
mv "$TMP/last.bin" "$TMP/last.away"; refused "the files of" @cameras --manifest "$TMP/manifest" --enforce yes; mv "$TMP/last.away" "$TMP/last.bin"
refused "no device and no group of devices has the name 'cam-99'" cam-99 --manifest "$TMP/manifest" --enforce yes
reaches || fail "a refused policy has an effect"
sed 's/ 0x3f0000 erased$/ 0x3effff erased/' "$TMP/manifest" >"$TMP/uneven" && lacks "0x3f0000 erased" "$TMP/uneven" || fail "uneven manifest"
refused "uneven: a region must begin and end at a multiple of 4096" @cameras --manifest "$TMP/uneven" --enforce yes
gw policy set @nobody --manifest "$TMP/manifest" --enforce yes 2>&1 >/dev/null | grep -q "no device is in the group 'nobody' yet" || fail "no note about an empty group"
gw policy remove @nobody >/dev/null || fail "policy remove"

# Upper and lower case do not matter in a device's name.
gw policy set CAM-17 --manifest "$TMP/manifest" --max-age 60s --enforce no >/dev/null && gw policy list | grep -q "^cam-17 " || fail "policy set CAM-17 does not apply to cam-17: $(gw policy list)"
gw policy remove Cam-17 >/dev/null && prints_no "^cam-17 " gw policy list || fail "policy remove Cam-17 does not apply to cam-17: $(gw policy list)"

# With --enforce no, every device stays reachable.
gw policy set @cameras --manifest "$TMP/manifest" --max-age 60s --enforce no >/dev/null || fail "policy set"
wait_for 90 is cam-17 trusted || fail "the device is not trusted: $(gw policy show) $(tail -5 "$TMP/gateway.log")"
[ "$(standing cam-18)" = untrusted ] && reaches || fail "a policy that only reports closes something"
gw show cam-17 | grep -q "^firmware .*attest_board" || fail "show has no firmware: $(gw show cam-17)"
claim() { gw show cam-17 --json | json_is '.attestation.claims | any(.name == $n and .result == $r)' --arg n "$1" --arg r "$2" >/dev/null; }
claim nonce ok && claim region ok || fail "the claims of the evidence are not stored: $(gw show cam-17 --json | jq -c .attestation)"
gw show cam-17 | grep -q "^last seen .* from 127.0.0.1" || fail "show does not say when the device was seen: $(gw show cam-17)"
gw show cam-17 | grep -q "^client  *OpenSSH_" || fail "show does not say with which software: $(gw show cam-17)"
gw list --json | json_is '[.[] | select(.name == "cam-17" and (.seen.client | startswith("OpenSSH_")))] | length == 1' >/dev/null || fail "list: $(gw list --json)"
ok "a policy that reports"

# With an enforced policy, the trusted device is reached, and the one without evidence is quarantined.
gw policy set @cameras --manifest "$TMP/manifest" --max-age 60s --enforce yes >/dev/null || fail "policy set"
wait_for 90 is cam-17 trusted && reaches || fail "a trusted device is not reached"
[ "$(standing cam-18)" = QUARANTINED ] || fail "a device without evidence is not quarantined: $(gw policy show)"
gw show cam-18 | grep -q "^attested .* failed (its attestation key is not known" || fail "without an attestation key nothing was compared: $(gw show cam-18)"
gw metrics | grep -qxF 'cmxsafe_device_verdict{name="cam-18",verdict="failed"} 1' || fail "the verdict without an attestation key: $(gw metrics | grep verdict)"
gw metrics | grep -qxF 'cmxsafe_device_evidence_ends_timestamp_seconds{name="cam-18"} 0' || fail "the metrics do not report 0 as the end of the missing evidence of cam-18: $(gw metrics | grep evidence_ends)"
gw list | grep -q "^cam-18 .*QUARANTINED" || fail "list does not show the quarantine"
gw metrics | grep -q '^cmxsafe_gateway_quarantined 1' || fail "metrics: $(gw metrics | grep quarantined)"
gw policy exempt cam-18 2>&1 | grep -q "reason with --why" || fail "an exemption without a reason is accepted"
gw policy exempt cam-18 --why "old hardware" >/dev/null && is cam-18 EXEMPT || fail "exempt"
[ "$(gw policy exempt cam-18 --why "old hardware")" = "cam-18: is EXEMPT from its policies (unchanged)" ] && [ "$(gw policy exempt CAM-18 --why "broken sensor")" = "CAM-18: is EXEMPT from its policies (changed)" ] || fail "wrong outcome of a repeated exemption"
[ "$(gw log cam-18 --json | jq -c '[.[] | select(.what == "exempt") | .detail]')" = '["old hardware","broken sensor"]' ] || fail "wrong reasons: $(gw log cam-18)"
gw list | grep -q "^cam-18 .*EXEMPT" || fail "list does not show the exemption"
prints_no 'evidence_ends_timestamp_seconds{name="cam-18"}' gw metrics || fail "an exempt device has no evidence that could end: $(gw metrics | grep evidence_ends)"
gw policy exempt cam-18 --remove >/dev/null && is cam-18 QUARANTINED || fail "the exemption does not end"
ok "a policy that is enforced"

# The flash is altered. The device stays connected, and the next check quarantines it. In --user mode only a connection's
# first packets are judged; gateway_policy_system.sh shows that a quarantine ends live connections.
printf 'evil' | dd of="$TMP/flash.bin" bs=1 seek=$((0x20000)) conv=notrunc status=none
stop_board; ON_PORT=$BOARD_PORT start_board --keyfile private_key.bin
is cam-17 trusted && reaches || fail "not reached before the check"
wait_for 90 is cam-17 QUARANTINED || fail "an altered device is not quarantined: $(gw policy show)"
kill -0 "$DEVICE" 2>/dev/null && connected cam-17 || fail "the device's session ended, too"
[[ $(reason cam-17) == "check 'region' failed"* ]] || fail "wrong reason: $(reason cam-17)"
wait_for 20 reaches_not || fail "a quarantined device is reached"
wait_for 10 logged "cam-17: QUARANTINED: check 'region' failed" || fail "the quarantine is not logged: $(tail -3 "$TMP/gateway.log")"
gw log cam-17 | grep -q "quarantine .*cam-17 .*region" || fail "no event in the audit trail"
claim region failed && claim nonce ok || fail "wrong claims of altered firmware: $(gw show cam-17 --json | jq -c .attestation)"
gw status | grep -q "cam-17 .*QUARANTINED" || fail "status does not say so: $(gw status)"
gw attest cam-17 -- --evidence --attest-key "$TMP/device.pub" --manifest "$TMP/manifest" >/dev/null 2>&1
claim region failed && claim ueid ok || fail "attest stored wrong claims: $(gw show cam-17 --json | jq -c .attestation)"
gw show cam-17 | grep -q "^attested .*differs" || fail "the verifier does not reach a quarantined device: $(gw show cam-17)"
ok "an altered device is quarantined"

# A break-glass grant has an end and a reason. The list of grants and the audit trail show it.
gw grant "$WHO" cam-17:81 --break-glass --for 20s --why "look at the door" 2>"$TMP/err" >/dev/null || fail "break-glass"
grep -q "quarantined" "$TMP/err" || fail "a break-glass grant is not announced"
wait_for 20 reaches || fail "break-glass does not reach the device"
gw grant | grep -q "cam-17:81 .*BREAK-GLASS  # look at the door" || fail "wrong list: $(gw grant)"
gw log cam-17 | grep -q "break-glass .*even in quarantine because look at the door" || fail "no event: $(gw log cam-17)"
wait_for 30 reaches_not || fail "break-glass does not end"
ok "break-glass"

# With the right firmware the device is trusted again.
cp "$TMP/good.bin" "$TMP/flash.bin"
stop_board; start_board --keyfile private_key.bin
stop "$DEVICE"; wait_for 20 gone cam-17; login
wait_for 90 is cam-17 trusted && wait_for 10 reaches || fail "a repaired device is not reached: $(gw policy show)"
ok "the right firmware ends the quarantine"

# Another device's evidence proves nothing.
openssl rand -out "$TMP/other_key.bin" 32; chmod 600 "$TMP/other_key.bin"
stop_board; start_board --keyfile other_key.bin
stop "$DEVICE"; wait_for 20 gone cam-17; login
wait_for 90 is cam-17 QUARANTINED && [[ $(reason cam-17) == *"not authentic"* ]] && wait_for 20 reaches_not || fail "evidence with another key does not quarantine the device: $(gw policy show)"
stop_board; start_board --keyfile private_key.bin
stop "$DEVICE"; wait_for 20 gone cam-17; login
wait_for 90 is cam-17 trusted || fail "the device is not trusted again"
ok "another device's evidence"

# Recorded evidence of this device is refused, because its nonce is not the nonce of the new request. The device has
# restarted since the recording, so the evidence also names an earlier boot (bootseed), but the nonce alone is reason
# enough.
ranges=$(awk '$1 == "region" { printf "%s%s-%s", sep, $2, $3; sep = "," }' "$TMP/manifest")
record() { curl -sf -H 'Accept: application/eat+cwt' -o "$TMP/$1" "http://127.0.0.1:$BOARD_PORT/evidence?nonce=$(openssl rand -hex 32)&alg=ES256&ranges=$ranges" || fail "no evidence to record"; }
# bootseed FILE: prints the boot seed in the evidence: claim 268 of RFC 9711, 32 bytes in CBOR.
bootseed() { python3 -c 'import re, sys; print(re.search(rb"\x19\x01\x0c\x58\x20(.{32})", open(sys.argv[1], "rb").read(), re.S)[1].hex())' "$TMP/$1"; }
record recorded; record same
stop_board; start_board --keyfile private_key.bin
record later
equal "$(bootseed recorded)" "$(bootseed same)" || fail "one boot has two seeds"
differ "$(bootseed recorded)" "$(bootseed later)" || fail "evidence does not name its boot"
# answer.py PORT SOURCE [FOLDER]: answers each request with the file SOURCE, or with the answer of the board at the URL
# SOURCE. With FOLDER it creates FOLDER/held and sends the answer once FOLDER/go exists.
cat >"$TMP/answer.py" <<'PY'
import http.server, os, sys, time, urllib.request
port, source, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = source + self.path if source.startswith("http:") else "file://" + source
        body = urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "application/eat+cwt"})).read()
        if folder:
            open(folder + "/held", "w").close()
            while not os.path.exists(folder + "/go"):
                time.sleep(0.02)
        self.send_response(200)
        self.send_header("Content-Type", "application/eat+cwt")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
PY
REPLAY=$(free_port); python3 "$TMP/answer.py" "$REPLAY" "$TMP/recorded" & PIDS+=("$!")
wait_for 10 listening "$REPLAY" || fail "no replay"
stop "$DEVICE"; wait_for 20 gone cam-17
client a -N -R "[$A]:81:127.0.0.1:$WEB" -R "[$A]:8888:127.0.0.1:$REPLAY" & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 90 is cam-17 QUARANTINED && wait_for 20 reaches_not || fail "replayed evidence is believed: $(gw policy show)"
[[ $(reason cam-17) == *nonce* ]] || fail "wrong reason: $(reason cam-17)"
stop "$DEVICE"; wait_for 20 gone cam-17; login
wait_for 90 is cam-17 trusted || fail "the device is not trusted again"
ok "replayed evidence"

# An operator changes the policy while a check is under way: the verdict of this check, which used the former policy,
# does not count.
cp "$TMP/manifest" "$TMP/manifest2"
sed -i -E "s/^(region 0x3f0000 .*) [0-9a-f]{64}$/\\1 $(head -c 65536 /dev/zero | sha256sum | cut -d' ' -f1)/; s/last.bin/zero.bin/" "$TMP/manifest2"
head -c 65536 /dev/zero >"$TMP/zero.bin"
differ "$(cat "$TMP/manifest")" "$(cat "$TMP/manifest2")" || fail "the two manifests do not differ"
HOLD=$(free_port); python3 "$TMP/answer.py" "$HOLD" "http://127.0.0.1:$BOARD_PORT" "$TMP" & PIDS+=("$!")
wait_for 10 listening "$HOLD" || fail "the service that holds evidence back does not listen"
stop "$DEVICE"; wait_for 20 gone cam-17
client a -N -R "[$A]:81:127.0.0.1:$WEB" -R "[$A]:8888:127.0.0.1:$HOLD" & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 test -e "$TMP/held" || fail "the device is not asked after its login"
gw policy set @cameras --manifest "$TMP/manifest2" --max-age 60s --enforce yes >/dev/null || fail "policy set"
touch "$TMP/go"
differs() { is cam-17 QUARANTINED && [[ $(reason cam-17) == "check 'region' failed"* ]]; }
decided() { is cam-17 trusted || differs; }
wait_for 60 decided || fail "no verdict: $(gw policy show)"
differs && reaches_not || fail "what was found by the former policy counts: $(gw policy show)"
gw policy set @cameras --manifest "$TMP/manifest" --max-age 60s --enforce yes >/dev/null || fail "policy set"
wait_for 90 is cam-17 trusted || fail "the device is not trusted again"
stop "$DEVICE"; wait_for 20 gone cam-17; login
wait_for 90 is cam-17 trusted || fail "the device is not trusted again"
ok "a policy that changes during a check"

# Without a working worker, evidence expires by itself and access ends.
WORKER=$(pgrep -o -f "^[^ ]*cmxsafe gateway worker --dir $GW\$") && pause "$WORKER" || fail "no worker"
reaches || fail "not reached while the evidence is valid"
sql "$GW/registry.db" "UPDATE evidence SET ends = ends - 57, boot_ends = boot_ends - 57 WHERE trusted = 1" || fail "sqlite3"
wait_for 30 is cam-17 QUARANTINED && wait_for 20 reaches_not || fail "without the worker it stays open: $(gw policy show)"
connected cam-17 || fail "the session ended, too: $(gw status)"
kill -CONT "$WORKER"
wait_for 90 is cam-17 trusted && wait_for 20 reaches || fail "the worker continues"
# Clock jumps are tested in tests/unit/gateway. Within one boot, the time since boot decides when evidence expires.
# After a reboot, evidence does not count while the clock is before the time of the evidence.
ok "a worker that hangs"

# A device that gives no evidence after a login is quarantined when the grace period ends. Access also ends if the
# stored manifest has been changed, because the worker can then no longer verify evidence.
stop_board
stop "$DEVICE"; wait_for 20 gone cam-17; login
wait_for 60 is cam-17 QUARANTINED && wait_for 20 reaches_not || fail "a silent device stays open: $(gw policy show)"
silent() { [[ $(reason cam-17) == "it gives no evidence: "* ]]; }
wait_for 60 silent || fail "wrong reason for a silent device: $(reason cam-17)"
gw log cam-17 | tail -1 | grep -q "cam-17  *it gives no evidence: " || fail "no event: $(gw log cam-17 | tail -3)"
gw show cam-17 | grep -q "^attested .* failed (it gives no evidence: " || fail "show: $(gw show cam-17)"
start_board --keyfile private_key.bin
stop "$DEVICE"; wait_for 20 gone cam-17; login
wait_for 90 is cam-17 trusted || fail "the device is not trusted again"
mv "$GW/store" "$TMP/store.kept" && mkdir "$GW/store" || fail "mv"
gw doctor | grep -q "^bad .*a manifest in the policy for 'cameras', or a file that it names, is missing" || fail "doctor overlooks a missing manifest: $(gw doctor)"
rmdir "$GW/store" && mv "$TMP/store.kept" "$GW/store" || fail "mv back"
for f in "$GW"/store/*; do echo "# changed" >>"$f"; done # the worker can no longer verify evidence
sql "$GW/registry.db" "UPDATE evidence SET ends = ends - 50, boot_ends = boot_ends - 50 WHERE trusted = 1" || fail "sqlite3"
wait_for 60 is cam-17 QUARANTINED && wait_for 20 reaches_not || fail "a changed manifest keeps it open: $(gw policy show)"
gw doctor | grep -q "^bad .*a manifest in the policy for 'cameras', or a file that it names, is missing or was changed; run 'cmxsafe gateway policy set' again" || fail "doctor: $(gw doctor)"
gw policy set @cameras --manifest "$TMP/manifest" --max-age 60s --enforce yes >/dev/null || fail "policy set"
wait_for 90 is cam-17 trusted && wait_for 20 reaches || fail "not trusted after the manifest was stored again: $(gw policy show)"
gw policy remove @cameras >/dev/null && [ -z "$(standing cam-18)" ] || fail "policy remove"
ok "without fresh, trusted evidence access is denied"
stop_gateway
stop_board
