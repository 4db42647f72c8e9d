#!/usr/bin/env bash
# Every relative link of the documentation leads to a file of this tree, and to a heading where it names one; so each requirement in
# docs/SESIP.md has its test.
set -u
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT" || exit 1
bad=0

# The anchors that a page's headings have where it is read: lower case, blanks as hyphens, other punctuation gone.
anchors() { sed -nE 's/^#+ +//p' "$1" | tr '[:upper:]' '[:lower:]' | sed -E 's/[^a-z0-9 _-]//g; s/ /-/g'; }

for page in ./*.md docs/*.md examples/*/*/README.md; do
    [ -e "$page" ] || continue
    while read -r link; do
        file=$page
        [ -z "${link%%#*}" ] || file=$(dirname "$page")/${link%%#*}
        [ -e "$file" ] || { echo "$page: leads nowhere: $link"; bad=1; continue; }
        [[ $link != *.md#* && $link != '#'* ]] || anchors "$file" | grep -qx -- "${link#*#}" || { echo "$page: no such heading: $link"; bad=1; }
    done < <(grep -oE '\]\([^)]+\)' "$page" | sed -E 's/^\]\(//; s/\)$//' | grep -vE '^(https?:|mailto:)')
done
exit "$bad"
