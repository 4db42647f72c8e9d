#!/usr/bin/env bash
# Generates src/cmxsafe/ota/page.c from page/update.html: the page, minified by esbuild and compressed by zopfli, and its
# Content-Security-Policy with the SHA-256 of its script and its style, so that no other script can run in it. With
# --check: reports whether page.c is up to date. Different versions of esbuild produce different scripts, so page.c names the
# version that produced it (Debian 12's), and --check compares only if this version is installed.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT/src/cmxsafe/ota"
install_packages esbuild zopfli
out=$(mktemp) plain=$(mktemp)
trap 'rm -f "$out" "$plain"' EXIT
version=$(esbuild --version)
if [ "${1:-}" = --check ] && ! grep -q "esbuild $version:" page.c; then
    echo "SKIPPED PART: page.c was made by another version of esbuild than $version"
    exit 0
fi
python3 - page/update.html "$plain" "$version" >"$out" <<'PY'
import base64, hashlib, re, subprocess, sys

def minify(kind):
    return lambda m: subprocess.run(["esbuild", "--minify", "--charset=utf8", *kind], input=m[0].encode(), check=True,
                                    capture_output=True).stdout.decode().strip()

# Minifies style and script, and removes the white space between tags on different lines.
page = open(sys.argv[1], encoding="utf-8").read()
page = re.sub(r"(?<=<style>).*?(?=</style>)", minify(["--loader=css"]), page, flags=re.S)
page = re.sub(r"(?<=<script>).*?(?=</script>)", minify(["--format=iife", "--target=es2020"]), page, flags=re.S)
page = re.sub(r">\s*\n\s*<", "><", page)

def sha(tag):
    body = re.search(f"<{tag}>(.*?)</{tag}>", page, re.S).group(1)
    return "'sha256-" + base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() + "'"

csp = ["default-src 'none'", f"script-src {sha('script')}", f"style-src {sha('style')}", "connect-src 'self'",
       "img-src data:", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"]

# The page is stored gzipped: every browser accepts gzip, and the page takes less than half as much flash as without it.
# zopfli writes no file name and no time into the gzip header, so the same page gives the same bytes.
with open(sys.argv[2], "w", encoding="utf-8") as f:
    f.write(page)
packed = subprocess.run(["zopfli", "--i100", "-c", sys.argv[2]], check=True, capture_output=True).stdout

print(f"/* Made by scripts/gen_ota_page.sh from page/update.html with esbuild {sys.argv[3]}: do not edit. */")
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
    # Compare the uncompressed content, because other versions of zopfli may compress it differently.
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
