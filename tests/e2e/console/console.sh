#!/usr/bin/env bash
# Tests the console of a gateway with boards in a real Chromium, served by Cockpit's own web server and bridge: every
# view, each action and its failure, operation by keyboard alone, dark mode, narrow screens, and a gateway that stops
# meanwhile. Saves a screenshot of every view in build/console-screenshots.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../console_lib.sh"
. "$ROOT/tests/tools/ota_image.sh"
need_console npm
need_namespaces
esptool_ready

start_gateway --fleet fd12:3456:789a::/48
boards cam-1 cam-2 cam-3
key spare; key vms; key away
gw enroll cam-9 --key "$TMP/away.pub" --ports 81 --group store >/dev/null || fail "enroll cam-9"
gw platform vms --key "$TMP/vms.pub" >/dev/null && gw grant vms cam-1:81 >/dev/null && gw grant user:alice cam-2 >/dev/null &&
    gw grant cgroup:system.slice/nvr.service cam-9:81 >/dev/null || fail "grants"
start_cockpit
ok "a gateway with boards, and Cockpit"
test_page fleet
no_sanitizer_report cam-?.log || fail "a sanitizer complains"
stop_gateway
