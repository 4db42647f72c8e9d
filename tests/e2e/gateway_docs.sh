#!/usr/bin/env bash
# docs/GATEWAY.md names no subcommand and no option that is not there, and the table of help is whole.
. "$(dirname "$0")/lib.sh"
n=0
while read -r line; do
    line=${line%%#*}
    line=${line%% -- *}
    command=$(sed -E 's/.*cmxsafe gateway ([a-z]+).*/\1/' <<<"$line")
    help=$("$BIN/cmxsafe" gateway "$command" --help) || fail "no subcommand '$command': $line"
    for option in $(grep -oE -- '--[a-z-]+' <<<"$line"); do
        grep -q -- "^  $option\b" <<<"$help" || fail "'$command' has no option $option: $line"
    done
    n=$((n + 1))
done < <(sed -n '/^```sh/,/^```/p' "$ROOT/docs/GATEWAY.md" | grep -o 'cmxsafe gateway .*' | sed 's/ && cmxsafe gateway/\ncmxsafe gateway/' | sed 's/ &$//')
[ "$n" -ge 20 ] || fail "only $n commands found in the page"
ok "$n commands of the page exist, with their options"
for command in $("$BIN/cmxsafe" gateway --help | awk '/^  [a-z]/ { print $1 }'); do
    "$BIN/cmxsafe" gateway "$command" --help | grep -q "^usage: cmxsafe gateway $command" || fail "$command --help"
    "$BIN/cmxsafe" gateway "$command" --no-such-option >/dev/null 2>"$TMP/err"
    [ $? = 2 ] && grep -q "no option '--no-such-option'" "$TMP/err" || fail "$command takes any option"
done
"$BIN/cmxsafe" gateway enrol 2>&1 | grep -q "did you mean 'enroll'" || fail "no suggestion"
"$BIN/cmxsafe" help gateway enroll | grep -q '^usage: cmxsafe gateway enroll' || fail "help gateway enroll"
"$BIN/cmxsafe" gateway list one 2>&1 | grep -q "'one' is one argument too many; see 'cmxsafe gateway list --help'" || fail "one argument too many"
"$BIN/cmxsafe" gateway update --all 2>&1 | grep -q "no image: give it after --" || fail "an update without an image is begun"
ok "every subcommand has help and refuses what it does not know"
