#!/usr/bin/env bash
# The README's configuration, authorized_keys line, sshd drop-in and sketch work as they are printed there.
. "$(dirname "$0")/../lib.sh"

# block NAME: prints the fenced block that follows <!-- test: NAME -->.
block() { awk -v mark="<!-- test: $1 -->" '$0 == mark { found = 1; next } found && /^```/ { if (inside) exit; inside = 1; next } inside' "$ROOT/README.md"; }

S=$(free_port) R=$(free_port)
mkdir "$TMP/www"; echo "the device's page" >"$TMP/www/index.html"
python3 -m http.server -d "$TMP/www" --bind 127.0.0.1 "$S" >/dev/null 2>&1 & PIDS+=($!)
wait_for 10 listening "$S" || fail "web page"
block sshd.conf | sed "s|camera-\*|$SSHD_USER|" >"$TMP/drop_in"
start_sshd <<<"Include $TMP/drop_in"
{ echo "HostKey $TMP/host_ed25519"; cat "$TMP/drop_in"; } >"$TMP/drop_in_alone"
/usr/sbin/sshd -T -f "$TMP/drop_in_alone" | grep -E '^(clientaliveinterval 15|clientalivecountmax 2|maxstartups 100:30:200)$' >"$TMP/effective"
[ "$(wc -l <"$TMP/effective")" = 3 ] || fail "sshd does not take the README's drop-in: $(cat "$TMP/effective")"
# Replaces the values that the README's reader has to replace, and the ports, which may be in use on this machine.
adapt() {
    sed -e "s|^host = .*|host = 127.0.0.1|; s|^user = .*|user = $SSHD_USER\nport = $SSHD_PORT|; s|^host_key = .*|host_key = $PIN|" \
        -e "s|^key_file = .*|key_file = $KEY|; s|^local_port = 80\$|local_port = $S|; s|^remote_port = 8080\$|remote_port = $R|; /^port = 22/d"
}
block agent.conf | adapt >"$TMP/cmxsafed.conf"
grep -q "^remote_port = $R" "$TMP/cmxsafed.conf" || fail "the README's configuration was not found"
printf '[agent]\ncontrol_socket = %s\nconfine = no\n' "$TMP/ctl.sock" >>"$TMP/cmxsafed.conf"
block authorized_keys | sed "s|8080|$R|g; s|ssh-ed25519 AAAA... camera-17|$(cat "$TMP/client_key.pub")|" >"$TMP/authorized_keys"
"$BIN/cmxsafed" --check -c "$TMP/cmxsafed.conf" || fail "cmxsafed --check"
"$BIN/cmxsafed" -c "$TMP/cmxsafed.conf" 2>"$TMP/agent.log" & AGENT=$!; PIDS+=("$AGENT")
page() { curl -fsS "http://127.0.0.1:$R/" | grep -q "the device's page"; }
wait_for 30 page || fail "the page does not come through the gateway"
"$BIN/cmxsafed" status --socket "$TMP/ctl.sock" | grep -q "web.*up" || fail "cmxsafed status"
ok "the README's configuration of the agent works"

# With the device's key, nothing but its own port can be reached from the gateway, and nothing else can listen there.
device() { timeout 20 ssh "$SSHD_USER@127.0.0.1" -F none -i "$KEY" -p "$SSHD_PORT" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "$@"; }
printf 'GET / HTTP/1.0\r\n\r\n' | device -W "localhost:$R" | grep -q "the device's page" || fail "the key cannot reach its own port"
socat "UNIX-LISTEN:$TMP/service.sock,fork" EXEC:'echo a service of the gateway' & PIDS+=($!)
wait_for 10 test -S "$TMP/service.sock" || fail "socat"
denied() { device -o ExitOnForwardFailure=yes "$@" >"$TMP/denied" 2>&1 </dev/null; [ $? = 255 ] && grep -qE "administratively prohibited|forwarding failed|open failed" "$TMP/denied"; }
denied true || fail "the key runs commands: $(cat "$TMP/denied")"
denied -W "127.0.0.1:$S" || fail "the key reaches other services of the gateway: $(cat "$TMP/denied")"
denied -N -R "$(free_port):127.0.0.1:9" || fail "the key listens on another port: $(cat "$TMP/denied")"
denied -N -R "$TMP/listener.sock:127.0.0.1:9" || fail "the key listens on a socket: $(cat "$TMP/denied")"
L=$(free_port)
device -N -L "$L:$TMP/service.sock" >"$TMP/denied" 2>&1 & PIDS+=($!)
wait_for 10 listening "$L" || fail "ssh -L: $(cat "$TMP/denied")"
prints_no "a service" socat -T 3 - "TCP:127.0.0.1:$L" || fail "the key reaches sockets of the gateway"
ok "the README's line permits the key only its own port"

adapt <"$ROOT/examples/linux/cmxsafed.conf" >"$TMP/example.conf"
"$BIN/cmxsafed" --check -c "$TMP/example.conf" || fail "examples/linux/cmxsafed.conf"
ok "examples/linux/cmxsafed.conf"

# Compiles the sketch as the Arduino builder does: as C++, with ARDUINO defined and settings.h beside it. The
# declarations below replace the headers of the Arduino core.
mkdir "$TMP/core" "$TMP/sketch"
cat >"$TMP/core/Arduino.h" <<'CORE'
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
struct serial_port { void begin(unsigned long baud); };
extern serial_port Serial;
void delay(unsigned long ms);
enum esp_log_level_t { ESP_LOG_INFO = 3 };
extern "C" void esp_log_level_set(const char *tag, esp_log_level_t level);
CORE
cat >"$TMP/core/WiFi.h" <<'CORE'
#pragma once
enum wl_status_t { WL_CONNECTED = 3 };
struct wifi_class { wl_status_t begin(const char *ssid, const char *password); wl_status_t status(); };
extern wifi_class WiFi;
CORE
cat >"$TMP/core/WebServer.h" <<'CORE'
#pragma once
struct WebServer {
    explicit WebServer(int port);
    void on(const char *uri, void (*handler)());
    void send(int code, const char *type, const char *text);
    void begin();
    void handleClient();
};
CORE
compiles() { # compiles SKETCH FOLDER: compiles the sketch with the settings.h in FOLDER
    g++ -DARDUINO=10819 -x c++ -std=c++17 -Wall -Wno-missing-field-initializers -Werror -fsyntax-only -I"$2" -I"$TMP/core" -I"$ROOT/src" \
        -I"$ROOT" -I"$ROOT/board/idf" -include Arduino.h "$1"
}
block sketch >"$TMP/sketch/sketch.ino"
block settings >"$TMP/sketch/settings.h"
grep -q xTaskCreatePinnedToCore "$TMP/sketch/sketch.ino" || fail "the README's sketch is not where the test looks"
grep -q SSH_HOST_KEY "$TMP/sketch/settings.h" || fail "the README's settings are not where the test looks"
compiles "$TMP/sketch/sketch.ino" "$TMP/sketch" || fail "the README's sketch does not compile"
compiles "$ROOT/examples/arduino/SecureServices/SecureServices.ino" "$ROOT/examples/arduino/SecureServices" ||
    fail "SecureServices does not compile"
ok "the sketches compile as C++"

# Each part of a message in the README's table (parts end with ": " or "; ") begins a text in the sources. N, M, X, HOST and
# SHA256:... are values.
python3 - "$ROOT" <<'PY' || fail "the README names a message that no program prints"
import glob, re, sys
root = sys.argv[1]
sources = "".join(re.sub(r'"\s+"', "", open(f).read()) for f in glob.glob(root + "/src/**/*.[ch]", recursive=True))
messages = re.findall(r"^\| `(.*?)` \|", open(root + "/README.md").read().split("## When something does not work")[1], re.M)
assert len(messages) >= 10, messages
for message in messages:
    for part in re.split("; |: ", message):
        words = re.split(r"\b(?:N|M|X|HOST(?= port)|SHA256:\.\.\.)(?!\w)", part)
        text = r"(?:%[.0-9]*[a-z]|)".join(map(re.escape, words))
        if not re.search('(?:"|: |; )' + text, sources):
            sys.exit(f"no program prints '{part}' of '{message}'")
PY
while read -r link; do [ -e "$ROOT/$link" ] || fail "README links to $link, which does not exist"; done \
    < <(grep -oE '\]\([^)#]+\)' "$ROOT/README.md" | tr -d '](' | tr -d ')' | grep -v '^http')
ok "messages and links"
stop "$AGENT"
no_sanitizer_report "$TMP/agent.log" || fail "a sanitizer complains"
