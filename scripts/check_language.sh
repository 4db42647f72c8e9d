#!/usr/bin/env bash
# Refuses phrases that make comments, messages and documents hard to read. scripts/language_phrases.txt lists the phrases and
# what to write instead. Arguments: files to check instead of all.
set -u
cd "$(dirname "$0")/.." || exit 1
phrases=scripts/language_phrases.txt

mapfile -t files < <(git ls-files | grep -vE '^(LICENSE|scripts/language_phrases\.txt)$|^(fuzz/corpus|tests/golden)/.*\.(bin|db)$')
[ $# -eq 0 ] || files=("$@")
hits=$(mktemp)
trap 'rm -f "$hits"' EXIT
n=0
while IFS=$'\t' read -r phrase instead; do
    case $phrase in '' | '#'*) continue ;; esac
    n=$((n + 1))
    grep -InHiP -- "$phrase" "${files[@]}" | sed "s|^|$(printf '%s' "$instead" | sed 's/[|&\\]/\\&/g')\t|" >>"$hits"
done <"$phrases"
[ "$n" -gt 0 ] || { echo "$phrases lists no phrase"; exit 1; }

# Prints each hit as FILE:LINE: text, then what to write.
awk -F'\t' '{ print "  " substr($0, length($1) + 2, 200); print "      write: " $1 }' "$hits"
[ ! -s "$hits" ]
