#!/usr/bin/env bash
# The README does not go stale: its configuration, its authorized_keys line and its sketch are taken from it and used.
. "$(dirname "$0")/lib.sh"

# block NAME: the fenced block behind <!-- test: NAME -->.
block() { awk -v mark="<!-- test: $1 -->" '$0 == mark { found = 1; next } found && /^```/ { if (inside) exit; inside = 1; next } inside' "$ROOT/README.md"; }

S=$(free_port) R=$(free_port)
mkdir "$TMP/www"; echo "the device's page" >"$TMP/www/index.html"
python3 -m http.server -d "$TMP/www" --bind 127.0.0.1 "$S" >/dev/null 2>&1 & PIDS+=($!)
wait_for 10 listening "$S" || fail "web page"
start_sshd </dev/null
# What a reader replaces, and the ports, which are taken here.
adapt() {
    sed -e "s|^host = .*|host = 127.0.0.1|; s|^user = .*|user = $SSHD_USER\nport = $SSHD_PORT|; s|^host_key = .*|host_key = $PIN|" \
        -e "s|^key_file = .*|key_file = $KEY|; s|^local_port = 80\$|local_port = $S|; s|^remote_port = 8080\$|remote_port = $R|; /^port = 22/d"
}
block agent.conf | adapt >"$TMP/cmxsafed.conf"
grep -q "^remote_port = $R" "$TMP/cmxsafed.conf" || fail "the README's configuration is not where the test looks"
printf '[agent]\ncontrol_socket = %s\nconfine = no\n' "$TMP/ctl.sock" >>"$TMP/cmxsafed.conf"
block authorized_keys | sed "s|8080|$R|; s|ssh-ed25519 AAAA... camera-17|$(cat "$TMP/client_key.pub")|" >"$TMP/authorized_keys"
"$BIN/cmxsafed" --check -c "$TMP/cmxsafed.conf" || fail "cmxsafed --check"
"$BIN/cmxsafed" -c "$TMP/cmxsafed.conf" 2>"$TMP/agent.log" & AGENT=$!; PIDS+=("$AGENT")
page() { curl -fsS "http://127.0.0.1:$R/" | grep -q "the device's page"; }
wait_for 30 page || fail "the page does not come through the gateway"
"$BIN/cmxsafed" status --socket "$TMP/ctl.sock" | grep -q "web.*up" || fail "cmxsafed status"
ok "the agent's five minutes"

adapt <"$ROOT/examples/linux/cmxsafed.conf" >"$TMP/example.conf"
"$BIN/cmxsafed" --check -c "$TMP/example.conf" || fail "examples/linux/cmxsafed.conf"
ok "examples/linux/cmxsafed.conf"

block sketch >"$TMP/sketch.cpp"
grep -q xTaskCreatePinnedToCore "$TMP/sketch.cpp" || fail "the README's sketch is not where the test looks"
# The two that only a device has.
mkdir "$TMP/device"
echo 'inline void libssh_begin() {}' >"$TMP/device/libssh_esp32.h"
printf '#define ESP_ERROR_CHECK(call) (void)(call)\nstruct cmx_settings;\nint cmx_esp_init(const struct cmx_settings *own);\n' >"$TMP/device/esp.h"
g++ -I"$TMP/device" -include esp.h -std=c++17 -Wall -Wno-missing-field-initializers -Werror -fsyntax-only -I"$ROOT/src" -I"$ROOT/port/linux" -I"$ROOT/port/linux/freertos" \
    -include freertos/FreeRTOS.h -include freertos/task.h "$TMP/sketch.cpp" || fail "the sketch does not compile"
ok "the sketch compiles as C++"

for text in "HOST KEY NOT PINNED: gateway shows" "NOT CONNECTING: no host key" "gateway name" "gateway connection" "login" "asking again" \
    "service on port" "the token did not come back"; do
    grep -rqF "$text" "$ROOT/src" || fail "troubleshooting names a message that nobody prints: $text"
done
while read -r link; do [ -e "$ROOT/$link" ] || fail "README links to $link, which is not there"; done \
    < <(grep -oE '\]\([^)#]+\)' "$ROOT/README.md" | tr -d '](' | tr -d ')' | grep -v '^http')
ok "messages and links"
stop "$AGENT"
! grep -qE 'ERROR: (Address|Leak)Sanitizer|runtime error' "$TMP/agent.log" || fail "a sanitizer complains"
