#!/usr/bin/env bash
# Writes what is made from the agent's table of keys: docs/CONFIG.md and the key sections of cmxsafed.conf(5). Run it after a
# change of agent/config_table.c; the unit test `test_config` compares.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT"
[ -x build/bin/cmxsafed ] && [ build/bin/cmxsafed -nt agent/config_table.c ] || build build
page=packaging/man/cmxsafed.conf.5
build/bin/cmxsafed --config-reference >docs/CONFIG.md
{
    sed '/made by: cmxsafed --config-reference=man/q' "$page"
    build/bin/cmxsafed --config-reference=man
    sed -n '/^\.SH SEE ALSO/,$p' "$page"
} >"$page.new"
mv "$page.new" "$page"
