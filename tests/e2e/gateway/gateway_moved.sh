#!/usr/bin/env bash
# The gateway moves to another machine, and gets new host keys, by the commands of docs/GATEWAY.md. Its devices keep their
# configuration, and none is lost.
. "$(dirname "$0")/../gateway_system_lib.sh"
system_gateway
mkdir -m 700 "$TMP/root" "$TMP/stubs"
printf '#!/bin/sh\necho "$*" >>%s\n' "$TMP/systemctl.calls" >"$TMP/stubs/systemctl" && chmod 755 "$TMP/stubs/systemctl"
# page_runs HEADING N [SED-COMMAND]: runs the Nth block of commands below this heading of docs/GATEWAY.md.
page_runs() {
    awk -v heading="### $1" -v n="$2" '/^#/ && !code { found = $0 == heading } /^```/ { code = !code; k += found && code; next } found && code && k == n' \
        "$ROOT/docs/GATEWAY.md" | sed "s|/root/|$TMP/root/|g; ${3:-}" >"$TMP/page.sh"
    [ -s "$TMP/page.sh" ] || fail "the page has no block $2 below '$1'"
    (PATH=$TMP/stubs:$BIN:$PATH && . "$TMP/page.sh") >"$TMP/page.out" 2>&1 || fail "the page's commands: $(cat "$TMP/page.sh" "$TMP/page.out")"
}
agent() { # agent NAME [SED-COMMAND]: starts cmxsafed with the configuration that the gateway prints for the device
    gw show "$1" --form agent | sed "s|/etc/cmxsafe/key|$TMP/$1|; ${2:-}" >"$TMP/$1.conf"
    grep -q '^host_key = SHA256:' "$TMP/$1.conf" || fail "no configuration: $(cat "$TMP/$1.conf")"
    printf '[agent]\ncontrol_socket = %s\n' "$TMP/$1.sock" >>"$TMP/$1.conf"
    "$BUILT/cmxsafed" -c "$TMP/$1.conf" 2>>"$TMP/$1.agent.log" & AGENT=$!; PIDS+=("$AGENT")
}
BUILT=${CMX_BIN:-$ROOT/build/bin}
# end_session NAME: ends the device's session, and waits for its end.
end_session() {
    local pid
    pid=$(gw status --json | jq -r --arg n "$1" '[.sessions[] | select(.name == $n) | .pid][0]')
    kill "$pid" && wait_for 20 ended "$pid"
}
ended() { ! kill -0 "$1" 2>/dev/null; }

for d in both ed25519 ecdsa; do
    key "$d"
    gw enroll "$d" --key "$TMP/$d.pub" --ports 81 --group all >/dev/null || fail "enroll"
done
head -c 300000 /dev/zero >"$TMP/app.bin"
"$BUILT/cmxsafe" image manifest "$TMP/app.bin" >"$TMP/manifest" && gw policy set @all --manifest "$TMP/manifest" --enforce no >/dev/null || fail "policy"
mkdir "$GW/hooks.d" && printf '#!/bin/sh\n' >"$GW/hooks.d/note" && chmod 755 "$GW/hooks.d/note" || fail "a hook"
serve_system
PIN_ED25519=$(ssh-keygen -lf "$GW/hostkey_ed25519.pub" | awk '{print $2}') PIN_ECDSA=$(ssh-keygen -lf "$GW/hostkey_ecdsa.pub" | awk '{print $2}')
agent both
agent ed25519 "\\|$PIN_ECDSA|d"
agent ecdsa "\\|$PIN_ED25519|d"
for d in both ed25519 ecdsa; do wait_for 60 connected $d || fail "$d does not connect: $(tail -n 3 "$TMP/$d.agent.log")"; done
faults() { gw doctor | sed -n '/^bad/p'; }
equal none "none$(faults)" || fail "before: $(faults)"

# A backup. The machine is lost, with its folder and its account. The gateway is restored on another machine.
page_runs "Backup and restore" 1
equal "$(stat -c %a "$TMP"/root/gateway-*.tar)" 600 || fail "others can read the host keys: $(ls -l "$TMP/root")"
prints_no 'registry|/run/' tar -tf "$TMP"/root/gateway-*.tar || fail "the archive: $(tar -tf "$TMP"/root/gateway-*.tar)"
stop "$GW_PID"; gw net down >/dev/null 2>&1
sed -i '/^cmxsafe-gw:/d' /etc/passwd /etc/group /etc/shadow /etc/gshadow
rm -rf "$GW"
page_runs "Backup and restore" 2 "s/2026-11-28/$(date +%F)/"
grep -q '^enable --now cmxsafe-gateway.socket' "$TMP/systemctl.calls" || fail "the gateway is not started"
gw net up && serve_system
for d in both ed25519 ecdsa; do wait_for 90 connected $d || fail "$d does not come back after the restore: $(tail -n 3 "$TMP/$d.agent.log")"; done
equal none "none$(faults)" || fail "the doctor reports faults after the restore: $(faults)"
gw policy list --json | jq -r '.. | .digest? // empty' | sort -u >"$TMP/digests"
[ -s "$TMP/digests" ] && while read -r d; do equal "$(sha256sum <"$GW/store/$d" | cut -d' ' -f1)" "$d" || fail "the restored gateway has no manifest"; done <"$TMP/digests"
[ -x "$GW/hooks.d/note" ] || fail "the restored gateway has no hook"
ok "a backup restored on another machine: no device is lost, and the policies can be verified"

# One host key is replaced while the gateway runs.
page_runs "Change the host keys, the address or the port" 1 's/cam-17/both/'
differ "$(ssh-keygen -lf "$GW/hostkey_ecdsa.pub" | awk '{print $2}')" "$PIN_ECDSA" || fail "the key is the old one"
grep -q "$(ssh-keygen -lf "$GW/hostkey_ecdsa.pub" | awk '{print $2}')" "$TMP/page.out" && grep -q "$PIN_ED25519" "$TMP/page.out" || fail "the printed pins are wrong: $(cat "$TMP/page.out")"
for d in both ed25519 ecdsa; do end_session $d || fail "the session of $d does not end"; done
for d in both ed25519; do wait_for 60 connected $d || fail "$d does not connect with the key that stayed: $(tail -n 3 "$TMP/$d.agent.log")"; done
wait_for 60 grep -q "HOST KEY NOT PINNED" "$TMP/ecdsa.agent.log" && gone ecdsa || fail "a device accepts a key that it does not pin"
# The device that pinned the other key only gets the new pins.
stop "$AGENT"
agent ecdsa
wait_for 60 connected ecdsa || fail "a device with the new pins does not connect: $(tail -n 3 "$TMP/ecdsa.agent.log")"
ok "a new host key: devices that pin both keys, or the other one, stay connected"
stop_gateway
