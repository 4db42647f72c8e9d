#!/usr/bin/env bash
# The system gateway, run by root in this scenario's own network and mount namespace: its account and units, the fleet's
# network namespace, the link to it and the link's filter, and grants by uid on the host. Root runs 'serve' by hand
# here, so 'serve' itself enters the namespace and switches to the account. On a real system, systemd does both.
. "$(dirname "$0")/../gateway_system_lib.sh"
gw init --dry-run | grep -q "would set up" || fail "dry run"
! gw init --dry-run --fleet 10.0.0.0/8 2>/dev/null && ! gw init --dry-run --listen x 2>/dev/null || fail "a dry run accepts arguments that init would refuse"
for address in 224.0.0.1 255.255.255.255 '[ff02::1]' '[fe80::1]'; do
    ! gw init --dry-run --listen "$address:2222" 2>"$TMP/listen.err" && grep -q "no gateway can listen on '" "$TMP/listen.err" || fail "init accepts --listen $address:2222: $(cat "$TMP/listen.err")"
done
[ ! -e "$GW" ] && [ ! -e :memory: ] || fail "a dry run created files"
gw init --fleet fd12:3456:789a::/48 --listen "[::]:$GW_PORT" --host 127.0.0.1 >"$TMP/init.out" || fail "init"
id cmxsafe-gw >/dev/null || fail "no account"
gw init --fleet fd12:3456:789a::/48 >/dev/null || fail "init is not idempotent"
! gw init --fleet fd12:3456:789b::/48 2>/dev/null || fail "the fleet's prefix was changed"
! gw init --simple 2>/dev/null || fail "the mode was changed"
command -v systemd-analyze >/dev/null && { systemd-analyze verify --man=no "$TMP"/units/*.service "$TMP"/units/*.socket 2>"$TMP/verify.log" || fail "systemd does not accept the units: $(cat "$TMP/verify.log")"; ok "systemd accepts the units"; }
[ "$(stat -c '%U:%G %a' "$GW/registry.db")" = "root:cmxsafe-gw 640" ] || fail "the registry has a wrong owner or mode"
gw net up || fail "net up"
gw net up || fail "net up is not idempotent"
gw net heal || fail "net heal"
ok "account, units, namespace, link"

key a; key b; key p
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 --direct gateway.cmx:1883 >/dev/null || fail "enroll"
gw enroll cam-18 --key "$TMP/b.pub" --ports 81 >/dev/null || fail "enroll"
A=$(address_of cam-17)
grep -q "$A cam-17.cmx" /etc/hosts || fail "no name in /etc/hosts"

# Before the gateway starts, a user with a grant is deleted and another user gets the same uid.
useradd -M -u 5001 dora && gw grant user:dora cam-17:81 >/dev/null || fail "grant"
nft list table inet cmxsafe_host | grep -q 5001 || fail "the rules lack dora's number: $(nft list table inet cmxsafe_host)"
userdel dora && useradd -M -u 5001 erin || fail "accounts"

# Starts the gateway as the units do: it listens in the host's network, and runs in the fleet's namespace under the
# gateway's account.
"$BIN/cmxsafe" gateway serve 2>>"$TMP/gateway.log" & GW_PID=$!; PIDS+=("$GW_PID")
wait_for 20 gw status || fail "the gateway does not come up"
serve=$(gw status --json | jq .pid)
[ "$(stat -c %U "/proc/$serve")" = cmxsafe-gw ] || equal "$(awk '/^Uid/ {print $2}' "/proc/$serve/status")" "$(id -u cmxsafe-gw)" || fail "the gateway runs as root"
[ "$(awk '/^CapEff/ {print $2}' "/proc/$serve/status")" = 0000000000000000 ] || fail "the gateway has capabilities"
ok "the gateway runs as its account, without capabilities"
# Only root gets answers about sessions. The gateway's account gets none, because a compromised sshd of a session runs
# under this account.
asked_by() { setpriv --reuid "$1" --regid cmxsafe-gw --clear-groups socat -t5 - "UNIX-CONNECT:$GW/run/control" <<<"$2"; }
for request in status traffic pending 'journal 0' 'claims 0' 'forget x'; do
    [ -z "$(asked_by cmxsafe-gw "$request")" ] && [ -n "$(asked_by 0 "$request")" ] || fail "the account gets an answer to '$request', or root gets none"
done
ok "the account's processes cannot read the list of sessions"
connects() { setpriv --reuid "$1" --regid "$2" --clear-groups socat -u OPEN:/dev/null "UNIX-CONNECT:$GW/run/control" 2>/dev/null; }
connects 0 0 && connects cmxsafe-gw cmxsafe-gw && ! connects 1234 1234 && ! connects 1234 cmxsafe-gw || fail "another user can use up the control socket's queue, or root or the account can't connect"
ok "other users cannot connect to the control socket"
rm "$GW/run/control"
wait_for 10 gw status && wait_for 10 logged "control socket was removed; it was created again" || fail "a removed control socket is not created again"
mv "$GW/run" "$TMP/run"
lost() { grep -q "control socket was removed and can't be created again (No such file" "$TMP/gateway.log"; }
wait_for 10 lost || fail "the lost folder run is not reported"
gw init >/dev/null && wait_for 10 gw status || fail "init does not create the folder run again"
ok "a control socket that was removed is created again"
wait_for 10 prints_no 5001 nft list table inet cmxsafe_host || fail "erin has dora's grant"
wait_for 10 judged || fail "the gateway does not report its rules as checked: $(gw status --json | jq .judge)"
gw status --json | json_is '.counters.judge_repairs == 0' >/dev/null || fail "a change of accounts counts as a repair"
userdel erin && gw grant --remove user:dora cam-17:81 >/dev/null || fail "grant --remove"
ok "rules follow accounts that changed before the gateway started"

web one
client a -N -R "[$A]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 connected cam-17 || fail "cam-17 does not connect"
as() { local uid=$1; shift; setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"; }
get() { as "$1" curl -sS -m 5 http://cam-17.cmx:81/ 2>/dev/null; }
[ -z "$(get 1234)" ] || fail "reached without a grant"
[ -z "$(get 0)" ] || fail "root reaches the device without a grant"
gw grant user:1234 cam-17:81 >/dev/null || fail "grant"
wait_for 10 sh -c "setpriv --reuid 1234 --regid 1234 --clear-groups curl -sS -m 5 http://cam-17.cmx:81/ | grep -q one" || fail "a grant does not work"
gw grant user:nobody-there cam-17:81 2>&1 >/dev/null | grep -q "has no user 'nobody-there'" || fail "an unknown user is not reported"
[ -z "$(get 1235)" ] || fail "another user reaches the device"
gw grant group:4321 cam-17:81 >/dev/null
setpriv --reuid 1235 --regid 4321 --clear-groups curl -sS -m 5 http://cam-17.cmx:81/ | grep -q one || fail "a group's grant does not work"
gw grant --remove user:1234 cam-17:81 >/dev/null
[ -z "$(get 1234)" ] || fail "a removed grant still works"
ok "curl http://cam-17.cmx:81/ works on the gateway for users with a grant"

# Accounts change while the gateway runs: a user gets the uid of a deleted user, and a member leaves a group.
useradd -M -u 5001 alice && useradd -M -u 5002 bob && groupadd -g 6001 ops && usermod -aG ops bob || fail "accounts"
gw grant user:alice cam-17:81 >/dev/null && gw grant group:ops cam-17:81 >/dev/null || fail "grant"
reached_by() { get "$1" | grep -q one; }
not_reached_by() { [ -z "$(get "$1")" ]; }
wait_for 10 reached_by 5001 && wait_for 10 reached_by 5002 || fail "a user or a member does not reach the device"
sleep 1 # until the guard has read the rules that these commands wrote
gpasswd -d bob ops >/dev/null || fail "gpasswd"
wait_for 10 not_reached_by 5002 || fail "a user that left the group reaches the device"
userdel alice && useradd -M -u 5001 carol || fail "accounts"
wait_for 10 not_reached_by 5001 || fail "carol reaches the device with alice's grant"
gw doctor | grep -q "^hint  all users and groups that have grants exist: this machine has no user 'alice'; " || fail "the doctor does not report a grant to a deleted user: $(gw doctor)"
useradd -M -u 5003 alice || fail "alice"
wait_for 10 reached_by 5003 || fail "alice's new number has no grant"
gw grant --remove user:alice cam-17:81 >/dev/null && gw grant --remove group:ops cam-17:81 >/dev/null || fail "grant --remove"
ok "grants follow accounts that change"

# The name of an account may be a number that is the uid of another account; directories have such accounts. A member of a
# group is always a name. setpriv reads `+NUMBER` as a uid.
useradd -M -u 5021 ines && echo "5021:x:5022:5022::/:/bin/sh" >>/etc/passwd && groupadd -g 6002 numbers &&
    sed -i 's/^numbers:.*/&5021/' /etc/group || fail "accounts"
[ "$(id -u 5021)" = 5022 ] || fail "the machine does not know the account 5021"
gw grant group:numbers cam-17:81 >/dev/null || fail "grant"
wait_for 10 reached_by 5022 || fail "a member whose name is a number does not reach the device"
not_reached_by +5021 || fail "the uid 5021 has the grant of the member 5021"
gw grant user:ines cam-17:81 >/dev/null && gw grant user:5022 cam-17:81 >/dev/null || fail "grants"
wait_for 10 reached_by +5021 && wait_for 10 reached_by 5022 || fail "a grant to both accounts does not let both reach the device"
differ "$(gw whois user:5021)" "$(gw whois user:5022)" || fail "two uids have one identity"
gw grant --remove user:5022 cam-17:81 >/dev/null && gw grant --remove group:numbers cam-17:81 >/dev/null || fail "grant --remove"
reached_by +5021 && not_reached_by 5022 || fail "the account 5021 reaches the device with the grant of the uid 5021"
gw grant --remove user:ines cam-17:81 >/dev/null || fail "grant --remove"
not_reached_by +5021 || fail "ines reaches the device without a grant"
ok "accounts whose names are numbers"

# Accounts of a name service change: here nss-systemd with its records in /etc/userdb, elsewhere LDAP. No file that the
# guard watches changes. The user gets a grant before the name service knows the user.
if ls /lib/*/libnss_systemd.so.2 /usr/lib/*/libnss_systemd.so.2 >/dev/null 2>&1; then
    sed -i 's/^passwd:.*/passwd: files systemd/' /etc/nsswitch.conf
    record() { # record NAME UID: makes this account the only one of the name service
        rm -rf /etc/userdb && mkdir /etc/userdb && ln -s "$1.user" "/etc/userdb/$2.user" &&
            echo "{\"userName\":\"$1\",\"uid\":$2,\"gid\":$2,\"homeDirectory\":\"/\",\"disposition\":\"regular\"}" >"/etc/userdb/$1.user"
    }
    record somebody 5010
    gw grant user:lena cam-17:81 >/dev/null 2>&1 || fail "grant"
    sleep 1 # until the guard has noticed that the rules were loaded
    record lena 5011
    getent passwd lena >/dev/null || fail "nss-systemd does not know lena"
    wait_for 40 reached_by 5011 || fail "lena does not reach the device although the name service knows her now"
    record lena 5012
    # The worker can look while neither record exists, and then finds no user.
    wait_for 40 reached_by 5012 && not_reached_by 5011 || fail "the rules keep lena's former number"
    # The worker looks for changed accounts even if another of its tasks fails, here the campaigns.
    sql "$GW/registry.db" "ALTER TABLE campaign RENAME TO lost" && wait_for 20 grep -q "gateway: the worker: .*campaign" "$TMP/gateway.log" || fail "the worker reports no failure"
    record lena 5013
    wait_for 40 reached_by 5013 && not_reached_by 5012 || fail "the rules keep lena's former number while another task of the worker fails"
    sql "$GW/registry.db" "ALTER TABLE lost RENAME TO campaign" || fail "ALTER TABLE"
    rm -r /etc/userdb && gw grant --remove user:lena cam-17:81 >/dev/null || fail "grant --remove"
    ok "grants follow accounts of a name service"
else
    skip_part "accounts of a name service: no libnss_systemd"
fi

# From the fleet's namespace, only the destinations of direct contexts can be reached.
python3 -m http.server -b :: -d "$TMP/www-$WEB" 1883 >/dev/null 2>&1 & PIDS+=("$!")
wait_for 10 listening 1883 || fail "no listener on port 1883"
python3 -m http.server -b :: -d "$TMP/www-$WEB" 1884 >/dev/null 2>&1 & PIDS+=("$!")
wait_for 10 listening 1884 || fail "no listener on port 1884"
printf 'GET / HTTP/1.0\r\n\r\n' | try_client a -W gateway.cmx:1883 2>/dev/null | grep -q one || fail "a direct service is not reached"
! printf 'GET / HTTP/1.0\r\n\r\n' | try_client a -W gateway.cmx:1884 2>/dev/null | grep -q one || fail "a service without a direct context is reached"
! printf 'GET / HTTP/1.0\r\n\r\n' | try_client b -W gateway.cmx:1883 2>/dev/null | grep -q one || fail "a device reaches another device's direct service"
link=$(ip -6 -o address show dev cmxsafe0 scope global | awk '{print $4}' | cut -d/ -f1)
! ip netns exec cmxsafe curl -s -m 3 "http://[$link]:1884/" >/dev/null || fail "the namespace reaches the host"
! ip netns exec cmxsafe curl -s -m 3 "http://[$link]:1883/" >/dev/null || fail "a program without an identity reaches a direct service"
ok "a device's direct context reaches its service, and nothing else"

gw platform vms --key "$TMP/p.pub" >/dev/null && gw grant vms cam-17:81 >/dev/null
printf 'GET / HTTP/1.0\r\n\r\n' | try_client p -W cam-17.cmx:81 2>/dev/null | grep -q one || fail "a platform does not reach it by name"
gw doctor >"$TMP/doctor.out" || fail "the doctor finds something bad: $(grep ^bad "$TMP/doctor.out")"
ok "platform and doctor"
nft list chain inet cmxsafe_host forward | grep -q 'oifname "cmxsafe0" counter' || fail "forwarding into the fleet is open"
mkdir "$TMP/small" && mount -t tmpfs -o size=16k none "$TMP/small" && ! gw backup "$TMP/small/copy.db" 2>/dev/null || fail "a backup to a full disk reports success"
[ ! -e "$TMP/small/copy.db" ] || fail "a truncated copy still exists"
umount "$TMP/small"
# A container's /etc/hosts is a mount: a program can write it but not replace it. A revoked device is locked out even if
# /etc/hosts cannot be written.
cp /etc/hosts "$TMP/hosts" && mount --bind "$TMP/hosts" /etc/hosts
gw rename cam-18 cam-19 >/dev/null && grep -q ' cam-19.cmx$' /etc/hosts || fail "a mounted /etc/hosts is not written"
umount /etc/hosts
mount -o remount,bind,ro /etc || fail "/etc cannot be made read-only"
! gw revoke cam-17 2>"$TMP/revoke.err" || fail "the failure to write /etc/hosts is not reported"
grep -q "the registry was updated but applying it failed: .*/etc/hosts .*; make it writable, or" "$TMP/revoke.err" || fail "wrong message: $(cat "$TMP/revoke.err")"
wait_for 20 gone cam-17 || fail "revoked but still connected"
mount -o remount,bind,rw /etc && gw init >/dev/null || fail "init, once /etc can be written again"
[ "$(awk '/cam-17/' /etc/hosts)" = "" ] || fail "a revoked name stays in /etc/hosts"
for dry in "revoke cam-19" "rename cam-19 cam-20" "rotate cam-19 --key $TMP/p2.pub" "grant user:1 cam-19" "platform other --key $TMP/p2.pub" "enroll cam-20 --key $TMP/p2.pub --ports 81 --form agent"; do
    key p2
    gw $dry --dry-run | head -n 1 | grep -q '(dry run)' || fail "the dry run is not marked as one: $dry"
    [[ $dry == enroll* ]] && dry=${dry% --form agent}
    gw $dry --dry-run --json | json_is '.outcome and .dry_run' >/dev/null || fail "--dry-run --json: $dry"
done
gw init --dry-run --json | json_is .dry_run >/dev/null && gw update cam-19 --dry-run --json -- --opaque "$TMP/p2.pub" | json_is .dry_run >/dev/null || fail "--dry-run --json"
[ "$(gw list --json | jq -r '[.[].name] | join(" ")')" = cam-19 ] || fail "a dry run changed something: $(gw list)"
gw grant --remove user:1234 nobody 2>&1 | grep -q "no device .nobody." || fail "removing a grant that does not exist succeeds"
gw log cam-17 >"$TMP/log.out" && grep -q ' enroll  *cam-17  *SHA256:' "$TMP/log.out" && grep -q ' grant  *user:1234  *cam-17:81$' "$TMP/log.out" &&
    grep -q ' ungrant  *user:1234  *cam-17:81$' "$TMP/log.out" && grep -q ' revoke  *cam-17 ' "$TMP/log.out" || fail "wrong audit trail: $(cat "$TMP/log.out")"
lacks cam-18 "$TMP/log.out" || fail "another device's changes"
[ "$(gw log --last 2 --json | jq -r '[.[].what] | join(" ")')" = "rename revoke" ] || fail "wrong last changes: $(gw log --last 2)"
ok "audit trail"
stop_gateway
# The account was created again with another uid, or the folder was restored on another machine: the access log belongs to
# another user. Links in the log's folder, which a compromised account may have made, are left alone.
serve_again() { "$BIN/cmxsafe" gateway serve 2>>"$TMP/gateway.log" & GW_PID=$!; PIDS+=("$GW_PID"); wait_for 20 gw status; }
serve_again || fail "the gateway does not start again"
stop_gateway
touch "$GW/other" && ln "$GW/other" "$GW/run/access/log.1" && ln -s "$GW/other" "$GW/run/access/log.2" && chown -R 7001:7001 "$GW/run/access" && chown 0:0 "$GW/other" ||
    fail "the access log: $(ls -la "$GW" "$GW/run")"
gw doctor | grep -q "^bad   the account can write to the run folder and the access log: it can't; run 'cmxsafe gateway init' again" || fail "the doctor: $(gw doctor)"
gw init >/dev/null || fail "init"
[ "$(stat -c %U "$GW/run/access" "$GW/run/access/log" | sort -u)" = cmxsafe-gw ] && [ "$(stat -c %U "$GW/other")" = root ] || fail "owners: $(ls -la "$GW" "$GW/run/access")"
rm "$GW/other" "$GW/run/access/log."[12]
serve_again || fail "the gateway does not start after init has repaired the owners"
stop_gateway
ok "an access log that belongs to another user is reported and repaired"
# After an upgrade, the network may still be in the state that the previous version set up.
ip -n cmxsafe -6 rule del pref 1130 && ip -6 rule del pref 1129 && ip -n cmxsafe -6 address flush dev cmxsafe1 scope global || fail "can't set up a former version's network"
gw init >/dev/null || fail "init fails over a former version's network"
[ -n "$(ip -n cmxsafe -6 rule show pref 1130)" ] && [ -n "$(ip -6 rule show pref 1129)" ] && [ -n "$(ip -n cmxsafe -6 address show dev cmxsafe1 scope global)" ] || fail "init leaves a former version's network"
ok "init sets up a network that is out of date"
gw net down || fail "net down"
gw init >/dev/null && [ ! -e /run/netns/cmxsafe ] || fail "init of a gateway that is down"
gw net down || fail "net down is not idempotent"
ok "down again"

# Logins to a --user gateway on the same machine still work after other programs (useradd, dhclient) have replaced
# system files.
export CMXSAFE_GATEWAY=/var/lib/user-gateway
GW=$CMXSAFE_GATEWAY GW_PORT=
start_gateway
for f in passwd group hosts; do cp "/etc/$f" "/etc/$f.new" && mv "/etc/$f.new" "/etc/$f"; done
gw enroll cam-21 --key "$TMP/b.pub" --ports 81 >/dev/null || fail "enroll"
client b -N -R "[$(address_of cam-21)]:81:127.0.0.1:$WEB" & PIDS+=("$!")
wait_for 20 connected cam-21 || fail "no login after /etc/passwd was replaced"
inside getent hosts cam-21.cmx | grep -q "$(address_of cam-21)" || fail "a new device has no name after /etc/hosts was replaced"
ok "files replaced under a running gateway do not matter"
stop_gateway
