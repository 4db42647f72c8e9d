#!/usr/bin/env bash
# Checks the Arduino library and the ESP-IDF component against the rules of their publishers: always against the published
# rules that an edit in this tree can violate, and with arduino-lint (strict, as for the Library Manager) if it is installed.
set -u
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT" || exit 1
bad=0
fail() { echo "$*"; bad=1; }

version=$(sed -nE 's/.*define CMX_VERSION "(.*)"/\1/p' src/cmxsafe/version.h)
field() { sed -nE "s/^$1=(.*)$/\1/p" library.properties; }

# Each field of library.properties occurs exactly once and is not empty (rules LP003 and following).
for f in name version author maintainer sentence paragraph category url architectures includes; do
    [ "$(grep -c "^$f=" library.properties)" = 1 ] && [ -n "$(field $f)" ] || fail "library.properties: $f must occur exactly once and not be empty"
done
[ "$(field version)" = "$version" ] || fail "library.properties: version is not that of src/cmxsafe/version.h ($version)"
grep -q "^version: \"$version\"" idf_component.yml || fail "idf_component.yml: version is not that of src/cmxsafe/version.h ($version)"
grep -q "^  \"version\": \"$version\"" library.json || fail "library.json: version is not that of src/cmxsafe/version.h ($version)"
grep -q "^__version__ = \"$version\"" python/cmxsafe_tools/__init__.py || fail "python: version is not that of src/cmxsafe/version.h ($version)"
[[ "$(field name)" =~ ^[A-Za-z0-9][A-Za-z0-9_.\ -]{0,62}$ ]] || fail "library.properties: name has a character that is not allowed (LP008)"
[[ "$(field name)" =~ [Aa]rduino ]] && fail "library.properties: name must not have Arduino in it (LP015)"
[[ "$(field sentence)" == *. && "$(field sentence)" != *Arduino* ]] || fail "library.properties: sentence must end in a full stop and not have Arduino in it"
case "$(field category)" in Display | Communication | "Signal Input/Output" | Sensors | "Device Control" | Timing | "Data Storage" | "Data Processing" | Other) ;;
    *) fail "library.properties: category is not one of Arduino's (LP036)" ;; esac
[ -f "src/$(field includes)" ] || fail "library.properties: includes names no header in src/ (LP051)"
[ -f "src/$(field name).h" ] || fail "no header has the library's name (LS008)"

# Each line of keywords.txt is a token, a TAB and a type, and no token occurs twice (LS008, Library specification).
awk -F'\t' '/^#/ || /^$/ { next }
    NF != 2 || $1 ~ / / || $2 !~ /^(KEYWORD[123]|LITERAL1)$/ { print "keywords.txt:" NR ": " $0; bad = 1 }
    seen[$1]++ { print "keywords.txt:" NR ": occurs twice: " $1; bad = 1 }
    END { exit bad }' keywords.txt || bad=1

# Each sketch has its folder's name (LS016). No symbolic link and no .development file is published (LS009 to LS012).
for ino in examples/arduino/*/*.ino; do
    [ "$(basename "$ino" .ino)" = "$(basename "$(dirname "$ino")")" ] || fail "$ino: a sketch must have its folder's name"
done
[ -z "$(find src examples -type l)" ] || fail "symbolic links below src or examples are not allowed"
[ ! -e .development ] || fail ".development must not be published"

# Arduino puts only src/ on the include path, so an #include of a project header must be relative to src/. Arduino compiles all
# files, so #ifdef ESP_PLATFORM must enclose each file of esp/ and port/esp/.
grep -rnE '^#include "(\.\.|[a-z_]+\.h")' src/cmxsafe --include='*.[ch]' | grep -vE '"(remoteAttest|settings|fw_ports|cmxsafe|sm|ota|esp_[a-z_]+|nvs[a-z_]*|sdkconfig)\.h"' &&
    fail "an include is not rooted at src/"
for f in src/cmxsafe/esp/*.c src/cmxsafe/port/esp/*.c; do
    grep -qx '#ifdef ESP_PLATFORM' "$f" || fail "$f: not guarded by ESP_PLATFORM"
done

if command -v arduino-lint >/dev/null; then
    arduino-lint --compliance strict --library-manager submit --recursive "$CMX_ROOT" || bad=1 # this also uses the network
else
    echo "arduino-lint is not installed: only its published rules were checked"
fi
exit "$bad"
