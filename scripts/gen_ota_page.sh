#!/usr/bin/env bash
# Makes src/cmxsafe/ota/page.c from page/update.html: the page as bytes, and its Content-Security-Policy with the SHA-256 of its
# script and its style, so that nothing else can run in it. With --check: says whether page.c is up to date.
set -eu
cd "$(dirname "$0")/../src/cmxsafe/ota"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
python3 - page/update.html >"$out" <<'PY'
import base64, hashlib, re, sys

# Indentation and blank lines are for the author.
page = "\n".join(line.strip() for line in open(sys.argv[1], encoding="utf-8") if line.strip()) + "\n"

def sha(tag):
    body = re.search(f"<{tag}>(.*?)</{tag}>", page, re.S).group(1)
    return "'sha256-" + base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() + "'"

csp = ["default-src 'none'", f"script-src {sha('script')}", f"style-src {sha('style')}", "connect-src 'self'",
       "img-src data:", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"]

def literal(s):
    for line in s.splitlines(keepends=True):
        text = line.encode()
        for at in range(0, len(text), 100):
            part = text[at:at + 100]
            print('    "' + "".join("\\n" if b == 10 else "\\" + chr(b) if chr(b) in '"\\' else chr(b) if 32 <= b < 127 and b != 63
                                   else f"\\{b:03o}" for b in part) + '"')

print("/* Made by scripts/gen_ota_page.sh from page/update.html: do not edit. */")
print('#include "cmxsafe/ota/page.h"\n')
print("/* clang-format off */")
print("const char cmx_ota_page[] =")
literal(page)
print("    ;\n/* clang-format on */\n")
print("const size_t cmx_ota_page_len = sizeof cmx_ota_page - 1;\n")
print("/* clang-format off */")
print("const char cmx_ota_page_csp[] =")
for i, part in enumerate(csp):
    print(f'    "{part}{"; " if i + 1 < len(csp) else ""}"')
print("    ;\n/* clang-format on */")
PY
if [ "${1:-}" = --check ]; then
    cmp -s "$out" page.c || { echo "src/cmxsafe/ota/page.c is out of date; run scripts/gen_ota_page.sh"; exit 1; }
else
    cp "$out" page.c
fi
