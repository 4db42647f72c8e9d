#!/usr/bin/env bash
# Every subcommand and option in docs/GATEWAY.md exists, and every subcommand has help and refuses unknown options.
. "$(dirname "$0")/../lib.sh"
n=0
while read -r line; do
    line=${line%%#*}
    line=${line%% -- *}
    command=$(sed -E 's/.*cmxsafe gateway ([a-z]+).*/\1/' <<<"$line")
    case $command in policy | campaign | image) command=$(sed -E 's/.*cmxsafe gateway ([a-z]+ [a-z]+).*/\1/' <<<"$line") ;; esac
    # shellcheck disable=SC2086 # "policy set" is two words
    help=$("$BIN/cmxsafe" gateway $command --help) || fail "no subcommand '$command': $line"
    for option in $(grep -oE -- '--[a-z-]+' <<<"$line"); do
        grep -q -- "^  $option\b" <<<"$help" || fail "'$command' has no option $option: $line"
    done
    n=$((n + 1))
done < <(sed -n '/^```sh/,/^```/p' "$ROOT/docs/GATEWAY.md" | grep -o 'cmxsafe gateway .*' | sed 's/ && cmxsafe gateway/\ncmxsafe gateway/' | sed 's/ &$//')
[ "$n" -ge 20 ] || fail "only $n commands found in the page"
ok "$n commands of the page exist, with their options"
commands=$("$BIN/cmxsafe" gateway --help | awk '/^  [a-z]/ { print $1 }')
[ "$(wc -w <<<"$commands")" -ge 20 ] || fail "gateway --help lists too few commands"
for command in $commands; do
    "$BIN/cmxsafe" gateway "$command" --help | grep -q "^usage: cmxsafe gateway $command" || fail "$command --help"
    case $command in policy) command="policy set" ;; campaign) command="campaign start" ;; image) command="image add" ;; esac
    # shellcheck disable=SC2086 # "policy set" is two words
    "$BIN/cmxsafe" gateway $command --no-such-option >/dev/null 2>"$TMP/err"
    [ $? = 2 ] && grep -q "unknown option '--no-such-option'" "$TMP/err" || fail "$command accepts an unknown option"
done
"$BIN/cmxsafe" gateway enrol 2>&1 | grep -q "did you mean 'enroll'" || fail "no suggestion"
"$BIN/cmxsafe" help gateway enroll | grep -q '^usage: cmxsafe gateway enroll' || fail "help gateway enroll"
"$BIN/cmxsafe" gateway list one 2>&1 | grep -q "unexpected argument 'one'; see 'cmxsafe gateway list --help'" || fail "a superfluous argument is accepted"
"$BIN/cmxsafe" gateway update --all 2>&1 | grep -q "no image: give it after --" || fail "an update without an image starts"
ok "every subcommand has help and refuses unknown arguments"
