#!/usr/bin/env bash
# Generates documentation from the tables of keys: docs/CONFIG.md, the key sections of cmxsafed.conf(5), and the key tables
# of docs/BOARD.md. Run it after a change to config_table.c, board_config.c or context_options.h; otherwise tests fail.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT"
build build
page=packaging/man/cmxsafed.conf.5
build/bin/cmxsafed --config-reference >docs/CONFIG.md
{
    sed '/made by: cmxsafed --config-reference=man/q' "$page"
    build/bin/cmxsafed --config-reference=man
    sed -n '/^\.SH SEE ALSO/,$p' "$page"
} >"$page.new"
mv "$page.new" "$page"
{
    sed '/<!-- cmxsafe-board keys -->/q' docs/BOARD.md
    build/bin/cmxsafe-board keys
    sed -n '/<!-- end -->/,$p' docs/BOARD.md
} >docs/BOARD.md.new
mv docs/BOARD.md.new docs/BOARD.md
