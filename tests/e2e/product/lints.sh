#!/usr/bin/env bash
# Each rule of scripts/check_style.sh, check_tests.sh and check_language.sh finds a violation. A copy of the tree
# passes; after one violation is added to the copy, the script fails and names the rule.
. "$(dirname "$0")/../lib.sh"
command -v git >/dev/null && git -C "$ROOT" rev-parse --git-dir >/dev/null 2>&1 || skip "not a git work tree"

mkdir "$TMP/copy"
git -C "$ROOT" ls-files -z | (cd "$ROOT" && xargs -0 tar -c --ignore-failed-read --null -T - 2>/dev/null) | tar -x -C "$TMP/copy"
cd "$TMP/copy" || exit 1
git init -q . && git add -A || fail "a copy of the tree"
commit() { git -c user.name=test -c user.email=test@localhost commit -q --allow-empty -m copy; }
commit || fail "a commit of the copy"
bash scripts/check_style.sh >"$TMP/style.log" 2>&1 || fail "the tree itself violates a rule of scripts/check_style.sh"
bash scripts/check_language.sh >"$TMP/language.log" 2>&1 || fail "the tree itself violates scripts/check_language.sh"
bash scripts/check_tests.sh >"$TMP/tests.log" 2>&1 || fail "the tree itself violates scripts/check_tests.sh"

restore() { git add -A && git reset -q --hard HEAD; }
# refused RULE FILE TEXT: appends TEXT to FILE and checks that check_style.sh fails and names RULE.
refused() {
    mkdir -p "$(dirname "$2")"
    printf '%b\n' "$3" >>"$2"
    git add -A
    ! bash scripts/check_style.sh >"$TMP/style.log" 2>&1 || fail "$1: check_style.sh accepts: $3"
    grep -q "^$1: " "$TMP/style.log" || fail "$1: check_style.sh fails for another reason"
    restore
}
lines() { printf '    (void)0;\\n%.0s' $(seq "$1"); }

refused unbounded-call src/cmxsafe/core/backoff.c 'static void cmx_bad(char *a, const char *b)\n{\n    strcpy(a, b);\n}'
refused allocation port/linux/notify.c 'static void *notify_bad(void)\n{\n    return malloc(1);\n}'
refused secret-memcmp src/cmxsafe/core/secret.c 'static int bad(const void *a, const void *token)\n{\n    return memcmp(a, token, 8);\n}'
refused root stray 'text'
refused if-in-function src/cmxsafe/core/backoff.c 'static void bad(void)\n{\n#ifdef ESP_PLATFORM\n    (void)0;\n#endif\n}'
refused once src/cmxsafe/core/backoff_bad.h '/* backoff_bad.h - a header without a guard. */'
refused libssh src/cmxsafe/device/device.c '#include <libssh/libssh.h>'
refused module src/cmxsafe/core/backoff.c '#include "cmxsafe/proxy/proxy.h"'
refused module src/cmxsafe/attest/measure.c '#include "cmxsafe/ota/crc32.h"'
refused include-path src/cmxsafe/ota/crc32.c '#include "range.h"'
refused pure src/cmxsafe/ota/crc32.c '#include <sys/socket.h>'
refused pure src/cmxsafe/attest/measure.c 'static void bad(void)\n{\n    printf("x");\n}'
refused socket-names src/cmxsafe/core/backoff.c 'static void bad(void)\n{\n    lwip_close(0);\n}'
refused prefix src/cmxsafe/core/backoff.c 'void cmx_other_name(void)\n{\n}'
printf '#include "cmxsafe/core/backoff.h"\n' >>src/cmxsafe/core/label.h
refused cycle src/cmxsafe/core/backoff.h '#include "cmxsafe/core/label.h"'
refused module-cycle src/cmxsafe/http/http.h '#include "cmxsafe/ota/service.h"'
refused cmake-cycle cmake/host.cmake 'target_link_libraries(cmxsafe_a PUBLIC cmxsafe_b)\ntarget_link_libraries(cmxsafe_b PUBLIC cmxsafe_a)'
refused duplicate-name agent/backoff.c '/* the same name as core/backoff.c */'
refused file-size src/cmxsafe/core/backoff.c "$(lines 601)"
refused function-size src/cmxsafe/core/backoff.c "static void bad(void)\n{\n$(lines 91)}"
refused unused src/cmxsafe/core/backoff.c 'void cmx_backoff_bad(void)\n{\n}'
refused one-place agent/agent.c 'static int bad(int argc, char **argv)\n{\n    return getopt(argc, argv, "x");\n}'
refused one-place agent/agent.c 'static const char bad[] = "cmxsafe bad 1";'
refused one-place agent/agent.c 'static void bad(FILE *f)\n{\n    fputs("{\\"a\\":1}", f);\n}'
refused one-place board/run.c '#include <ini.h>'
refused map docs/ARCHITECTURE.md 'Made by `proxy/nowhere.c`.'
refused named-files src/cmxsafe/core/backoff.c '/* see backof.c */'
refused state src/cmxsafe/proxy/relay.c 'static void bad(struct relay *x)\n{\n    x->phase = RELAY_DEAD;\n}'
ok "each rule of check_style.sh"

# Checks that check_tests.sh refuses each of these lines.
while IFS= read -r line; do
    printf '%s\ntrue\n' "$line" >>tests/e2e/proxy/proxy_probe.sh
    ! bash scripts/check_tests.sh >"$TMP/tests.log" 2>&1 && grep -qF -- "$line" "$TMP/tests.log" || fail "check_tests.sh accepts: $line"
    restore
done <<'LINES'
status | jq -e .up
! grep -q bad "$TMP/log" || fail "bad"
! status | grep -q bad || fail "bad"
[ "$(one)" = "$(two)" ] || fail "differ"
status || true
wait_for 10 listening 22
! status
command -v valgrind >/dev/null && run_valgrind
sqlite3 "$GW/registry.db" 'SELECT 1'
db = sqlite3.connect(sys.argv[1])
if then
LINES
ok "check_tests.sh"

# check_language.sh finds a phrase in a source file, a document and a script. Each phrase in its list is a valid regular
# expression.
for file in src/cmxsafe/version.h docs/PORTING.md scripts/lib.sh; do
    sed -i "\\|^$file\$|d" scripts/language_exceptions.txt
    echo "# the caller is to""ld of it" >>"$file"
    ! bash scripts/check_language.sh >"$TMP/language.log" 2>&1 && grep -q "$file.*told" "$TMP/language.log" || fail "check_language.sh accepts a phrase in $file"
    restore
done
while IFS=$'\t' read -r phrase instead; do
    case $phrase in '#'* | '') continue ;; esac
    [ -n "$instead" ] || fail "no replacement for: $phrase"
    printf 'x\n' | grep -qP -- "$phrase"
    [ $? -le 1 ] || fail "this is not a regular expression: $phrase"
done <scripts/language_phrases.txt
: >scripts/language_phrases.txt
! bash scripts/check_language.sh >"$TMP/language.log" 2>&1 || fail "check_language.sh passes without any phrase"
ok "check_language.sh"
