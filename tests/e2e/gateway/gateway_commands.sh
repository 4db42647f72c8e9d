#!/usr/bin/env bash
# Tests the operator's commands in unusual environments: a strict umask, a short PATH, concurrent commands, and files
# from spreadsheets. If a change cannot be applied, the command must fail.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces

# A strict umask during init and serve locks no device out; a second init repairs the modes of files.
GW_PORT=$(free_port)
(umask 077; gw init --user --listen "127.0.0.1:$GW_PORT" --host 127.0.0.1 >"$TMP/init.out") || fail "init"
mode() { stat -c %a "$GW/$1"; }
modes_right() {
    [ "$(mode .)" = 755 ] && [ "$(mode run)" = 775 ] && [ "$(mode registry.db)" = 640 ] && [ "$(mode hostkey_ed25519)" = 640 ] &&
        [ "$(mode hostkey_ed25519.pub)" = 644 ] && [ "$(mode hostkey_ecdsa.pub)" = 644 ] && [ "$(mode sshd_config)" = 644 ] &&
        [ "$(mode hosts)" = 644 ] && [ "$(mode fleet.nft)" = 644 ]
}
modes_right || fail "wrong modes after init with umask 077: $(ls -la "$GW")"
chmod 700 "$GW" "$GW/run"; chmod 600 "$GW"/hostkey_*.pub "$GW/registry.db" "$GW/sshd_config" "$GW/hosts" "$GW/fleet.nft"
(umask 027; gw init --user >/dev/null) || fail "init again"
modes_right || fail "init does not repair modes: $(ls -la "$GW")"
# The gateway's account may write to the folder 'run'. A link that it left there must not lead the owner to another file.
echo keep >"$TMP/other"; ln -s "$TMP/other" "$GW/run/pid"
(umask 077; exec "$BIN/cmxsafe" gateway serve) 2>>"$TMP/gateway.log" & GW_PID=$!; PIDS+=("$GW_PID")
wait_for 20 gw status || fail "the gateway does not come up"
[ "$(cat "$TMP/other")" = keep ] || fail "the gateway wrote its process id through a link in 'run'"
grep -q '^--user mode: sessions have no identities' "$TMP/init.out" || fail "init does not say that identity is off: $(cat "$TMP/init.out")"
gw status | grep -qx -- '--user mode: sessions have no identities' || fail "status does not say that identity is off: $(gw status)"
gw status --json | json_is '.identities == false' || fail "status --json says that sessions have identities"
gw doctor --json | json_is 'any(.[]; .check == "sessions have identities" and .finding == "hint" and .why == "--user mode has none")' || fail "the doctor does not say that identity is off: $(gw doctor)"
ok "--user mode says that identity is off"
key a; key b; key c
(umask 077; gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >"$TMP/enroll.out") || fail "enroll"
modes_right || fail "wrong modes after enroll with umask 077"
A=$(address_of cam-17)
web one
client a -N -R "[$A]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 connected cam-17 || fail "the device is locked out"
ok "umask 077 locks no device out"

# A device may connect to its own listener (for probe_interval), but not to that of another device.
printf 'GET / HTTP/1.0\r\n\r\n' | try_client a -W "[$A]:81" 2>/dev/null | grep -q one || fail "a device can't reach its own listener"
gw enroll cam-18 --key "$TMP/b.pub" --ports 81 >/dev/null || fail "enroll"
refused_open b -W "[$A]:81" || fail "a device reaches another's listener"
ok "a device reaches its own listener and no other's"

# A client offers nine keys, as a user's ssh-agent may do, and the right key last. It must still log in.
for i in 1 2 3 4 5 6 7 8; do key "other$i"; done
OTHERS=(); for i in 1 2 3 4 5 6 7 8; do OTHERS+=(-i "$TMP/other$i"); done
key p; gw platform vms --key "$TMP/p.pub" >/dev/null && gw grant vms cam-17:81 >/dev/null || fail "platform"
many() { ssh "${OTHERS[@]}" -i "$TMP/p" -p "$GW_PORT" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
    -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -F none -l cmxsafe-gw -W "[$A]:81" 127.0.0.1; }
export -f many
printf 'GET / HTTP/1.0\r\n\r\n' | many 2>/dev/null | grep -q one || fail "eight other keys lock a platform out"
ok "eight other keys before the right one"

# Commands have the same effects even if PATH does not contain the sbin folders.
fetch_ok() { answers "http://[$A]:81/" one; }
slim() { PATH=/usr/bin:/bin "$BIN/cmxsafe" gateway "$@"; }
U=$(id -u); [ "$U" = 0 ] && WHO=user:0 || WHO=user:$(id -un)
slim grant "$WHO" cam-17.cmx:81 >/dev/null || fail "grant with a slim PATH"
wait_for 10 fetch_ok || fail "the grant has no effect"
slim grant --remove "$WHO" cam-17:81 >/dev/null || fail "grant --remove with a slim PATH"
! fetch_ok || fail "the kernel still permits the connection"
ok "PATH without sbin"

# A user's name and number denote the same consumer: a grant to one can be removed with the other.
for pair in "user:$(id -u) user:$(id -un)" "user:$(id -un) user:$(id -u)" "group:$(id -g) group:$(id -gn)"; do
    gw grant "${pair% *}" cam-17:81 >/dev/null || fail "grant ${pair% *}"
    gw grant --remove "${pair#* }" cam-17:81 >/dev/null || fail "grant --remove ${pair#* }"
    prints_no "${pair%%:*}:" gw grant || fail "a grant to ${pair% *} is left: $(gw grant)"
    ! fetch_ok || fail "${pair% *} still reaches the device after ${pair#* } was removed"
done
for number in "0$(id -u)" "$(printf '0x%x' "$(id -u)")"; do # only the plain decimal form is the user's number
    gw grant "user:$number" cam-17:81 2>"$TMP/spelling.err" >/dev/null || fail "grant user:$number"
    grep -q "no user '$number'" "$TMP/spelling.err" || fail "no note that user:$number is unknown"
    ! fetch_ok || fail "user:$number is another name of $WHO"
    gw grant --remove "user:$number" cam-17:81 >/dev/null || fail "grant --remove user:$number"
done
gw grant cgroup:system.slice/no-such.service cam-17:81 2>"$TMP/unit.err" >/dev/null && grep -q "no cgroup 'system.slice/no-such.service'" "$TMP/unit.err" || fail "no note that a unit is unknown: $(cat "$TMP/unit.err")"
gw grant --remove cgroup:system.slice/no-such.service cam-17:81 >/dev/null || fail "grant --remove of a unit"
# A consumer has two grants to one service: to the device and to its group. If one is removed, a note names the other.
gw enroll cam-17 --group yard >/dev/null && gw grant "$WHO" cam-17:81 >/dev/null && gw grant "user:$(id -u)" @yard >/dev/null || fail "grant to a device and its group"
[ "$(gw grant --remove "$WHO" cam-17:81 2>"$TMP/other.err")" = "${WHO} has no grant to cam-17:81 (changed)" ] &&
    [ "$(cat "$TMP/other.err")" = "cmxsafe: note: $WHO still has a grant to @yard, which covers the same service" ] || fail "no note of the group's grant"
fetch_ok || fail "the group's grant has no effect"
gw grant "$WHO" cam-17:81 >/dev/null && gw grant --remove "$WHO" @yard 2>&1 | grep -q "still has a grant to cam-17:81" || fail "no note of the device's grant"
[ "$(gw grant --remove "$WHO" cam-17:81 2>&1)" = "${WHO} has no grant to cam-17:81 (changed)" ] && ! fetch_ok || fail "the message is wrong after the last grant was removed, or access remains"
gw enroll cam-17 --group '' >/dev/null || fail "group"
! gw grant "$WHO" cam-17:81 --break-glass --for 1h --why '  ' >/dev/null 2>"$TMP/why.err" && grep -q "the reason is blank" "$TMP/why.err" || fail "a break-glass grant with a blank reason is accepted"
gw grant --remove --for 1h "$WHO" cam-17:81 2>/dev/null && fail "grant --remove accepts an end"
ok "a grant by number is removed by name"

# A device's address cannot be the identity of another party, whichever of the two is registered first.
key taken; key platform
gw platform vms --key "$TMP/platform.pub" >/dev/null && gw grant group:0 cam-17:81 >/dev/null && gw grant cgroup:a/b cam-17:81 >/dev/null 2>&1 || fail "parties"
for party in gateway vms group:root user:root cgroup:a/b; do
    ! gw enroll taken --key "$TMP/taken.pub" --ports 81 --address "$(gw whois "$party" --json | jq -r .address)" >/dev/null 2>"$TMP/taken.err" &&
        grep -q "of taken is the identity of .*; give the device another address" "$TMP/taken.err" || fail "a device got the identity of $party: $(cat "$TMP/taken.err")"
done
printf 'name,key,ports,address\ntaken,taken.pub,81,%s\n' "$(gw whois gateway --json | jq -r .address)" >"$TMP/taken.csv"
! gw import "$TMP/taken.csv" >/dev/null 2>"$TMP/taken.err" && grep -q "is the identity of gateway:gateway" "$TMP/taken.err" || fail "import: $(cat "$TMP/taken.err")"
gw enroll taken --key "$TMP/taken.pub" --ports 81 --address "$(gw whois user:no-account-yet --json | jq -r .address)" >/dev/null || fail "an address that nobody has"
! gw grant user:no-account-yet cam-17:81 >/dev/null 2>"$TMP/taken.err" && grep -q "of taken is the identity of user:no-account-yet" "$TMP/taken.err" || fail "a user with a device's identity got a grant: $(cat "$TMP/taken.err")"
gw revoke taken >/dev/null && gw delete taken >/dev/null && gw revoke --platform vms >/dev/null && gw grant --remove group:0 cam-17:81 >/dev/null && gw grant --remove cgroup:a/b cam-17:81 >/dev/null || fail "clean up"
ok "no device has the identity of another party"

# If a change can't be applied to the kernel, the command exits with status 1, and its message names the cause.
mkdir "$TMP/fake"
printf '#!/bin/sh\necho "nft: no" >&2\nexit 1\n' >"$TMP/fake/nft"; chmod 755 "$TMP/fake/nft"
gw grant "$WHO" cam-17:81 >/dev/null || fail "grant"
fails() { # fails PATTERN COMMAND...: expects that the command exits with 1, prints PATTERN, and reports no success on stdout
    local pattern=$1 status=0
    shift
    "$@" >"$TMP/fails.out" 2>"$TMP/fails.err" || status=$?
    [ "$status" = 1 ] || fail "exit $status: $*"
    grep -q -- "$pattern" "$TMP/fails.err" || fail "wrong message of $*: $(cat "$TMP/fails.err")"
    lacks 'has no grant to' "$TMP/fails.out" || fail "reported as done: $*"
}
PATH=$TMP/fake:$PATH fails "applying it failed: .*run 'cmxsafe gateway init'" gw grant --remove "$WHO" cam-17:81
mv "$GW/run/pid" "$TMP/pid"
fails "applying it failed: .*namespaces can't be entered" gw grant "$WHO" cam-18:81
mv "$TMP/pid" "$GW/run/pid"
gw init --user >/dev/null || fail "init"
! fetch_ok || fail "init did not apply the pending changes"
ok "a change that cannot be applied is a failure, and init repairs it"

# Two commands run concurrently, and the first is delayed after it has changed the registry and before it changes the
# kernel's rules. Afterwards registry and kernel agree.
NFT=$(PATH=$PATH:/usr/sbin:/sbin command -v nft)
printf '#!/bin/sh\n[ -e "%s" ] || { : >"%s"; sleep 2; }\nexec %s "$@"\n' "$TMP/slow" "$TMP/slow" "$NFT" >"$TMP/fake/nft"
gw grant "$WHO" cam-18:81 >/dev/null || fail "grant"
gw grant --remove "$WHO" cam-18:81 >/dev/null || fail "grant"
PATH=$TMP/fake:$PATH gw grant "$WHO" cam-17:81 >/dev/null & FIRST=$!
wait_for 10 test -e "$TMP/slow" || fail "nft was not run"
gw grant --remove "$WHO" cam-17:81 >/dev/null || fail "the second command"
wait "$FIRST" || fail "the first command"
[ "$(gw grant --json | jq 'map(select(.consumer | startswith("user:"))) | length')" = 0 ] || fail "the registry has the grant"
lacks "$A . 81" "$GW/fleet.nft" || fail "fleet.nft has a grant that the registry lacks"
prints_no "$A" inside nft list set inet cmxsafe by_user || fail "the kernel has a grant that the registry lacks"
ok "concurrent commands run one after the other"

# A CSV file may have relative key paths; fields of missing columns keep their values; the column `direct` may have its former name `open`.
mkdir -p "$TMP/csv/keys"; cp "$TMP/c.pub" "$TMP/csv/keys/"
printf '\xef\xbb\xbfname;key;ports;group;open\r\ncam-19;keys/c.pub;"81, 8989";yard;gateway.cmx:1883\r\n;;;;\r\n' >"$TMP/csv/fleet.csv"
(cd / && gw import "$TMP/csv/fleet.csv") >/dev/null || fail "import"
[ "$(gw show cam-19 --json | jq -c '.device.ports')" = "[81,8989]" ] || fail "the ports are not those of the file: $(gw show cam-19)"
printf 'name,key\rcam-19,keys/c.pub\r' >"$TMP/csv/short.csv"
gw import "$TMP/csv/short.csv" | grep -q "unchanged 1" || fail "import without columns changes the device"
key_of() { gw show cam-19 --json | jq -r .device.key; }
before=$(key_of)
gw enroll cam-19 --ports 81 >/dev/null || fail "enrolling again without the key fails"
equal "$(key_of)" "$before" || fail "enroll without a key changes the key"
gw enroll cam-19 --key "$TMP/c.pub" --ports 81 | grep -q "unchanged" || fail "enroll again"
fails "cam-91 is not enrolled; give its key" gw enroll cam-91 --ports 81
[ "$(gw show cam-19 --json | jq -c '[.device.group, .device.opens[0].host]')" = '["yard","gateway.cmx"]' ] || fail "enroll clears fields that were not given"
gw export >"$TMP/csv/before.csv"
equal "$(head -n 1 "$TMP/csv/before.csv")" name,key,ports,direct,address,group || fail "the columns of export are wrong"
grep -q ',"81","gateway.cmx:1883",' "$TMP/csv/before.csv" || fail "export lacks the direct service"
gw enroll cam-19 --key "$TMP/c.pub" --open gateway.cmx:1884 >/dev/null || fail "the option's former name --open is refused"
grep -q '"gateway.cmx:1884"' <(gw export) || fail "--open is not --direct"
gw import "$TMP/csv/before.csv" >/dev/null || fail "import refuses an export"
grep -q '"gateway.cmx:1883"' <(gw export) || fail "import ignores the column direct"
key d; gw rotate cam-19 --key "$TMP/d.pub" >/dev/null || fail "rotate"
gw import "$TMP/csv/before.csv" >/dev/null 2>"$TMP/import.err" || fail "import after rotate: $(cat "$TMP/import.err")"
grep -q "cam-19: the file has a key that was replaced" "$TMP/import.err" || fail "no note: $(cat "$TMP/import.err")"
equal "$(gw show cam-19 --json | jq -r .device.key)" "$(ssh-keygen -lf "$TMP/d.pub" | awk '{print $2}')" || fail "import brought an old key back"
printf 'name,key,ports\ncam-19,keys/c.pub,81,8989\n' >"$TMP/csv/bad.csv"
fails "line 2: '8989' belongs to no column; put lists in quotes" gw import "$TMP/csv/bad.csv"
mkdir "$TMP/csv/my keys" && key blanks && mv "$TMP/blanks.pub" "$TMP/csv/my keys/key of cam 30.pub"
printf 'name,key,ports\ncam-30,my keys/key of cam 30.pub,81\n' >"$TMP/csv/path.csv"
gw import "$TMP/csv/path.csv" | grep -q "added 1" || fail "the path of a key has blanks"
# Two lines that contradict each other are both named, whether the device is new or enrolled. Nothing is imported.
mkdir "$TMP/csv/twice" && cp "$TMP/c.pub" "$TMP/csv/twice/" && key twice1 && key twice2 && cp "$TMP/twice"[12].pub "$TMP/csv/twice/" || fail "keys"
devices=$(gw list --json)
for keys in "twice1 twice2" "c twice1"; do
    name=cam-19; [ "${keys% *}" = c ] || name=cam-twice
    printf 'name,key,ports\n%s,%s.pub,81\n\n%s,%s.pub,81\n' "$name" "${keys% *}" "$name" "${keys#* }" >"$TMP/csv/twice/twice.csv"
    fails "lines 2 and 4 give $name two keys; remove the line whose key" gw import "$TMP/csv/twice/twice.csv"
done
printf 'name,key,ports\ncam-twice,twice1.pub,81\ncam-other,twice1.pub,82\n' >"$TMP/csv/twice/twice.csv"
fails "lines 2 and 3 give cam-twice and cam-other the same key" gw import "$TMP/csv/twice/twice.csv"
equal "$(gw list --json)" "$devices" || fail "a file with contradictions was imported in part"
printf 'name,key,ports\ncam-21,my keys/none.pub,81\n' >"$TMP/csv/none.csv"
fails "line 2: can't read the key file $TMP/csv/my keys/none.pub" gw import "$TMP/csv/none.csv"
cat "$TMP/c.pub" "$TMP/d.pub" >"$TMP/two.pub"
fails "two.pub holds more than one key; give a file with one key" gw enroll cam-22 --key "$TMP/two.pub" --ports 81
iconv -f UTF-8 -t UTF-16 "$TMP/csv/before.csv" >"$TMP/csv/utf16.csv"
fails "save it as CSV in UTF-8" gw import "$TMP/csv/utf16.csv"
ok "files in the forms that spreadsheets write"

# If a host key is missing, the printed configuration lacks its pin but is still valid.
mv "$GW/hostkey_ed25519.pub" "$TMP/hidden.pub"
gw show cam-17 --form agent 2>"$TMP/pins.err" | sed "s|^key_file = .*|key_file = $TMP/a|" >"$TMP/pins.conf"
grep -q "note: .*/hostkey_ed25519.pub can't be read, so its pin is missing; run 'cmxsafe gateway doctor'" "$TMP/pins.err" || fail "no note: $(cat "$TMP/pins.err")"
"$BIN/cmxsafed" --check -c "$TMP/pins.conf" | grep -q "1 pinned host key" || fail "an empty pin: $(cat "$TMP/pins.conf")"
gw show | grep -q "missing; run 'cmxsafe gateway doctor' (ed25519)" || fail "show: $(gw show)"
equal "$(gw show cam-17 --form settings 2>/dev/null | grep -c 'SSH_HOST_KEY "SHA256:[^ ,]*"$')" 1 || fail "show --form settings does not print one host key"
equal "$(gw show cam-17 --form kconfig 2>/dev/null | grep -c 'HOST_KEYS="SHA256:[^ ]*"$')" 1 || fail "kconfig"
mv "$TMP/hidden.pub" "$GW/hostkey_ed25519.pub"
mkdir "$TMP/keys" && mv "$GW"/hostkey_ed25519* "$TMP/keys/" && gw init --user >/dev/null 2>"$TMP/init.err" || fail "init without a host key"
grep -q "note: .*/hostkey_ed25519 was missing, so a new one was created; devices that do not pin it" "$TMP/init.err" && lacks ecdsa "$TMP/init.err" || fail "no note: $(cat "$TMP/init.err")"
mv "$TMP"/keys/hostkey_ed25519* "$GW/" && gw init --user >/dev/null 2>"$TMP/init.err" && lacks note "$TMP/init.err" || fail "a note without a cause: $(cat "$TMP/init.err")"
ok "a missing host key"

# The name and the address of a revoked device are free once the device is deleted.
C=$(address_of cam-19)
fails "active; revoke it first" gw delete cam-19
gw revoke cam-19 >/dev/null && fails "free it with 'cmxsafe gateway delete cam-19'" gw rename cam-18 cam-19
gw delete cam-19 >/dev/null || fail "delete"
equal "cam-19: was deleted already" "$(gw delete cam-19)" && [ "$(gw delete cam-19 --json | jq -r .outcome)" = unchanged ] || fail "a repeated delete fails"
fails "no device 'cam-99'" gw delete cam-99
key e; gw enroll cam-20 --key "$TMP/e.pub" --ports 81 --address "${C^^}" >/dev/null || fail "the address is not free"
[ "$(address_of cam-20)" = "$C" ] || fail "the address has no canonical form: $(address_of cam-20)"
gw rename cam-20 cam-19 >"$TMP/renamed" 2>&1 || fail "the name is not free"
equal "cam-20: renamed to cam-19" "$(gw rename cam-20 cam-19)" && [ "$(gw rename cam-20 cam-19 --json | jq -r .outcome)" = unchanged ] || fail "a repeated rename fails"
fails "no device 'cam-20'" gw rename cam-20 cam-21
lacks note "$TMP/renamed" || fail "a note without a cause: $(cat "$TMP/renamed")"
# A direct service names another device. The device's former name may become the name of another device.
gw enroll cam-18 --direct cam-19.cmx:81 >/dev/null || fail "enroll --direct"
gw rename cam-19 cam-29 2>&1 | grep -q "note: cam-19.cmx: direct services of these devices name this host: cam-18;" || fail "the direct service is not reported"
gw rename cam-29 cam-19 >/dev/null && gw enroll cam-18 --direct '' >/dev/null || fail "clean up"
fails "(it belonged to cam-19)" gw enroll cam-21 --key "$TMP/d.pub" --ports 81
fails "reserved for the gateway" gw enroll gateway --key "$TMP/c.pub" --ports 81
fails "not a host name" gw init --user --host $'a\nb'
fails "'a..b' is not a host name" gw init --user --host a..b
fails "give the port separately" gw init --user --host 127.0.0.1:22
fails "not the address of one host" gw init --user --host 0.0.0.0
for bad in x 0 65536 :22 '[]:22' '::1:22' '[127.0.0.1]:22' 'host:22' '127.1:22' $'0.0.0.0\nBacklog=1:22' $'22\n' '[::1]22'; do
    fails "not a listen address" gw init --user --listen "$bad"
done
gw init --user >"$TMP/init.out" && grep -q "restart the running gateway" "$TMP/init.out" || fail "init at a running gateway does not name the restart"
lacks "start it with" "$TMP/init.out" || fail "init says how to start a running gateway"
ok "delete frees name and address; the keys stay refused"

# With another domain, the printed configuration contains the device's name in that domain, and the agent accepts this
# configuration.
for domain in localhost onion 1 0x7f; do
    ! gw init --user --domain "$domain" >/dev/null 2>"$TMP/domain.err" && grep -q -- "--domain '$domain': programs would not look up names such as cam-17.$domain; give another" "$TMP/domain.err" || fail "--domain $domain: $(cat "$TMP/domain.err")"
done
gw init --user --domain lab >/dev/null || fail "init --domain"
gw show cam-18 --form agent >"$TMP/lab.conf"
sed -i "s|^key_file = .*|key_file = $TMP/b|" "$TMP/lab.conf"
grep -qx 'host = cam-18.lab' "$TMP/lab.conf" || fail "the name is not in the configuration"
"$BIN/cmxsafed" --check -c "$TMP/lab.conf" >/dev/null || fail "the agent refuses the configuration"
ok "another domain"

# init refuses these folders, because sshd and systemd would split or expand their paths.
for dir in "$TMP/a b" "$TMP/%h" "$TMP/\$x" "$TMP/a"$'\n'"b"; do
    fails "init failed: the path '.*' has blanks, control characters or one of" gw init --simple --host h --dir "$dir"
    [ ! -e "$dir" ] || fail "a refused folder was created"
done
# A grant that would permit nothing is refused. A removal also removes grants that name the same user in another way.
key portless
gw enroll cam-20 --key "$TMP/portless.pub" --direct broker:1883 >/dev/null || fail "enroll"
fails "cam-20 has no ports" gw grant user:root cam-20
gw enroll cam-20 --key "$TMP/portless.pub" --ports 81 >/dev/null || fail "enroll --ports"
fails "cam-20 has no port 82; see 'cmxsafe gateway show cam-20'" gw grant user:root cam-20:82
gw grant user:root cam-20 >/dev/null && gw grant user:0 cam-20:81 >/dev/null || fail "grant"
gw grant --remove user:root cam-20 --json | json_is '.outcome == "changed"' || fail "grant --remove"
prints_no "cam-20" gw grant || fail "a grant by number remains: $(gw grant)"
ok "folders that sshd can't use and grants that permit nothing are refused"

# A command that cannot write its output, because the disk is full, fails.
if [ -w /dev/full ]; then
    fails "writing the output failed" sh -c '"$0" gateway export >/dev/full' "$BIN/cmxsafe"
    ok "an export that could not be written is a failure"
fi
stop_gateway
