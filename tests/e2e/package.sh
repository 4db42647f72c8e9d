#!/usr/bin/env bash
# The Debian packages: built by one command, the same bytes each time, what they hold, that their programs run from where they
# were unpacked; and, in a copy-on-write copy of this machine that nobody else sees, that they install, upgrade and purge.
. "$(dirname "$0")/lib.sh"
command -v dpkg-deb >/dev/null && command -v dpkg-shlibdeps >/dev/null || skip "no dpkg-dev"

"$ROOT/scripts/package.sh" "$TMP/out" >"$TMP/package.log" 2>&1 || fail "scripts/package.sh"
AGENT=$(echo "$TMP"/out/cmxsafe-agent_*.deb) OPERATOR=$(echo "$TMP"/out/cmxsafe_*.deb) BOARD=$(echo "$TMP"/out/cmxsafe-board_*.deb)
"$ROOT/scripts/package.sh" "$TMP/again" >>"$TMP/package.log" 2>&1 || fail "scripts/package.sh, again"
(cd "$TMP/out" && sha256sum -- *) | (cd "$TMP/again" && sha256sum --quiet -c -) || fail "not the same bytes twice"
ok "built, reproducibly"

# ---- what is in them ----
for p in "$AGENT" "$OPERATOR" "$BOARD"; do
    depends=$(dpkg-deb -f "$p" Depends)
    [[ $depends == *libc6* && $depends == *libssh-4* || $p == "$OPERATOR" && $depends == *libc6* ]] || fail "Depends of $p: $depends"
    [ "$(dpkg-deb -f "$p" Version)" = "$("$BIN/cmxsafe" --version | awk '{print $2}')" ] || fail "Version of $p"
    dpkg-deb -c "$p" >"$TMP/$(basename "$p").list"
    ! awk '{print $2}' "$TMP/$(basename "$p").list" | grep -v root/root || fail "files of $p do not belong to root"
    ! awk '{print $1}' "$TMP/$(basename "$p").list" | grep -E '^.(....w|.......w|..s|.....s)' || fail "writable or set-id files in $p"
done
[[ $(dpkg-deb -f "$AGENT" Depends) == *libinih1* && $(dpkg-deb -f "$AGENT" Depends) == *libseccomp2* ]] || fail "Depends of the agent"
for library in libnftables1 libmicrohttpd libtss2-esys; do
    [[ $(dpkg-deb -f "$AGENT" Recommends) == *$library* && $(dpkg-deb -f "$AGENT" Depends) != *$library* ]] ||
        fail "$library, which only some configurations need, must be recommended: $(dpkg-deb -f "$AGENT" Recommends)"
done
[ "$(dpkg-deb --ctrl-tarfile "$AGENT" | tar -xO ./conffiles)" = /etc/cmxsafe/cmxsafed.conf ] || fail "conffiles"
for f in ./usr/sbin/cmxsafed ./lib/systemd/system/cmxsafed.service ./usr/share/man/man8/cmxsafed.8.gz \
    ./usr/share/man/man5/cmxsafed.conf.5.gz ./usr/share/doc/cmxsafe-agent/copyright; do
    grep -q " $f$" "$TMP/$(basename "$AGENT").list" || fail "$f is not in the package"
done
for f in ./usr/bin/cmxsafe ./usr/lib/cmxsafe/cmxsafe-authkeys ./usr/share/bash-completion/completions/cmxsafe \
    ./usr/share/man/man1/cmxsafe{,-attest,-gateway,-identity,-image,-update}.1.gz; do
    grep -q " $f$" "$TMP/$(basename "$OPERATOR").list" || fail "$f is not in the package"
done
grep -q ' ./usr/bin/cmxsafe-board$' "$TMP/$(basename "$BOARD").list" || fail "cmxsafe-board is not in its package"
for script in "$AGENT postinst" "$AGENT prerm" "$AGENT postrm" "$OPERATOR prerm" "$OPERATOR postrm"; do
    dpkg-deb --ctrl-tarfile "${script% *}" | tar -xO "./${script#* }" >"$TMP/script" && sh -n "$TMP/script" || fail "$script"
done
if command -v lintian >/dev/null; then
    # The packages are for one's own devices: there is no mailbox behind their maintainer.
    lintian --fail-on error --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "$AGENT" "$OPERATOR" "$BOARD" >"$TMP/lintian.log" 2>&1 || fail "lintian"
    ok "lintian: $(grep -c ^W: "$TMP/lintian.log") warnings, no errors"
fi
ok "content"

# ---- the manual pages ----
mkdir "$TMP/man"
"$ROOT/scripts/gen_man.sh" "$BIN" "$TMP/man" || fail "scripts/gen_man.sh"
for page in "$TMP"/man/*; do
    diff -u "$ROOT/packaging/man/$(basename "$page")" "$page" >"$TMP/man.log" || fail "run scripts/gen_man.sh: $(basename "$page") is not what --help says"
done
for page in "$ROOT"/packaging/man/*; do
    if command -v man >/dev/null; then
        [ -z "$(LC_ALL=C.UTF-8 MANWIDTH=120 man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null)" ] || fail "man --warnings $page"
    fi
    if command -v mandoc >/dev/null; then
        mandoc -T lint -W warning "$page" >"$TMP/mandoc.log" 2>&1 || fail "mandoc $page"
    fi
done
"$BIN/cmxsafe" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' >"$TMP/commands"
while read -r command; do
    grep -q "^\.B $command$" "$ROOT/packaging/man/cmxsafe.1" || fail "cmxsafe(1) does not know '$command'"
done <"$TMP/commands"
[ -s "$TMP/commands" ] || fail "no commands in --help"
for option in $("$BIN/cmxsafed" --help | grep -oE '^  (-c, )?--[a-z-]+' | grep -oE '[a-z][a-z-]+$'); do
    grep -q "${option//-/\\\\-}" "$ROOT/packaging/man/cmxsafed.8" || fail "cmxsafed(8) does not know --$option"
done
for command in $("$BIN/cmxsafed" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    grep -q "^\.B cmxsafed $command$" "$ROOT/packaging/man/cmxsafed.8" || fail "cmxsafed(8) does not know '$command'"
done
ok "manual pages"

# ---- completion ----
complete_words() { # complete_words WORD...: what the shell would offer for the last one
    PATH=$BIN:$PATH bash -c '. "$0" && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) && _cmxsafe && echo " ${COMPREPLY[*]} "' \
        "$ROOT/packaging/completion/cmxsafe" "$@" 2>"$TMP/completion.log"
}
[[ $(complete_words cmxsafe '') == *' gateway '*' update '* ]] || fail "completion of commands"
[[ $(complete_words cmxsafe gateway en) == ' enroll ' ]] || fail "completion of a command's commands"
[[ $(complete_words cmxsafe gateway enroll --k) == ' --key ' && $(complete_words cmxsafed status --j) == ' --json ' ]] || fail "completion of options"
[[ $(complete_words cmxsafe-board run --) == *' --net '* && ! -s $TMP/completion.log ]] || fail "completion of cmxsafe-board"
ok "completion"

# ---- the unit ----
if command -v systemd-analyze >/dev/null; then
    mkdir "$TMP/unit"
    sed 's|/usr/sbin/cmxsafed|/bin/true|' "$ROOT/packaging/agent/cmxsafed.service" >"$TMP/unit/cmxsafed.service"
    systemd-analyze verify --man=no "$TMP/unit/cmxsafed.service" >"$TMP/verify.log" 2>&1
    ! grep "cmxsafed.service" "$TMP/verify.log" | grep -v "Failed to load" | grep . || fail "systemd-analyze verify"
    # 10 is no protection, 0 is all: 1.5 is stricter than what Debian ships for any network service.
    systemd-analyze security --offline=true --threshold=15 "$TMP/unit/cmxsafed.service" >"$TMP/security.log" 2>&1 ||
        { tail -3 "$TMP/security.log"; fail "systemd-analyze security"; }
    ok "unit: $(tail -1 "$TMP/security.log" | sed 's/.*: //')"
fi

# ---- unpacked ----
dpkg-deb -x "$AGENT" "$TMP/root"
dpkg-deb -x "$OPERATOR" "$TMP/root"
dpkg-deb -x "$BOARD" "$TMP/root"
"$TMP/root/usr/sbin/cmxsafed" --version | grep -q '^cmxsafed ' || fail "the unpacked agent does not run"
"$TMP/root/usr/bin/cmxsafe-board" --version | grep -q '^cmxsafe-board ' || fail "the unpacked board does not run"
"$TMP/root/usr/bin/cmxsafe" --version | grep -q '^cmxsafe ' || fail "the unpacked command does not run"
mkdir "$TMP/keys"
ssh-keygen -q -t ed25519 -N '' -f "$TMP/keys/key"
{ printf 'gateway.example.org '; cut -d' ' -f1,2 "$TMP/keys/key.pub"; } >"$TMP/keys/known_hosts"
sed "s|/etc/cmxsafe/|$TMP/keys/|" "$TMP/root/etc/cmxsafe/cmxsafed.conf" >"$TMP/shipped.conf"
"$TMP/root/usr/sbin/cmxsafed" --check -c "$TMP/shipped.conf" | grep -q 'ok: gateway gateway.example.org port 22' ||
    fail "the shipped configuration is not right once its files are there"
ok "unpacked programs run"

# ---- installed, in a copy of this machine ----
[ "$(id -u)" = 0 ] || { echo "not root: installing is not tried"; exit 0; }
mkdir "$TMP/copy"
cat >"$TMP/inside.sh" <<'INSIDE'
set -eu
mount -t tmpfs tmpfs "$1/copy" && mkdir "$1/copy/u" "$1/copy/w" "$1/copy/m" || exit 99
mount -t overlay -o "lowerdir=/,upperdir=$1/copy/u,workdir=$1/copy/w" overlay "$1/copy/m" 2>/dev/null || exit 99
mount --bind "$1" "$1/copy/m$1"
cd "$1/copy/m"
chroot . sh -eux -c '
    export DEBIAN_FRONTEND=noninteractive
    dpkg -i '"$2 $3 $4"'
    id cmxsafed >/dev/null
    [ "$(stat -c "%U:%G %a" /etc/cmxsafe)" = "root:cmxsafed 750" ]
    [ ! -e /etc/systemd/system/multi-user.target.wants/cmxsafed.service ]
    cmxsafed --version
    echo "# mine" >>/etc/cmxsafe/cmxsafed.conf
    dpkg -i '"$2"'
    grep -q "# mine" /etc/cmxsafe/cmxsafed.conf
    touch /etc/cmxsafe/key
    mkdir -p /var/lib/cmxsafe/gateway /var/lib/cmxsafed
    touch /var/lib/cmxsafe/gateway/registry.db /var/lib/cmxsafed/update
    cp /etc/hosts /tmp/hosts.before
    touch /etc/systemd/system/cmxsafe-gateway.socket
    printf "%s\n" "# cmxsafe gateway: begin (written from the registry)" "fd00::1 a.cmx" "# cmxsafe gateway: end" "192.0.2.1 mine" >>/etc/hosts
    dpkg -P cmxsafe-agent cmxsafe cmxsafe-board
    [ ! -e /etc/systemd/system/cmxsafe-gateway.socket ]
    echo "192.0.2.1 mine" | cat /tmp/hosts.before - | cmp - /etc/hosts
    [ -e /var/lib/cmxsafe/gateway/registry.db ]
    [ ! -e /var/lib/cmxsafed ]
    [ ! -e /etc/cmxsafe/cmxsafed.conf ]
    [ -e /etc/cmxsafe/key ]
    [ ! -e /usr/sbin/cmxsafed ]
'
INSIDE
unshare -m bash "$TMP/inside.sh" "$TMP" "$AGENT" "$OPERATOR" "$BOARD" >"$TMP/install.log" 2>&1
case $? in
0) ok "installed, upgraded, purged" ;;
99) echo "no overlay here: installing is not tried" ;;
*) fail "installation" ;;
esac
