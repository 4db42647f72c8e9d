#!/usr/bin/env bash
# Tests the agent's install hook with the two installers that docs/OTA.md names, from Debian's packages. A bundle that
# is uploaded through a real sshd is written to a slot. If the installer does not trust the bundle, the client gets the
# installer's message. SWUpdate runs as daemon and client, RAUC as a D-Bus service. This scenario configures both; the
# slots are files.
[ "$(id -u)" = 0 ] || { echo "SKIPPED: installers need root" >&2; exit 77; }
# RAUC mounts its bundle, so the scenario runs in a mount namespace of its own.
[ -n "${CMX_INNER:-}" ] || { unshare --mount true 2>/dev/null && CMX_INNER=1 exec unshare --mount --propagation private bash "$0"; }
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
[ -n "${CMX_INNER:-}" ] || skip "no mount namespace can be made here"
for p in swupdate-client rauc mksquashfs cpio dbus-daemon jq; do command -v $p >/dev/null || skip "no $p"; done
cd "$TMP" || exit 1
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
"$BIN/cmxsafe" image key --key k.pem --pem >k.pub
certificate() { openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.crt" -subj "/CN=$1" -days 30 -addext extendedKeyUsage=emailProtection 2>/dev/null; }
certificate updates; certificate strangers
for n in 1 2 3; do head -c 300000 /dev/urandom >part$n; done
start_sshd </dev/null
PORT=$(free_port) GATE=$(free_port)
URL=http://127.0.0.1:$GATE/update
agent() { # agent INSTALL [LINES]: starts an agent with this install hook and LINES in [ota]; waits until it is up
    { gateway_section; printf '[ota]\ninstall = %s\nkey_file = %s/k.pub\nspool = %s/spool\nport = %s\n%s\n' "$1" "$TMP" "$TMP" "$PORT" "${2:-}"; reverse ota "$PORT" "$GATE"; } >"$CONF"
    start_agent
    wait_up
}
post() { curl -sS -m 120 -o answer -w '%{http_code}' --data-binary "@$1" "$URL"; }
signed() { "$BIN/cmxsafe" image sign --opaque --key k.pem "$1" >/dev/null || fail "sign $1"; }
holds() { cmp -s -n 300000 "$1" "$2"; }

# ---- SWUpdate ----
mkdir sw swtmp
swu() { # swu OUT PART SIGNER: makes a signed SWUpdate image
    cp "$2" sw/part
    cat >sw/sw-description <<D
software = {
  version = "2.0.0";
  hardware-compatibility: [ "1.0" ];
  images: ( { filename = "part"; device = "$TMP/sw.disk"; type = "raw"; sha256 = "$(sha256sum <"$2" | cut -d' ' -f1)"; } );
};
D
    openssl cms -sign -binary -nosmimecap -in sw/sw-description -out sw/sw-description.sig -signer "$3.crt" -inkey "$3.key" -outform DER || fail "cms"
    (cd sw && printf 'sw-description\nsw-description.sig\npart\n' | cpio --quiet -o -H crc) >"$1" || fail "cpio"
    signed "$1"
}
swu good.swu part1 updates
swu foreign.swu part2 strangers
truncate -s 1M sw.disk
TMPDIR=$TMP/swtmp swupdate -k updates.crt -H test:1.0 >swupdate.log 2>&1 &
SWUPDATE=$!
PIDS+=("$SWUPDATE")
wait_for 20 test -S swtmp/sockinstctrl || fail "swupdate does not listen"
agent "env -u RUNTIME_DIRECTORY TMPDIR=$TMP/swtmp swupdate-client"
[ "$(post good.swu)" = 200 ] && grep -q '^OK ' answer || { cat answer; fail "SWUpdate refuses a good bundle"; }
holds part1 sw.disk || fail "SWUpdate did not write the bundle to the slot"
differ "$(post foreign.swu)" 200 && grep -q 'the install hook failed: .*failed' answer || { cat answer; fail "SWUpdate accepts a bundle that another key signed"; }
holds part1 sw.disk || fail "SWUpdate: a refused bundle reached the slot"
ok "SWUpdate installs; the client gets its refusal: $(cat answer)"
stop "$SWUPDATE"
end_agent

# ---- RAUC ----
mkdir -p mnt rb
cat >backend <<'B'
#!/bin/sh
cd "$(dirname "$0")" || exit 1
case $1 in
get-primary) cat primary ;;
set-primary) echo "$2" >primary ;;
get-state) cat "state.$2" 2>/dev/null || echo good ;;
set-state) echo "$3" >"state.$2" ;;
esac
B
chmod +x backend
echo a >primary
cat >system.conf <<C
[system]
compatible=test
bootloader=custom
mountprefix=$TMP/mnt
statusfile=$TMP/slots.status
[handlers]
bootloader-custom-backend=$TMP/backend
[keyring]
path=$TMP/updates.crt
[slot.rootfs.0]
device=$TMP/slot.a
type=raw
bootname=a
[slot.rootfs.1]
device=$TMP/slot.b
type=raw
bootname=b
C
truncate -s 1M slot.a slot.b
raucb() { # raucb OUT PART SIGNER: makes a signed RAUC bundle
    rm -rf rb/* && cp "$2" rb/part.img
    printf '[update]\ncompatible=test\nversion=2.0.0\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=part.img\n' >rb/manifest.raucm
    rauc --cert="$3.crt" --key="$3.key" bundle rb "$1" >>rauc_bundle.log 2>&1 || fail "rauc bundle"
    signed "$1"
}
raucb good.raucb part1 updates
raucb foreign.raucb part2 strangers
cat >bus.conf <<C
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=$TMP/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_type="method_call"/><allow receive_type="method_return"/>
<allow receive_type="signal"/><allow receive_type="error"/><allow own="*"/></policy></busconfig>
C
dbus-daemon --config-file=bus.conf --nofork 2>dbus.log &
PIDS+=($!)
wait_for 20 test -S bus || fail "dbus-daemon does not listen"
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$TMP/bus
rauc --conf=system.conf --override-boot-slot=a service >rauc.log 2>&1 &
RAUC=$!
PIDS+=("$RAUC")
wait_for 20 rauc status || fail "RAUC's service does not answer"
export RAUC_BUNDLE=$TMP/update.raucb
export CMXSAFED_BOOT_ID=boot-1
agent 'cat >"$RAUC_BUNDLE" && rauc install "$RAUC_BUNDLE"' "$(printf 'confirm = rauc status mark-good\nrollback = rauc status mark-bad\nrestart = touch %s/restarted' "$TMP")"
[ "$(post good.raucb)" = 200 ] && grep -q '^OK ' answer || { cat answer; grep -q 'loop' rauc.log answer && skip "RAUC finds no loop device here; SWUpdate was shown"; fail "RAUC refuses a good bundle"; }
holds part1 slot.b && [ "$(cat primary)" = b ] || fail "RAUC: slot b does not hold it, or is not the primary one"
wait_for 20 test -e restarted || fail "the restart hook is not run"
end_agent
# The device boots from slot b: the agent's confirm hook marks this slot as good in RAUC.
stop "$RAUC"
echo bad >state.b
rauc --conf=system.conf --override-boot-slot=b service >>rauc.log 2>&1 &
PIDS+=($!)
wait_for 20 rauc status || fail "RAUC's service does not start again"
start_agent # only the agent restarts, and not the machine: nothing is confirmed
wait_up
sleep 2
grep -qx bad state.b || fail "the slot is marked good before the machine has booted"
end_agent
export CMXSAFED_BOOT_ID=boot-2
start_agent
wait_for 40 grep -qx good state.b || fail "the confirm hook did not mark the slot in RAUC"
ok "RAUC installs into the other slot, and the confirm hook marks it good"
differ "$(post foreign.raucb)" 200 && grep -q 'the install hook failed: ' answer || { cat answer; fail "RAUC accepts a bundle that another key signed"; }
! holds part2 slot.a && [ "$(cat primary)" = b ] || fail "RAUC: a refused bundle reached a slot"
ok "the client gets the refusal of RAUC: $(cat answer)"
end_agent
