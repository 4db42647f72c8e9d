#!/usr/bin/env bash
# Starts firmware updates from the console of a gateway with boards: one device, many devices, campaigns, uploaded
# images.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../console_lib.sh"
. "$ROOT/tests/tools/ota_image.sh"
need_console npm
need_namespaces
esptool_ready

start_gateway --fleet fd12:3456:789a::/48
boards cam-1 cam-2 cam-3
start_cockpit
test_page rollouts
no_sanitizer_report cam-?.log || fail "a sanitizer complains"
stop_gateway
