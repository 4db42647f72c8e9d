#!/usr/bin/env bash
# Every relative link of the documentation leads to a file of this tree; so each requirement in docs/SESIP.md has its test.
set -u
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT" || exit 1
bad=0
for page in ./*.md docs/*.md examples/*/*/README.md; do
    [ -e "$page" ] || continue
    while read -r link; do
        [ -e "$(dirname "$page")/${link%%#*}" ] || { echo "$page: leads nowhere: $link"; bad=1; }
    done < <(grep -oE '\]\([^)]+\)' "$page" | sed -E 's/^\]\(//; s/\)$//' | grep -vE '^(https?:|mailto:|#)')
done
exit "$bad"
