# desk_lib.sh - for scenarios of python/: installs the tools. Source it after tests/e2e/lib.sh. It sources ota_image.sh.
# desk_tools: installs python/ into $TMP/site, and sets PYTHON to an interpreter that has its dependencies. `tools` runs
# the installed program.
# desk_ready: as desk_tools, for scenarios in $TMP that use make_image.
. "$ROOT/tests/tools/ota_image.sh"
DESK_PACKAGES=(cryptography==50.0.2 cbor2==6.3.0 "esptool==$ESPTOOL_VERSION" segno==1.6.6 esp-idf-nvs-partition-gen==0.3.0 "setuptools>=77")
desk_tools() {
    PYTHON=$(python_with "${DESK_PACKAGES[@]}" 2>"$TMP/pip.log") || fail "no Python packages"
    cp -r "$ROOT/python" "$TMP/python.source"
    "$PYTHON" -m pip -q install --disable-pip-version-check --no-deps --no-build-isolation --target "$TMP/site" "$TMP/python.source" \
        >"$TMP/pip.log" 2>&1 || fail "pip install ./python"
}
tools() { PYTHONPATH=$TMP/site "$PYTHON" -m cmxsafe_tools "$@"; }
desk_ready() {
    esptool_ready
    desk_tools
    cd "$TMP" || exit 1
}
