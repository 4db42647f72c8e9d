#!/usr/bin/env bash
# Checks that docs/PORTING.md lists exactly the ESP-IDF, FreeRTOS, lwIP and PSA functions that esp/ and port/esp/ call.
# Checks that src/ defines every function of the headers that a port implements.
set -u
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT" || exit 1
bad=0
calls=$(sed 's://.*::' src/cmxsafe/esp/*.c src/cmxsafe/port/esp/*.c | grep -oE '\b(((esp|httpd|nvs|psa|tcpip|tcp|lwip)_[a-z0-9_]+)|(x|v|ux)[A-Z][A-Za-z]+|task[A-Z_]+)\(' | tr -d '(' | grep -v '^lwip_hook_' | sort -u) # without lwIP's hooks: our code defines them and lwIP calls them
listed=$(sed -n '/^## Every ESP-IDF call/,$p' docs/PORTING.md | grep -oE '`[A-Za-z0-9_]+`' | tr -d '`' | sort -u)
for call in $calls; do
    grep -qx "$call" <<<"$listed" || { echo "docs/PORTING.md does not list $call"; bad=1; }
done
for name in $(grep -E '^(((esp|httpd|nvs|psa|tcpip|tcp|lwip)_)|(x|v|ux)[A-Z])' <<<"$listed"); do
    grep -qx "$name" <<<"$calls" || [ "$name" = esp_security ] || [ "$name" = esp_hw_support ] || { echo "docs/PORTING.md lists $name, which nothing calls"; bad=1; }
done
for header in port/port.h port/crypto.h http/http.h; do
    for name in $(sed -nE 's/^[A-Za-z].*[ *](cmx_[a-z0-9_]+)\(.*/\1/p' "src/cmxsafe/$header" | sort -u); do
        grep -rqE --include='*.c' "^[a-z].*[ *]$name\(" src || { echo "no file of src/ defines $name of $header for ESP-IDF"; bad=1; }
    done
done
grep -rnE --exclude-dir=port '#include <(sys/)?poll.h>' src tests/port_conformance examples && { echo "ESP-IDF has no <poll.h>, musl warns of <sys/poll.h>: include cmxsafe/port/poll.h"; bad=1; }
exit "$bad"
