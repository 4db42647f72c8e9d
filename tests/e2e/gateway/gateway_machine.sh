#!/usr/bin/env bash
# Tests the changes that a system gateway makes to its machine: the account, folders under a strict umask, /etc/hosts in
# various states, the network namespace, and the removal of the package. The scenario runs as root, in namespaces of its
# own.
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
unshare --net --mount true 2>/dev/null || skip "no namespaces here"
[ -e /proc/net/if_inet6 ] || skip "no IPv6 here"
if [ -z "${CMX_INSIDE:-}" ]; then
    rm -rf "$TMP"
    CMX_INSIDE=1 exec unshare --net --mount --propagation private bash "$0"
fi
. "$(dirname "$0")/../gateway_lib.sh"
mount -t tmpfs -o mode=755 none /mnt && mkdir /mnt/upper /mnt/work && mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc 2>/dev/null ||
    skip "no overlay file system here"
mkdir -p /run/netns && mount -t tmpfs none /run/netns || skip "no private /run/netns"
mount -t tmpfs -o mode=755 none /var/lib || fail "no private /var/lib"
mount -t sysfs sysfs /sys 2>/dev/null
ip link set lo up
mkdir "$TMP/units" /var/lib/bin && cp "$BIN/cmxsafe" "$BIN/cmxsafe-authkeys" /var/lib/bin/ && BIN=/var/lib/bin
export CMXSAFE_UNIT_DIR=$TMP/units CMXSAFE_GATEWAY=/var/lib/cmxsafe/gateway
GW=$CMXSAFE_GATEWAY
CLEANUP+=("'$BIN/cmxsafe' gateway net down >/dev/null 2>&1")
GW_PORT=2222
BEGIN='# cmxsafe gateway: begin (written from the registry)'
END='# cmxsafe gateway: end'

# useradd is found even if PATH does not contain sbin; a group that a removed account left behind does no harm; a strict
# umask does not lock the account out.
sed -i '/^cmxsafe-gw:/d' /etc/passwd /etc/group /etc/shadow /etc/gshadow
groupadd --system cmxsafe-gw || fail "groupadd"
printf '127.0.0.1 localhost\n10.0.0.1 printer' >/etc/hosts
chmod 640 /etc/hosts
(umask 077; PATH=/usr/bin:/bin "$BIN/cmxsafe" gateway init --fleet fd12:3456:789a::/48 --host 127.0.0.1 >"$TMP/init.out") || fail "init"
as_account() { setpriv --reuid cmxsafe-gw --regid cmxsafe-gw --clear-groups "$@"; }
id -gn cmxsafe-gw | grep -qx cmxsafe-gw || fail "the account is not in its group"
as_account cat "$GW/registry.db" "$GW/hostkey_ed25519" "$GW/sshd_config" "$GW/hosts" >/dev/null || fail "umask 077 locks the account out"
chmod 700 /var/lib/cmxsafe "$GW"; chmod 600 "$GW/sshd_config"
gw init >/dev/null || fail "init again"
as_account cat "$GW/sshd_config" >/dev/null || fail "init does not repair modes"
mkdir -m 700 /var/lib/closed
! CMXSAFE_GATEWAY=/var/lib/closed/gateway gw init --simple 2>"$TMP/closed.err" || fail "a folder that the account can't enter is accepted"
grep -q "can't enter /var/lib/closed" "$TMP/closed.err" || fail "wrong message: $(cat "$TMP/closed.err")"
(umask 027; CMXSAFE_GATEWAY=/var/lib/simple gw init --simple >/dev/null) || fail "init --simple"
as_account cat /var/lib/simple/registry.db /var/lib/simple/hostkey_ed25519 /var/lib/simple/sshd_config >/dev/null || fail "umask 027 locks the account out"
as_account touch /var/lib/simple/run/control || fail "the account can't make its control socket"
ok "account and modes"

# /etc/hosts gets one block, and no other byte changes.
[ "$(stat -c %a /etc/hosts)" = 640 ] || fail "the mode of /etc/hosts changed"
[ "$(sed -n 2p /etc/hosts)" = "10.0.0.1 printer" ] && [ "$(sed -n 3p /etc/hosts)" = "$BEGIN" ] || fail "init did not add the block on a line of its own: $(cat /etc/hosts)"
key a; key b
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 --direct gateway.cmx:1883 >/dev/null || fail "enroll"
[ "$(grep -c "^$BEGIN" /etc/hosts)" = 1 ] && grep -q ' cam-17.cmx$' /etc/hosts || fail "not exactly one block, with the device: $(cat /etc/hosts)"
sed -i "/^$END/d" /etc/hosts; echo '10.0.0.2 scanner' >>/etc/hosts
gw init >/dev/null || fail "init"
grep -qx '10.0.0.2 scanner' /etc/hosts && [ "$(grep -c ' cam-17.cmx$' /etc/hosts)" = 1 ] || fail "init did not replace a block with a broken end marker: $(cat /etc/hosts)"
sed -i 's/$/\r/' /etc/hosts
gw init >/dev/null || fail "init"
[ "$(grep -c '^# cmxsafe gateway: begin' /etc/hosts)" = 1 ] && grep -qx $'10.0.0.1 printer\r' /etc/hosts || fail "CRLF: $(cat -A /etc/hosts)"
mv /etc/hosts /etc/hosts.site && ln -s hosts.site /etc/hosts
gw enroll cam-18 --key "$TMP/b.pub" --ports 81 >/dev/null || fail "enroll"
[ -L /etc/hosts ] && grep -q ' cam-18.cmx$' /etc/hosts.site || fail "the link was replaced"
gw init --no-etc-hosts >/dev/null || fail "--no-etc-hosts"
lacks 'cmxsafe\|cam-1' /etc/hosts || fail "--no-etc-hosts leaves the block: $(cat /etc/hosts)"
grep -qx $'10.0.0.1 printer\r' /etc/hosts && grep -q '10.0.0.2 scanner' /etc/hosts || fail "foreign lines are gone: $(cat /etc/hosts)"
gw init --etc-hosts >/dev/null && grep -q ' cam-18.cmx$' /etc/hosts || fail "--etc-hosts does not bring the names back"
gw init >/dev/null && grep -q ' cam-18.cmx$' /etc/hosts || fail "init forgets --etc-hosts"
ok "/etc/hosts in every state"

# The namespace is set up even if PATH does not contain sbin. A command whose ip or nft fails reports a failure.
PATH=/usr/bin:/bin "$BIN/cmxsafe" gateway net up >"$TMP/up.out" 2>&1 || fail "net up: $(cat "$TMP/up.out")"
mkdir "$TMP/fake"; printf '#!/bin/sh\nexit 1\n' >"$TMP/fake/ip"; chmod 755 "$TMP/fake/ip"
! PATH=$TMP/fake:$PATH "$BIN/cmxsafe" gateway net down 2>"$TMP/down.err" || fail "net down did nothing but reports success"
grep -q "net down failed" "$TMP/down.err" || fail "wrong message: $(cat "$TMP/down.err")"
[ -e /sys/class/net/cmxsafe0 ] || fail "the link no longer exists"
cp "$TMP/fake/ip" "$TMP/fake/nft"; rm "$TMP/fake/ip"
! PATH=$TMP/fake:$PATH "$BIN/cmxsafe" gateway grant user:1234 cam-17:81 >"$TMP/grant.out" 2>&1 || fail "a grant that the kernel did not get is reported as done"
gw init >/dev/null || fail "init"
nft list map inet cmxsafe_host user_marks | grep -q 1234 || fail "init does not repair the kernel's rules"
ok "net up and down"

# With another domain, devices that use the name gateway.cmx still reach the gateway's host.
gw init --domain lab >/dev/null || fail "init --domain"
grep -q ' gateway.lab gateway.cmx$' "$GW/hosts" || fail "gateway.cmx has no address: $(cat "$GW/hosts")"
nft list chain inet cmxsafe_host input | grep -q 'dport 1883 accept' || fail "the host refuses gateway.cmx:1883"
ok "another domain"
gw net down || fail "net down"

# Purging the package removes the block, even a damaged one, and nothing else.
purge() { sh "$ROOT/debian/cmxsafe.postrm" purge; }
rm /etc/hosts
printf '10.0.0.1 a\n%s\n127.0.0.1 localhost\nfd12:3456:789a::1 cam-1.lab\n10.0.0.2 b\n%s\n10.0.0.3 c' "$BEGIN" "$END" >/etc/hosts.site
ln -s hosts.site /etc/hosts
purge || fail "postrm"
[ "$(cat /etc/hosts; echo .)" = $'10.0.0.1 a\n10.0.0.2 b\n10.0.0.3 c.' ] && [ -L /etc/hosts ] || fail "the purge did not remove exactly the block: $(cat /etc/hosts)"
printf '10.0.0.1 a\r\n%s\r\nfd12:3456:789a::1 cam-1.lab\r\n10.0.0.2 b\r\nfd12:3456:789a::2 cam-2.lab\r\n' "$BEGIN" >/etc/hosts
purge || fail "postrm"
[ "$(cat /etc/hosts)" = $'10.0.0.1 a\r\n10.0.0.2 b\r\nfd12:3456:789a::2 cam-2.lab\r' ] || fail "the purge did not remove a block without an end marker: $(cat -A /etc/hosts)"
ok "purge"
