#!/usr/bin/env bash
# The recipe for OpenWrt, tested without OpenWrt's SDK: make reads the recipe, CMake builds the agent with the recipe's
# options from the files that the recipe copies, and the agent reports which parts it was built without. A few lines
# replace the SDK's own rules. Only the SDK can check the recipe's package names.
. "$(dirname "$0")/../lib.sh"
command -v make >/dev/null || skip "no make"

sdk=$TMP/sdk
mkdir -p "$sdk/include"
cat >"$sdk/rules.mk" <<'M'
INCLUDE_DIR:=$(TOPDIR)/include
PKG_BUILD_DIR:=$(TOPDIR)/build_dir
PKG_INSTALL_DIR:=$(PKG_BUILD_DIR)/ipkg-install
CP:=cp -fpR
INSTALL_DIR:=install -d -m0755
INSTALL_BIN:=install -m0755
INSTALL_CONF:=install -m0600
define BuildPackage
all:
	$(call Build/Prepare)
	cmake -S $(PKG_BUILD_DIR) -B $(PKG_BUILD_DIR)/build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_INSTALL_PREFIX=/usr $(CMAKE_OPTIONS)
	cmake --build $(PKG_BUILD_DIR)/build
	DESTDIR=$(PKG_INSTALL_DIR) cmake --install $(PKG_BUILD_DIR)/build
	$(call Package/$(1)/install,$(TOPDIR)/root)
version:
	@echo $(PKG_VERSION)
endef
M
touch "$sdk/include/package.mk" "$sdk/include/cmake.mk"
recipe() { make -C "$ROOT/packaging/openwrt" --no-print-directory "TOPDIR=$sdk" "$@"; }

version=$(recipe version) || fail "make does not read the recipe"
[ "$version" = "$("$BIN/cmxsafed" --version | cut -d' ' -f2)" ] || fail "the recipe's version is '$version'"
recipe all >"$TMP/make.log" 2>&1 || { tail -n 40 "$TMP/make.log"; fail "the recipe does not build"; }
agent=$sdk/root/usr/sbin/cmxsafed
"$agent" --version >/dev/null || fail "the agent does not run"
sh -n "$sdk/root/etc/init.d/cmxsafed" || fail "the init script"
ok "the recipe builds and installs the agent"

if [ "$(id -u)" = 0 ]; then
    # Earlier versions of the init script made the agent the owner of /etc/cmxsafe, so the agent could replace files in
    # this folder with links.
    etc=$TMP/etc
    start() {
        { sed "s|/etc/cmxsafe|$etc|g; s|/var/run|$TMP/var|g; s|cmxsafed:cmxsafed|nobody:nogroup|; s|root:cmxsafed|root:nogroup|" "$sdk/root/etc/init.d/cmxsafed"
          echo 'procd_open_instance() { :; }; procd_set_param() { :; }; procd_close_instance() { :; }; start_service'; } >"$TMP/start"
        sh -e "$TMP/start" || fail "start_service"
    }
    attributes() { stat -c '%U:%G %a' "$@" | tr '\n' ' '; }
    for make in "ln -s" "ln"; do
        mkdir -p "$etc" "$TMP/other" && touch "$TMP/other/conf" "$TMP/other/key" && chmod 604 "$TMP/other/"* && chown nobody "$etc"
        $make "$TMP/other/conf" "$etc/cmxsafed.conf" && $make "$TMP/other/key" "$etc/key" || fail "$make"
        start
        [ "$(attributes "$TMP/other/conf" "$TMP/other/key")" = "root:root 604 root:root 604 " ] || fail "$make: $(attributes "$TMP/other/"*)"
        rm -r "$etc" "$TMP/other"
    done
    mkdir "$etc" && touch "$etc/cmxsafed.conf" "$etc/key" && chown nobody "$etc" "$etc/cmxsafed.conf"
    start
    start
    [ "$(attributes "$etc" "$etc/cmxsafed.conf" "$etc/key" "$TMP/var/cmxsafe")" = "root:nogroup 750 root:nogroup 640 nobody:nogroup 600 nobody:nogroup 755 " ] || fail "$(attributes "$etc" "$etc"/* "$TMP/var/cmxsafe")"
    ok "the init script gives the agent its key and no other file"
fi

ssh-keygen -q -t ed25519 -N '' -f "$TMP/key"
pin=$(ssh-keygen -lf "$TMP/key.pub" | cut -d' ' -f2)
mkdir "$TMP/run"
sed "s|SHA256:REPLACE-ME|$pin|; s|^key_file.*|key_file = $TMP/key|; s|/var/run/cmxsafe|$TMP/run|" "$sdk/root/etc/cmxsafe/cmxsafed.conf" >"$TMP/agent.conf"
"$agent" --check -c "$TMP/agent.conf" | grep -q '1 pinned host key, 1 context' || fail "--check refuses the configuration that the recipe installs"
head -c 32 /dev/urandom >"$TMP/hmac"
chmod 600 "$TMP/hmac"
printf '[identity]\nkey_file = %s\n' "$TMP/hmac" >>"$TMP/agent.conf"
with() { cat "$TMP/agent.conf"; printf '%s\nenabled = yes\n' "$1"; }
with "[isolation]" >"$TMP/isolation.conf"
"$agent" -c "$TMP/isolation.conf" >"$TMP/isolation.log" 2>&1 && fail "started with [isolation]"
grep -q "built without libnftables" "$TMP/isolation.log" || { cat "$TMP/isolation.log"; fail "wrong message for [isolation]"; }
with "[attest]" >"$TMP/attest.conf"
"$agent" -c "$TMP/attest.conf" >"$TMP/attest.log" 2>&1 & AGENT=$!; PIDS+=("$AGENT")
wait_for 20 grep -q "there is no attestation: .*built without libmicrohttpd" "$TMP/attest.log" || { cat "$TMP/attest.log"; fail "wrong message for [attest]"; }
kill -TERM "$AGENT" && wait "$AGENT" || { cat "$TMP/attest.log"; fail "the agent without [attest] does not run: $?"; }
ok "what the build left out is named"
