#!/usr/bin/env bash
# Runs the commands of docs/QUICKSTART.md as they are printed there, except for free ports. Checks that docs/CHIPS.md
# names every target of the component and of the virtual board.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
DOC=$ROOT/docs/QUICKSTART.md

while read -r target; do
    grep -qF "| \`$target\` |" "$ROOT/docs/CHIPS.md" || fail "docs/CHIPS.md lacks $target of idf_component.yml"
done < <(awk '/^targets:/ { on = 1; next } /^[a-z]/ { on = 0 } on && /^  - / { print $2 }' "$ROOT/idf_component.yml")
"$BIN/cmxsafe-board" create --help | grep -oE 'esp32[a-z][0-9]' | sort -u >"$TMP/chips"
[ -s "$TMP/chips" ] || fail "cmxsafe-board create --help names no chips"
while read -r chip; do
    grep -F "| \`$chip\` |" "$ROOT/docs/CHIPS.md" | grep -q 'virtual board' || fail "docs/CHIPS.md does not say that the board can be $chip"
done <"$TMP/chips"
ok "docs/CHIPS.md names every chip"

need_namespaces
sed -n '/^```sh$/,/^```$/{/^```/!p}' "$DOC" >"$TMP/commands"
[ "$(wc -l <"$TMP/commands")" -gt 12 ] || fail "no commands to run"
port=$(free_port) offset=$(free_offset)
{
    echo "trap 'for p in \$(jobs -p); do kill \"\$p\" 2>/dev/null; done; wait' EXIT" # ends the programs that a reader would end with Ctrl-C
    sed "s/2222/$port/g; s/18000/$offset/g" "$TMP/commands"
} >"$TMP/quickstart.sh"
mkdir "$TMP/work"
(cd "$TMP/work" && PATH=$BIN:$PATH timeout 120 bash -eu "$TMP/quickstart.sh") >"$TMP/quickstart.log" 2>&1 ||
    { tail -5 "$TMP/work"/*.log; fail "the commands of docs/QUICKSTART.md fail"; }
head -c 2 "$TMP/work/frame.jpg" | xxd -p | grep -qx ffd8 || fail "no frame"
for log in "$TMP"/work/*.log; do no_sanitizer_report "$log" || fail "a sanitizer complains"; done
ok "the commands of docs/QUICKSTART.md end with a picture"
