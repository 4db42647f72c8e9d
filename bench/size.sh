#!/usr/bin/env bash
# bench/size.sh: counts the lines of the product's C and C++ files, by folder and in total.
set -u
cd "$(dirname "$0")/.." || exit 1
. bench/lib.sh
AIM=45900
counts=$(git ls-files src port agent board cli gateway | grep -E '\.(c|h|cpp)$' | xargs wc -l |
    awk '$2 != "total" { sub("/.*", "", $2); lines[$2] += $1 } END { for (folder in lines) print lines[folder], folder }' | sort -k2)
printf '%s\n' "$counts" | awk '{ printf "%7d  %s\n", $1, $2 }'
figure product_lines "$(printf '%s\n' "$counts" | awk '{ n += $1 } END { print n }')" '<=' "$AIM"
