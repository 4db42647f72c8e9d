#!/usr/bin/env bash
# Tests the console of scripts/demo.sh: its address serves the page, and an address without the random part serves
# nothing.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../console_lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
need_console socat nsenter openssl
CMX_ROOT=$ROOT WORK=$TMP CONSOLE=''
. "$ROOT/scripts/demo_gateway.sh"
exec 8</proc/self/ns/net # demo.sh opens the machine's network namespace as descriptor 8; here there is only one namespace
start_console
[ -n "$CONSOLE" ] || fail "no address"
page() { curl -sS -m 10 --noproxy '*' -o "$TMP/page" -w '%{http_code}' "$1" >"$TMP/code" 2>/dev/null; }
shown() { page "$CONSOLE" && grep -q '<title>Device gateway</title>' "$TMP/page"; }
wait_for 30 shown || { cat "$TMP/cockpit.log"; fail "$CONSOLE does not give the page"; }
page "${CONSOLE%/*}/console.js" && [ "$(cat "$TMP/code")" = 200 ] || fail "the page's scripts: $(cat "$TMP/code")"
origin=$(cut -d/ -f1-3 <<<"$CONSOLE")
for address in "$origin/" "$origin/cockpit/@localhost/cmxsafe/index.html" "$origin/0123456789abcdef0123456789abcdef/cockpit/@localhost/cmxsafe/index.html"; do
    page "$address"
    [ "$(cat "$TMP/code")" != 200 ] || fail "$address answers"
done
ok "the demo's console answers at its address, but not at the address without the random part"
