#!/usr/bin/env bash
# Generates src/cmxsafe/ota/page.c from page/update.html: the page as gzipped bytes, and its Content-Security-Policy with
# the SHA-256 of
# its script and its style, so that no other script can run in it. With --check: reports whether page.c is up to date.
set -eu
cd "$(dirname "$0")/../src/cmxsafe/ota"
out=$(mktemp) plain=$(mktemp)
trap 'rm -f "$out" "$plain"' EXIT
python3 - page/update.html "$plain" >"$out" <<'PY'
import base64, gzip, hashlib, re, shutil, subprocess, sys

# Removes indentation, blank lines and comments.
page = "\n".join(line.strip() for line in open(sys.argv[1], encoding="utf-8") if line.strip()) + "\n"
page = re.sub(r"/\*.*?\*/\n", "", page, flags=re.S)
page = re.sub(r"(?<=<style>).*?(?=</style>)",
              lambda m: re.sub(r"\s*([{};:,])\s*", r"\1", m[0]).replace(";}", "}").strip(), page, flags=re.S)
page = re.sub(r"(?<=<script>).*?(?=</script>)",
              lambda m: re.sub(r"([;{,(])\n", r"\1", m[0].strip()), page, flags=re.S)
# Removes blanks around characters other than letters, except within texts.
page = re.sub(r"(?<=<script>).*?(?=</script>)",
              lambda m: re.sub(r"('[^'\n]*')| *([-+*/^=<>!&|?:;,(){}]+) *", lambda t: t[1] or t[2], m[0]), page, flags=re.S)
page = re.sub(r">\n<", "><", page)

def sha(tag):
    body = re.search(f"<{tag}>(.*?)</{tag}>", page, re.S).group(1)
    return "'sha256-" + base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() + "'"

csp = ["default-src 'none'", f"script-src {sha('script')}", f"style-src {sha('style')}", "connect-src 'self'",
       "img-src data:", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"]

# Every browser accepts gzip, which needs a third of the flash. The header has no name and time, so the same page gives the
# same bytes.
packed = gzip.compress(page.encode(), 9, mtime=0)
if shutil.which("zopfli"): # saves 80 bytes
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write(page)
    packed = subprocess.run(["zopfli", "--i100", "-c", sys.argv[2]], check=True, capture_output=True).stdout

print("/* Made by scripts/gen_ota_page.sh from page/update.html: do not edit. */")
print('#include "cmxsafe/ota/page.h"\n')
print("/* clang-format off */")
print("const uint8_t cmx_ota_page[] = {")
for at in range(0, len(packed), 24):
    print("    " + " ".join(f"{b}," for b in packed[at:at + 24]))
print("};\n/* clang-format on */\n")
print("const size_t cmx_ota_page_len = sizeof cmx_ota_page;\n")
print("/* clang-format off */")
print("const char cmx_ota_page_csp[] =")
for i, part in enumerate(csp):
    print(f'    "{part}{"; " if i + 1 < len(csp) else ""}"')
print("    ;\n/* clang-format on */")
PY
if [ "${1:-}" = --check ]; then
    # Compare the content, because compressors differ.
    python3 - "$out" page.c <<'PY' || { echo "src/cmxsafe/ota/page.c is out of date; run scripts/gen_ota_page.sh"; exit 1; }
import gzip, re, sys

def content(path):
    text = open(path).read()
    numbers = re.search(r"cmx_ota_page\[\] = \{(.*?)\};", text, re.S).group(1)
    return gzip.decompress(bytes(int(n) for n in re.findall(r"\d+", numbers))), text[text.index("cmx_ota_page_csp"):]

sys.exit(content(sys.argv[1]) != content(sys.argv[2]))
PY
else
    cp "$out" page.c
fi
