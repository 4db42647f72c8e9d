#!/usr/bin/env bash
# Tests the console with 10,000 enrolled devices. The registry was tampered with: some names contain HTML and script,
# which the page must not interpret. Prints the time until the list of devices can be used. Then a program
# that replaces cmxsafe gives wrong answers.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../console_lib.sh"
need_console npm sqlite3
need_namespaces

start_gateway --fleet fd12:3456:789a::/48
python3 - >"$TMP/fleet.csv" <<'PY' || fail "keys"
import base64, hashlib, struct
print("name,key,ports,group")
for i in range(10000):
    blob = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + hashlib.sha256(b"%d" % i).digest()
    print(f'dev-{i},ssh-ed25519 {base64.b64encode(blob).decode()},81,site-{i % 20}')
PY
gw import "$TMP/fleet.csv" >/dev/null || fail "import"
gw grant user:alice dev-1:81 >/dev/null && gw grant user:alice dev-2:81 >/dev/null || fail "grant"
sql "$GW/registry.db" "UPDATE device SET name = '<img src=x onerror=window.injected=1>' WHERE name = 'dev-3';
    UPDATE device SET name = '</td><script>window.injected=1</script>' WHERE name = 'dev-4';
    UPDATE consumer SET name = '<b>bold</b>'; UPDATE event SET detail = '<b>bold</b>' WHERE who = 'dev-5';" || fail "the registry cannot be tampered with"
start_cockpit
test_page many

# A program that replaces cmxsafe prints wrong values, and its first `access --follow` ends.
mkdir "$TMP/path"
cat >"$TMP/path/cmxsafe" <<SH
#!/bin/sh
case "\$*" in
"gateway pending --json") echo '{"pending":[{"fingerprint":"SHA256:huge","from":"a","first":1,"last":1e300,"tries":1}]}' ;;
"gateway access --follow"*)
    [ -e "$TMP/followed" ] || { touch "$TMP/followed"; echo "cmxsafe: the log cannot be read" >&2; exit 1; }
    echo '{"event":"constructor","at_ms":'"\$(date +%s)000"',"consumer":"forged","device":"dev-1","port":81,"since_ms":1}'
    exec sleep 600 ;;
"gateway status --json") [ ! -e "$TMP/no_counters" ] || { echo '{"sessions":[]}'; exit; }; exec "$BIN/cmxsafe" "\$@" ;;
"gateway grant --json") [ ! -e "$TMP/no_json" ] || { echo Killed; exit; }; exec "$BIN/cmxsafe" "\$@" ;;
*) exec "$BIN/cmxsafe" "\$@" ;;
esac
SH
chmod +x "$TMP/path/cmxsafe"
start_cockpit "$TMP/path"
test_page hostile
stop_gateway
