#!/usr/bin/env bash
# What review once said, kept by a script: no malloc outside core/mem.c, no memcmp on secrets, no unbounded string calls, headers
# rooted at src/, no function over 90 lines, no file over 600.
set -u
cd "$(dirname "$0")/.." || exit 1
rc=0
complain() { echo "$1"; rc=1; }
mapfile -t ours < <(git ls-files 'src/*.[ch]' 'port/*.[ch]' 'agent/*.[ch]' 'board/*.[ch]' 'cli/*.[ch]' 'gateway/*.[ch]')

hits=$(grep -nE '\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|strtok|alloca)\(' "${ours[@]}")
[ -z "$hits" ] || complain "unbounded or unchecked calls:
$hits"
hits=$(grep -nE '(^|[^_a-zA-Z0-9.>])(malloc|calloc|realloc|strdup|strndup|asprintf)\(' "${ours[@]}" | grep -v -e '^src/cmxsafe/core/mem.c:' -e '^port/linux/wipe_free/')
[ -z "$hits" ] || complain "allocation outside core/mem.c:
$hits"
hits=$(grep -nE 'memcmp\([^)]*(hmac|tag|secret|password|hmac|token|digest_expected)' "${ours[@]}")
[ -z "$hits" ] || complain "memcmp on what looks like a secret:
$hits"
hits=$(grep -nE '^#include "' src/cmxsafe/core/*.[ch] src/cmxsafe/proxy/*.[ch] src/cmxsafe/isolation/*.[ch] src/cmxsafe/ota/*.[ch] src/cmxsafe/attest/*.[ch] |
    grep -v '#include "cmxsafe/')
[ -z "$hits" ] || complain "includes that are not rooted at src/:
$hits"
for m in isolation ota attest; do
    others=$(printf '%s\n' proxy isolation ota attest identity device | grep -v "^$m$" | paste -sd'|')
    hits=$(grep -nE "#include \"cmxsafe/($others)/" src/cmxsafe/$m/*.[ch])
    [ -z "$hits" ] || complain "$m knows another module:
$hits"
done
for f in "${ours[@]}"; do
    n=$(wc -l <"$f")
    [ "$n" -le 600 ] || complain "$f: $n lines (600 is the limit)"
done
hits=$(awk 'FNR == 1 { open = 0 } /^[a-zA-Z_].*[^;]$/ { name = $0 } /^\{/ { open = FNR; head = name } /^\}/ && open { if (FNR - open > 91) print FILENAME ":" open ": " FNR - open - 1 " lines: " head; open = 0 }' "${ours[@]}")
[ -z "$hits" ] || complain "functions over 90 lines:
$hits"
exit $rc
