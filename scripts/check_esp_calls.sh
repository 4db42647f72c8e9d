#!/usr/bin/env bash
# docs/PORTING.md lists every call of ESP-IDF, FreeRTOS, lwIP and PSA that port/esp makes, and none that it does not.
set -u
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT" || exit 1
bad=0
calls=$(sed 's://.*::' src/cmxsafe/port/esp/*.c | grep -oE '\b(((esp|httpd|nvs|psa|tcpip|tcp|lwip)_[a-z0-9_]+)|(x|v|ux)[A-Z][A-Za-z]+|task[A-Z_]+)\(' | tr -d '(' | grep -v '^lwip_hook_' | sort -u) # the hooks are ours
listed=$(sed -n '/^## Every ESP-IDF call/,$p' docs/PORTING.md | grep -oE '`[A-Za-z0-9_]+`' | tr -d '`' | sort -u)
for call in $calls; do
    grep -qx "$call" <<<"$listed" || { echo "docs/PORTING.md does not list $call"; bad=1; }
done
for name in $(grep -E '^(((esp|httpd|nvs|psa|tcpip|tcp|lwip)_)|(x|v|ux)[A-Z])' <<<"$listed"); do
    grep -qx "$name" <<<"$calls" || [ "$name" = esp_security ] || [ "$name" = esp_hw_support ] || { echo "docs/PORTING.md lists $name, which nothing calls"; bad=1; }
done
exit "$bad"
