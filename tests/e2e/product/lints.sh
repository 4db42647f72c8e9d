#!/usr/bin/env bash
# Each rule of scripts/check_style.sh, check_tests.sh and check_language.sh finds a violation. A copy of the tree
# passes. After violations are added to the copy, the script fails and names the rule of each.
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

# Only clang-format 14, the version of Debian 12, formats all lines as in the tree.
if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
    git ls-files -z '*.c' '*.h' '*.cpp' | xargs -0 clang-format --dry-run -Werror 2>"$TMP/format.log" || fail "not formatted: $(grep -m 5 error: "$TMP/format.log")"
    ok "clang-format"
else
    skip_part "no clang-format 14"
fi

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

refused cmake-cycle cmake/host.cmake 'target_link_libraries(cmxsafe_linux PUBLIC cmxsafed_parts)'
refused cmake-cycle tests/CMakeLists.txt 'target_link_libraries(cmxsafe_linux PUBLIC cmxsafe_parts)'
printf '#include "cmxsafe/core/backoff.h"\n' >>src/cmxsafe/core/label.h
refused cycle src/cmxsafe/core/backoff.h '#include "cmxsafe/core/label.h"'
refused module-cycle src/cmxsafe/http/http.h '#include "cmxsafe/ota/service.h"'
refused file-size src/cmxsafe/core/backoff.c "$(lines 601)"

# The next violations are in the copy at the same time. expected has the rule and the file of each.
: >"$TMP/expected"
# violate RULE FILE TEXT: appends TEXT to FILE. check_style.sh must name the rule and the file.
violate() {
    mkdir -p "$(dirname "$2")"
    printf '%b\n' "$3" >>"$2"
    printf '%s\t%s\n' "$1" "$2" >>"$TMP/expected"
}
body() { printf 'static void bad(void)\\n{\\n    %s\\n}' "$1"; }

violate unbounded-call src/cmxsafe/core/backoff.c "$(body 'strcpy(a, b);')"
violate allocation port/linux/notify.c "$(body 'malloc(1);')"
violate secret-memcmp src/cmxsafe/core/secret.c "$(body 'memcmp(a, token, 8);')"
violate root stray 'text'
violate function-size src/cmxsafe/core/erased.c "static void bad(void)\n{\n$(lines 91)}"
violate map docs/ARCHITECTURE.md 'Made by `proxy/nowhere.c`.'
violate map gateway/newpart/part_new.c '/* A folder that the map does not have. */'
violate named-files src/cmxsafe/core/backoff.c '/* see backof.c */'
sed -i '1s/notify\.h/notif.h/' port/linux/notify.h && violate named-files port/linux/notify.h ''
violate once src/cmxsafe/core/backoff_bad.h '/* backoff_bad.h - a header without a guard. */'
violate headers src/cmxsafe/core/backoff_new.h '#pragma once'
violate headers src/cmxsafe/core/backoff_new.c '#include <stdio.h>\n#include "cmxsafe/core/backoff_new.h"'
violate must-use src/cmxsafe/core/nearest.h 'cmx_err cmx_nearest_bad(void);'
violate undefined src/cmxsafe/core/label.h 'void cmx_label_bad(void);'
violate members src/cmxsafe/proxy/context.h ''
sed -i 's/^    bool require_pq;.*/&\n    bool forgotten;/' src/cmxsafe/proxy/context.h
violate bounds agent/liveness.h 'struct bad {\n    char text[64];\n};'
violate bounds port/linux/hw_key.h 'void bad(const uint8_t (*list)[0x10]);'
violate bounds cli/gateway/gw_spool.c 'struct bad {\n    char text[GW_PATH_MAX + 16];\n};'

# An #if inside a function, around a function's closing brace, between a function's head and its body, in a method, and
# in a sketch.
violate if-in-function src/cmxsafe/core/backoff.c "$(body '(void)0;\n#ifdef ESP_PLATFORM\n    (void)0;\n#endif')"
violate if-in-function src/cmxsafe/core/base64.c 'static void bad(void)\n{\n#if defined(IDF_VER)\n}\n#else\n}\n#endif'
violate if-in-function src/cmxsafe/core/mem.c '#ifdef ESP_PLATFORM\nstatic int bad(int a)\n#else\nstatic int bad(void)\n#endif\n{\n}'
violate if-in-function src/cmxsafe/core/text.c 'static int bad(void) {\n# ifdef __linux__\n# endif\n}'
violate if-in-function src/remoteAttest.h 'class bad {\n    int f()\n    {\n#ifdef ESP_PLATFORM\n#endif\n    }\n};'
violate if-in-function examples/arduino/bad.ino 'void setup() {\n#ifdef ESP32\n#endif\n}'

violate libssh src/cmxsafe/device/device.c '#include <libssh/libssh.h>'
violate libssh src/cmxsafe/proxy/relay.c '# include "libssh/libssh.h"'
violate libssh src/cmxsafe/proxy/ssh.h '#include <libssh/libssh.h>'
violate libssh agent/agent.c "$(body 'ssh_key_free(0);')"
violate libssh src/cmxsafe/device/drops.c 'struct ssh_session_struct;'

violate module src/cmxsafe/core/backoff.c '#include "cmxsafe/proxy/proxy.h"'
violate module src/cmxsafe/core/err.c "$(body 'cmx_port_sleep_ms(1);')"
violate module src/cmxsafe/attest/measure.c '#include "cmxsafe/ota/crc32.h"'
violate module src/cmxsafe/proxy/lookup.c "$(body 'cmx_crc32_esp(0, 0);')"
violate module src/cmxsafe/proxy/part/part.c '#include "cmxsafe/ota/service.h"'
violate module src/cmxsafe/shiny/shiny.c '/* A folder without rules. */'
violate module board/run.c '#include "gateway/registry/csv.h"'
violate module src/cmxsafe/device/claim.c '#include "cmxsafe/esp/device_esp.h"'
violate module src/sm.h '#include "cmxsafe/isolation/policy.h"'
violate include-path src/cmxsafe/ota/crc32.c '#include "range.h"'
violate include-path src/cmxsafe/core/ip.c '#include <cmxsafe/proxy/proxy.h>'
violate include-path src/cmxsafe/core/json.c '#define HEADER <libssh/libssh.h>\n#include HEADER'

violate pure src/cmxsafe/ota/crc32.c '#include <sys/socket.h>'
violate pure src/cmxsafe/attest/measure.c "$(body 'printf("x");')"
violate pure src/cmxsafe/isolation/packet.c '#include "cmxsafe/core/log.h"'
violate pure src/cmxsafe/isolation/rules.c 'static int counter;'
violate pure src/cmxsafe/isolation/udp.c "$(body 'cmx_port_now_ms();')"
violate pure src/cmxsafe/ota/service_2/part.c '#include <time.h>'
violate socket-names src/cmxsafe/core/backoff.c "$(body 'lwip_setsockopt(0);')"
violate socket-names src/cmxsafe/proxy/net.c "$(body 'closesocket(0);')"

violate prefix src/cmxsafe/core/backoff.c 'void cmx_other_name(void)\n{\n}'
violate duplicate-name agent/backoff.c '/* the same name as core/backoff.c */'
violate duplicate-name agent/Policy.h '/* Policy.h - the same name as isolation/policy.c. */\n#pragma once'
violate duplicate-name tests/unit/agent/test_core.c '/* the same name as a test of core */'
violate unused src/cmxsafe/core/backoff.c 'void cmx_backoff_bad(void)\n{\n}'
violate unused src/cmxsafe/core/secret.c 'void cmx_secret_bad(void);\nvoid cmx_secret_bad(void)\n{\n    cmx_secret_bad();\n}'
violate unused src/cmxsafe/core/base64.c 'void cmx_base64_bad(void)\n{\n    cmx_base64_worse();\n}\nvoid cmx_base64_worse(void)\n{\n    cmx_base64_bad();\n}'
violate unused gateway/registry/csv.c 'void csv_bad(void)\n{\n}'
violate static src/cmxsafe/core/ip.c 'void cmx_ip_bad(void)\n{\n}\nbool cmx_ip_is_any(const struct cmx_ip *a)\n{\n    cmx_ip_bad();\n}'

sed -n '/^ota_resolution ota_record_resolve/,/^}/p' agent/ota/ota_record.c >>agent/agent_check.c
violate copies agent/agent_check.c ''
violate one-place agent/agent.c "$(body 'return getopt(argc, argv, "x");')"
violate one-place agent/main.c "$(body 'strcmp(argv[1], "--foo");')"
violate one-place python/cmxsafe_tools/text.py 'import sys\nprint(sys.argv[1])'
violate one-place cli/tunnel.c "$(body 'curl_multi_perform(0);')"
violate one-place agent/liveness.c 'static const char label[] = "cmxsafe bad 1";'
violate one-place src/cmxsafe/identity/fleet.c 'static const char label[] = "CMX-seal-v1";'
violate one-place src/cmxsafe/identity/own_key.c "$(body 'cmx_hmac_update(h, "seal", 4);')"
violate one-place agent/wiring.c "$(body 'fputs("{\\"a\\":1}", f);')"
violate one-place agent/agent_attest.c "$(body 'fprintf(f, "\\"%s\\":%u", a, b);')"
violate one-place board/run.c '#include <ini.h>'
violate one-place board/board_config.c "$(body "if (*s == '#' || *s == ';') return;")"
violate one-place board/boot.c "$(body 'secure_getenv("NOTIFY_SOCKET");')"
violate one-place gateway/server/gw_note.c "$(body 'if (*s < 0x20) *s = 32;')"
violate one-place gateway/server/gw_peer.c "$(body 'isprint(*s);')"
violate one-place agent/agent_check.c 'static int bad(char *why, size_t cap)\n{\n}'
violate one-place src/cmxsafe/esp/ota_esp.c "$(body 'ESP_LOGI("x", "y");')"
violate one-place src/cmxsafe/esp/device_esp.c "$(body 'ESP_LOG_LEVEL(1, "x", "y");')"
violate one-place port/linux/notify.c ''
sed -i 's/NOTIFY_SOCKET/NOTIFY_ADDRESS/' port/linux/notify.c # the pattern no longer finds the code that it is for
violate one-place agent/isolation/nft_ruleset.c 'static const char rule[] = "ct state established accept";'

violate state src/cmxsafe/proxy/relay.c "$(body 'x->phase = RELAY_DEAD;')"
violate state src/cmxsafe/proxy/relay_flow.c "$(body 'half_state *h = &x->to_local;')"
violate state src/cmxsafe/proxy/session_pair.c "$(body 'r->probe.state++;')"
violate state src/cmxsafe/ota/service_run.c "$(body 's->state = 1;')"
violate state src/cmxsafe/device/device_update.c 'typedef enum { A, B } bad_state;\nstruct bad {\n    bad_state mood;\n};\n'"$(body 'b->mood = B;')"
violate state agent/ota/ota_spool.c "$(body 's->record.phase = OTA_NONE;')"
violate state src/cmxsafe/proxy/probe.c 'static void bad_set_state(struct probe *p)\n{\n    p->state = PROBE_OFF;\n}'

git add -A
! bash scripts/check_style.sh >"$TMP/style.log" 2>&1 || fail "check_style.sh accepts all violations"
while IFS=$'\t' read -r rule file; do
    [ "$rule" != duplicate-name ] || file=${file%.*} # this rule names files without their endings
    grep -qE "^$rule: .*${file//./\\.}\b" "$TMP/style.log" || { echo "$rule: check_style.sh accepts the violation in $file"; missed=1; }
done <"$TMP/expected"
restore
[ -z "${missed:-}" ] || fail "check_style.sh accepts violations"
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
