#!/usr/bin/env bash
# Refuses scripts that bash cannot parse. In test scripts, also refuses checks that cannot fail: constructs that succeed even if
# the expected event did not happen. tests/e2e/checks.sh has the functions to use instead.
set -u
cd "$(dirname "$0")/.." || exit 1
rc=0
while IFS= read -r script; do bash -n "$script" || rc=1; done < <(git ls-files '*.sh')
mapfile -t scripts < <(git ls-files 'tests/e2e/*.sh' | grep -vE '^tests/e2e/(checks|product/lints).sh$')
# refuse PATTERN TEXT: fails if a line of a test script matches the Perl regular expression.
refuse() {
    local hits
    hits=$(grep -nP -- "$1" "${scripts[@]}" | grep -vP '^[^:]+:\d+:\s*#')
    [ -z "$hits" ] || { printf '%s:\n%s\n' "$2" "$hits"; rc=1; }
}
refuse '\bjq\s+(-\w+\s+)*-\w*e' 'jq -e succeeds on empty input; use json_is'
refuse '(^|&&|\|\||[{;])\s*! grep\b(?!.*<<<)' '! grep succeeds when the file is missing; use lacks'
refuse '(^|&&|\|\||[{;"])\s*! [^|&;"]*\|\s*grep' 'a negated pipeline succeeds when its first command fails; use prints_no'
refuse '\[ "?\$\([^]]*\)"? !?= "?\$\((?!\()' 'two failing commands compare as equal; use equal or differ'
refuse '(?<!need_console npm )\bsqlite3 (?!-cmd)' 'fails while a gateway writes the registry; use sql'
refuse 'sqlite3\.connect\((?!.*timeout)' 'fails after 5 s of another program writing; give it a timeout'
refuse '! try_client\b|\btry_client\b[^|]*&& fail' 'it also fails if the login succeeds and lasts; use refused_login, refused_listen, refused_open or refused_session'
refuse '\|\| (true|:)\s*$' 'a failure is ignored'
# In the last line of a function, a wait needs no check, because its status is the function's status.
hits=$(awk 'FNR == 1 { held = "" } held != "" && !/^ *}/ { print held } { held = "" }
    /^ *wait_for [0-9]+ / && !/\|\||&&|\\$/ { held = FILENAME ":" FNR ":" $0 }' "${scripts[@]}")
[ -z "$hits" ] || { printf 'nothing checks whether the wait succeeded:\n%s\n' "$hits"; rc=1; }
refuse '^\s*! (?!.*(\|\||&&|\\$|\{$))' 'a negated command without "|| fail" has no effect'
refuse 'wait_for \d+ (?!prints_no)((?!grep|eval).)*\bss -\w*[^|]*(\|\||&&)' 'ss succeeds without a socket; use listening, or grep its output'
refuse '\bpgrep (?!.*(-[Pg] |--ns \$\$|wireguard-go|\$(TMP|GW|CONF|B)\b))' 'it may find a process of another scenario, which runs at the same time'
refuse '^\s*command -v [^|]*&& [^|]*$' 'a missing tool goes unreported; use skip or skip_part'
exit $rc
