#!/usr/bin/env bash
# Checks that every relative link of the documentation leads to an existing file and heading. This includes the link of each
# requirement in docs/SESIP.md to its test. Checks that each page that a program's message or help names is in the
# program's Debian package.
set -u
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT" || exit 1
bad=0

# The anchors of a page's headings: lower case, hyphens for blanks, no other punctuation.
anchors() { sed -nE 's/^#+ +//p' "$1" | tr '[:upper:]' '[:lower:]' | sed -E 's/[^a-z0-9 _-]//g; s/ /-/g'; }

for page in ./*.md docs/*.md examples/*/*/README.md; do
    [ -e "$page" ] || continue
    while read -r link; do
        file=$page
        [ -z "${link%%#*}" ] || file=$(dirname "$page")/${link%%#*}
        [ -e "$file" ] || { echo "$page: no such file: $link"; bad=1; continue; }
        [[ $link != *.md#* && $link != '#'* ]] || anchors "$file" | grep -qx -- "${link#*#}" || { echo "$page: no such heading: $link"; bad=1; }
    done < <(grep -oE '\]\([^)]+\)' "$page" | sed -E 's/^\]\(//; s/\)$//' | grep -vE '^(https?:|mailto:)')
done

# named_pages FOLDER...: prints the pages of docs/ that strings, but no comments, in the folders name.
named_pages() { grep -rhE --include='*.[ch]' '"' "$@" | grep -vE '^ *(/\*|\*|//)' | grep -oE 'docs/[A-Z_0-9]+\.md' | sort -u; }
for program in cmxsafe-agent:agent cmxsafe-board:board 'cmxsafe:cli gateway'; do
    # shellcheck disable=SC2086 # the last program has two folders
    for page in $(named_pages ${program#*:}); do
        grep -qx "$page" "debian/${program%%:*}.docs" || { echo "debian/${program%%:*}.docs: lacks $page, which the program names"; bad=1; }
    done
done
exit "$bad"
