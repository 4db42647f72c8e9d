#!/usr/bin/env bash
# The Debian packages. Builds in two folders give the same bytes. Checks the packages' content (with lintian), manual
# pages, completion and units; installs, upgrades and purges them in a copy-on-write copy of this machine.
. "$(dirname "$0")/../lib.sh"
for tool in dpkg-buildpackage dh lintian man mandoc systemd-analyze jq; do command -v "$tool" >/dev/null || skip "no $tool"; done

"$ROOT/scripts/package.sh" "$TMP/out" >"$TMP/package.log" 2>&1 || fail "scripts/package.sh"
AGENT=$(echo "$TMP"/out/cmxsafe-agent_*.deb) OPERATOR=$(echo "$TMP"/out/cmxsafe_*.deb) BOARD=$(echo "$TMP"/out/cmxsafe-board_*.deb)
ELSEWHERE=$TMP/another/folder
mkdir -p "$ELSEWHERE"
(cd "$ROOT" && git ls-files -z | xargs -0 cp -a --parents -t "$ELSEWHERE") || fail "a copy of the tree"
AGAIN=$ELSEWHERE/build/packages
mkdir -p "$AGAIN"
touch "$AGAIN/cmxsafe_0.0.9_amd64.deb" "$AGAIN/cmxsafe-0.0.9.zip"
SOURCE_DATE_EPOCH=$(git -C "$ROOT" log -1 --format=%ct) "$ELSEWHERE/scripts/package.sh" >>"$TMP/package.log" 2>&1 || fail "scripts/package.sh fails in another folder"
[ "$(ls "$AGAIN"/cmxsafe_*.deb)" = "$AGAIN/$(basename "$OPERATOR")" ] && [ -f "$AGAIN/cmxsafe-0.0.9.zip" ] || fail "build/packages has packages of an earlier build, which apt would install: $(ls "$AGAIN")"
(cd "$TMP/out" && sha256sum -- *) | (cd "$AGAIN" && sha256sum --quiet -c -) || fail "a build in another folder gives different bytes"
ok "built, reproducibly"

# ---- content ----
for p in "$AGENT" "$OPERATOR" "$BOARD"; do
    depends=$(dpkg-deb -f "$p" Depends)
    [[ $depends == *libc6* && ( $depends == *libssh-4* || $p == "$OPERATOR" ) ]] || fail "wrong Depends of $p: $depends"
    equal "$(dpkg-deb -f "$p" Version)" "$("$BIN/cmxsafe" --version | awk '{print $2}')" || fail "Version of $p"
    dpkg-deb -c "$p" >"$TMP/$(basename "$p").list"
    [ -z "$(awk '$2 != "root/root"' "$TMP/$(basename "$p").list")" ] || fail "files of $p do not belong to root"
    [ -z "$(awk '$1 ~ /^[^l](....w|.......w|..s|.....s)/' "$TMP/$(basename "$p").list")" ] || fail "$p has writable or set-id files"
done
[[ $(dpkg-deb -f "$AGENT" Depends) == *libseccomp2* ]] || fail "the agent does not depend on libseccomp2"
[[ $(dpkg-deb -f "$BOARD" Depends) == *libmicrohttpd* ]] || fail "the board does not depend on libmicrohttpd"
for library in libnftables1 libmicrohttpd libtss2-esys; do
    [[ $(dpkg-deb -f "$AGENT" Recommends) == *$library* && $(dpkg-deb -f "$AGENT" Depends) != *$library* ]] ||
        fail "$library, which only some configurations need, must be recommended: $(dpkg-deb -f "$AGENT" Recommends)"
done
[ "$(dpkg-deb --ctrl-tarfile "$AGENT" | tar -xO ./conffiles)" = /etc/cmxsafe/cmxsafed.conf ] || fail "wrong conffiles"
for f in ./usr/sbin/cmxsafed lib/systemd/system/cmxsafed.service ./usr/share/man/man8/cmxsafed.8.gz \
    ./usr/share/man/man5/cmxsafed.conf.5.gz ./usr/share/doc/cmxsafe-agent/copyright; do
    grep -q "$f$" "$TMP/$(basename "$AGENT").list" || fail "$f is not in the package"
done
for f in ./usr/bin/cmxsafe ./usr/lib/cmxsafe/cmxsafe-authkeys ./usr/share/bash-completion/completions/cmxsafe \
    ./usr/share/man/man1/cmxsafe{,-attest,-gateway,-identity,-image,-update}.1.gz; do
    grep -q " $f$" "$TMP/$(basename "$OPERATOR").list" || fail "$f is not in the package"
done
# in_console_package NAME FILE...: checks that the package cockpit-NAME has each file in its Cockpit folder.
in_console_package() {
    local name=$1 f
    shift
    CONSOLE=$(echo "$TMP/out/cockpit-$name"_*_all.deb)
    dpkg-deb -c "$CONSOLE" >"$TMP/console.list" || fail "no package cockpit-$name"
    for f in "$@"; do grep -q "^-rw-r--r-- root/root .* ./usr/share/cockpit/$name/$(basename "$f")$" "$TMP/console.list" || fail "$f is not in cockpit-$name"; done
}
# loaded FILE...: prints the names of the scripts and styles that these files of the agent's console load.
loaded() { grep -ohE '(src|href)="[a-z_]+\.(js|css)"|from .\./[a-z_]+\.js' "$@" | grep -oE '[a-z_]+\.(js|css)' | sort -u; }
in_console_package cmxsafe-agent "$ROOT"/console/agent/* $(loaded "$ROOT"/console/agent/*.html "$ROOT"/console/agent/*.js)
in_console_package cmxsafe "$ROOT"/console/*.*
[[ $(dpkg-deb -f "$CONSOLE" Depends) == *cmxsafe*cockpit-bridge* ]] || fail "wrong dependencies of cockpit-cmxsafe"
grep -q ' ./usr/bin/cmxsafe-board$' "$TMP/$(basename "$BOARD").list" || fail "cmxsafe-board is not in its package"
scripts=0
for p in "$AGENT" "$OPERATOR" "$BOARD"; do
    for script in preinst postinst prerm postrm; do
        dpkg-deb --ctrl-tarfile "$p" | tar -xO "./$script" >"$TMP/script" 2>/dev/null || continue
        sh -n "$TMP/script" || fail "$script of $p"
        scripts=$((scripts + 1))
    done
done
[ "$scripts" -ge 5 ] || fail "only $scripts maintainer scripts"
lintian --allow-root --pedantic --fail-on error,warning,pedantic "$AGENT" "$OPERATOR" "$BOARD" "$CONSOLE" >"$TMP/lintian.log" 2>&1 || fail "lintian"
ok "content"

# ---- bill of materials ----
BILL=$(echo "$TMP"/out/cmxsafe_*.spdx.json)
json_is '.spdxVersion == "SPDX-2.3" and ([.packages[] | select(.name == "libssh-4") | .versionInfo | length > 0] == [true])' "$BILL" || fail "the bill of materials lacks libssh or its version"
for p in "$AGENT" "$OPERATOR" "$BOARD"; do
    equal "$(jq -r --arg f "$(basename "$p")" '.packages[] | select(.packageFileName == $f) | .checksums[0].checksumValue' "$BILL")" "$(sha256sum <"$p" | cut -d' ' -f1)" ||
        fail "the bill of materials names another $(basename "$p")"
done
ok "bill of materials"

# ---- the manual pages ----
mkdir "$TMP/man"
"$ROOT/scripts/gen_man.sh" "$BIN" "$TMP/man" || fail "scripts/gen_man.sh"
for page in "$TMP"/man/*; do
    diff -u "$ROOT/packaging/man/$(basename "$page")" "$page" >"$TMP/man.log" || fail "run scripts/gen_man.sh: $(basename "$page") is not what --help says"
done
for page in "$ROOT"/packaging/man/*; do
    [ -z "$(LC_ALL=C.UTF-8 MANWIDTH=120 man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null)" ] || fail "man --warnings $page"
    mandoc -T lint -W warning "$page" >"$TMP/mandoc.log" 2>&1 || fail "mandoc $page"
done
"$BIN/cmxsafe" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' >"$TMP/commands"
while read -r command; do
    grep -q "^\.B $command$" "$ROOT/packaging/man/cmxsafe.1" || fail "cmxsafe(1) does not know '$command'"
done <"$TMP/commands"
[ -s "$TMP/commands" ] || fail "no commands in --help"
options=$("$BIN/cmxsafed" --help | grep -oE '^  (-c, )?--[a-z-]+' | grep -oE '[a-z][a-z-]+$')
[ -n "$options" ] || fail "no options in cmxsafed --help"
for option in $options; do
    grep -q "${option//-/\\\\-}" "$ROOT/packaging/man/cmxsafed.8" || fail "cmxsafed(8) does not know --$option"
done
commands=$("$BIN/cmxsafed" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
[ -n "$commands" ] || fail "no commands in cmxsafed --help"
for command in $commands; do
    grep -q "^\.B cmxsafed $command$" "$ROOT/packaging/man/cmxsafed.8" || fail "cmxsafed(8) does not know '$command'"
done
ok "manual pages"

# ---- completion ----
complete_words() { # complete_words WORD...: prints the shell's completions of the last WORD
    PATH=$BIN:$PATH bash -c '. "$0" && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) && _cmxsafe && echo " ${COMPREPLY[*]} "' \
        "$ROOT/packaging/completion/cmxsafe" "$@" 2>"$TMP/completion.log"
}
[[ $(complete_words cmxsafe '') == *' gateway '*' update '* ]] || fail "no completion of commands"
[[ $(complete_words cmxsafe gateway en) == ' enroll ' ]] || fail "no completion of a command's commands"
[[ $(complete_words cmxsafe gateway enroll --k) == ' --key ' && $(complete_words cmxsafed status --j) == ' --json ' ]] || fail "no completion of options"
[[ $(complete_words cmxsafe-board run --) == *' --net '* && ! -s $TMP/completion.log ]] || fail "no completion of cmxsafe-board's options"
ok "completion"

# ---- the unit ----
mkdir "$TMP/unit"
sed 's|/usr/sbin/cmxsafed|/bin/true|' "$ROOT/packaging/agent/cmxsafed.service" >"$TMP/unit/cmxsafed.service"
systemd-analyze verify --man=no "$TMP/unit/cmxsafed.service" >"$TMP/verify.log" 2>&1
[ -z "$(grep "cmxsafed.service" "$TMP/verify.log" | grep -v "Failed to load")" ] || fail "systemd-analyze verify"
# systemd rates a unit's exposure from 10 (no protection) to 0 (full protection). The limit is 1.5; every network service
# in Debian has a higher exposure.
systemd-analyze security --offline=true --threshold=15 "$TMP/unit/cmxsafed.service" >"$TMP/security.log" 2>&1 ||
    { tail -3 "$TMP/security.log"; fail "systemd-analyze security"; }
ok "unit: $(tail -1 "$TMP/security.log" | sed 's/.*: //')"

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
    fail "the shipped configuration is not valid once its files exist"
ok "unpacked programs run"

# ---- installed, in a copy of this machine ----
[ "$(id -u)" = 0 ] || { skip_part "installation: needs root"; exit 0; }
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
    mkdir -p /etc/systemd/system/multi-user.target.wants /etc/systemd/system/timers.target.wants /var/lib/prometheus/node-exporter
    touch /etc/systemd/system/cmxsafe-gateway.socket /var/lib/prometheus/node-exporter/cmxsafe.prom
    ln -s ../cmxsafe-gateway.service /etc/systemd/system/multi-user.target.wants/
    ln -s ../cmxsafe-gateway-metrics.timer /etc/systemd/system/timers.target.wants/
    printf "%s\n" "# cmxsafe gateway: begin (written from the registry)" "fd00::1 a.cmx" "# cmxsafe gateway: end" "192.0.2.1 mine" >>/etc/hosts
    dpkg -P cmxsafe-agent cmxsafe cmxsafe-board
    [ ! -e /etc/systemd/system/cmxsafe-gateway.socket ]
    [ ! -L /etc/systemd/system/multi-user.target.wants/cmxsafe-gateway.service ]
    [ ! -L /etc/systemd/system/timers.target.wants/cmxsafe-gateway-metrics.timer ]
    [ ! -e /var/lib/prometheus/node-exporter/cmxsafe.prom ]
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
99) skip_part "installation: no overlay file system" ;;
*) fail "installation" ;;
esac
