# Uses the publishers' own tools to check the packages for makers: PlatformIO's library, the ESP Component Registry's
# component, and the archive that Arduino's IDE imports. Each contains the library and its examples, and no other file
# of the tree. Also builds the Python wheel and checks its files.
. "$(dirname "$0")/../lib.sh"
cd "$ROOT" || exit 1
git rev-parse --git-dir >/dev/null 2>&1 || skip "not a clone"
mkdir "$TMP/tree"
git ls-files -z | xargs -0 cp -a --parents -t "$TMP/tree" || fail "copy"
version=$(sed -nE 's/.*define CMX_VERSION "(.*)"/\1/p' src/cmxsafe/version.h)
sources=$(git ls-files src | wc -l)

# holds LIST FILE...: succeeds if LIST, the list of an archive's files, contains these files and every source of the
# library, but no file of a host program.
holds() {
    local list=$1 f
    shift
    sed -i 's|^\./||' "$list"
    [ "$(grep -c '^src/.*[^/]$' "$list")" = "$sources" ] || fail "$list: not all of src/"
    for f in "$@"; do grep -qx "$f" "$list" || fail "$list: no $f"; done
    lacks -E '^(agent|bench|board|cli|debian|fuzz|gateway|packaging|port|python|scripts|tests|build)/' "$list" || fail "$list contains files of the host programs"
}

pio=$(python_with platformio==6.2.0 2>"$TMP/pip.log") || fail "no platformio"
export PLATFORMIO_CORE_DIR=$TMP/pio PLATFORMIO_SETTING_ENABLE_TELEMETRY=no
# `pio pkg pack` checks the licence against a list that it downloads. Here it gets a list that contains only the
# project's licence.
"$pio" - pkg pack -o "$TMP/library.tar.gz" "$TMP/tree" >"$TMP/pio.log" 2>&1 <<'PY' || { tail -3 "$TMP/pio.log"; fail "pio pkg pack"; }
import sys
from platformio.__main__ import cli
from platformio.package.manifest.schema import ManifestSchema
ManifestSchema.load_spdx_licenses = staticmethod(lambda: {"licenses": [{"licenseId": "BSD-3-Clause-Clear"}]})
sys.exit(cli())
PY
tar tzf "$TMP/library.tar.gz" >"$TMP/pio.list" || fail "PlatformIO's archive"
holds "$TMP/pio.list" library.json examples/platformio/platformio.ini examples/arduino/SecureServices/SecureServices.ino LICENSE
"$pio" -m platformio project config --lint -d "$TMP/tree/examples/platformio" >"$TMP/pio.log" 2>&1 && grep -q "free from linting errors" "$TMP/pio.log" ||
    { tail -5 "$TMP/pio.log"; fail "platformio.ini"; }
"$pio" -m platformio project config --json-output -d "$TMP/tree/examples/platformio" >"$TMP/config.json" || fail "pio project config"
[ -f "$TMP/tree/examples/platformio/$(sed -n 's/^src_dir = //p' examples/platformio/platformio.ini)/SecureServices.ino" ] || fail "src_dir has no sketch"
json_is '[.[] | select(.[0] | startswith("env")) | .[1][] | select(.[0] == "platform") | .[1]] | length > 0 and all(contains("pioarduino"))' "$TMP/config.json" ||
    fail "an environment uses another platform than pioarduino"
ok "PlatformIO"

compote=$(python_with idf-component-manager==3.1.2 2>"$TMP/pip.log") || fail "no idf-component-manager"
IDF_VERSION=5.5.0 "$(dirname "$compote")/compote" -W component pack --project-dir "$TMP/tree" --name cmxsafe --dest-dir "$TMP/dist" >"$TMP/compote.log" 2>&1 ||
    { tail -5 "$TMP/compote.log"; fail "compote component pack"; }
tar tzf "$TMP/dist/cmxsafe_$version.tgz" >"$TMP/component.list" || fail "the component's archive"
holds "$TMP/component.list" idf_component.yml CMakeLists.txt Kconfig cmake/esp_component.cmake README.md LICENSE examples/esp-idf/minimal/main/main.c
tar xzOf "$TMP/dist/cmxsafe_$version.tgz" ./idf_component.yml >"$TMP/component.yml" || fail "the component's manifest"
for field in repository documentation url license; do grep -q "^$field: " "$TMP/component.yml" || fail "the manifest has no $field"; done
# The component and its examples require the same version of libssh.
[ "$(grep -h -A1 'david-cermak/libssh:' idf_component.yml examples/esp-idf/*/main/idf_component.yml | grep version | sort -u | wc -l)" = 1 ] || fail "the component and its examples require different versions of libssh"
ok "ESP Component Registry"

scripts/package_arduino.sh "$TMP/one" >/dev/null && scripts/package_arduino.sh "$TMP/two" >/dev/null || fail "package_arduino.sh"
cmp "$TMP/one/cmxsafe-$version.zip" "$TMP/two/cmxsafe-$version.zip" || fail "the archive is not reproducible"
mkdir "$TMP/arduino"
python3 -m zipfile -e "$TMP/one/cmxsafe-$version.zip" "$TMP/arduino" || fail "unzip"
[ "$(ls "$TMP/arduino")" = "cmxsafe-$version" ] || fail "the archive is not one folder, as Arduino's IDE requires"
(cd "$TMP/arduino/cmxsafe-$version" && find . -type f) >"$TMP/arduino.list"
holds "$TMP/arduino.list" library.properties keywords.txt LICENSE examples/arduino/SecureCamera/SecureCamera.ino
ok "Arduino"

wheel=$(python_with "setuptools>=77" 2>"$TMP/pip.log") || fail "no setuptools"
"$wheel" -m pip wheel -v --disable-pip-version-check --no-deps --no-build-isolation -w "$TMP/wheel" "$TMP/tree/python" >"$TMP/wheel.log" 2>&1 ||
    { tail -5 "$TMP/wheel.log"; fail "pip wheel"; }
lacks -i deprecated "$TMP/wheel.log" || fail "setuptools will refuse pyproject.toml: $(grep -i deprecated "$TMP/wheel.log")"
python3 -m zipfile -l "$TMP"/wheel/cmxsafe_tools-*-py3-none-any.whl | awk '{ print $1 }' >"$TMP/wheel.list"
for f in $(cd python && git ls-files cmxsafe_tools); do grep -qx "$f" "$TMP/wheel.list" || fail "the wheel lacks $f"; done
grep -q 'dist-info/.*LICENSE$' "$TMP/wheel.list" || fail "the wheel lacks its licence"
ok "Python wheel"
