#!/usr/bin/env bash
# Creates the pictures of README and docs (docs/images): screenshots of the console, the agent's page and the update page, taken in
# Chromium with a real gateway and boards; the demo's output; and the plots of bench/peers.json. Needs root for the agent's page.
# scripts/pictures.sh [console|agent|demo|plots]... creates only these.
. "$(dirname "$0")/lib.sh"
case ${1:-} in -*) sed -n '2,4s/^# //p' "$0"; exit 2 ;; esac
[ $# -gt 0 ] || set -- console agent demo plots
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" cockpit-ws cockpit-bridge chromium chromium-driver sqlite3 jq imagemagick
[ -n "${CMX_BIN:-}" ] || build build
. "$CMX_ROOT/tests/e2e/lib.sh"
. "$ROOT/tests/e2e/gateway_lib.sh"
. "$ROOT/tests/e2e/console_lib.sh"
. "$ROOT/tests/tools/ota_image.sh"
MAX_BYTES=60000 # maximum size of a picture, in bytes
IMAGES=$ROOT/docs/images
mkdir -p "$IMAGES"

# keep FILE NAME: stores the screenshot FILE as NAME, reduced to 64 colours.
keep() {
    convert "$1" -strip +dither -colors 64 "png8:$IMAGES/$2" || fail "convert $2"
    [ "$(stat -c %s "$IMAGES/$2")" -lt "$MAX_BYTES" ] || fail "$2 is too large"
}

# Takes the pictures of a gateway with boards, grants, traffic, one verdict and devices for a campaign.
console_pictures() {
    local name
    need_console
    esptool_ready
    start_gateway --fleet fd12:3456:789a::/48 --host gw.example.org
    boards cam-1 cam-2 cam-3 gate-1
    for name in cam-9 pump-1 pump-2; do
        key "$name"
        gw enroll "$name" --key "$TMP/$name.pub" --ports 81 --group pumps >/dev/null || fail "enroll $name"
    done
    key vms; key porch
    { gw platform vms --key "$TMP/vms.pub" && gw grant vms cam-1:81 && gw grant vms cam-2:81 && gw grant vms cam-3:81 && gw grant user:alice cam-1:81 &&
        gw grant "user:$(id -un)" cam-1:81 && gw grant "user:$(id -un)" cam-2:81 && gw grant user:alice gate-1:8989 &&
        gw grant group:maintenance pump-1:81 && gw grant group:maintenance pump-2:81; } >/dev/null 2>&1 || fail "grants"
    try_client porch -N 2>/dev/null
    gw attest cam-1 cam-2 -- --key "$TMP/keys/{name}.bin" --image "$TMP/cam-1.firmware" >/dev/null
    for name in cam-1 cam-2; do
        (cd / && exec "$BIN/cmxsafe" gateway exec -- curl -sS -m 280 --limit-rate 400k -o /dev/null "http://$name.cmx:81/stream") 2>/dev/null & PIDS+=("$!")
    done
    curl -sS -o /dev/null -F "update=@$TMP/bare.bin" "http://127.0.0.1:$((8989 + BOARD_OFFSET))/update" || fail "the update service" # the page shows this refused upload
    start_cockpit
    sleep 185 # fills three minutes of the history
    PATH=$BIN:$PATH python3 "$ROOT/tests/tools/console_shots.py" "$COCKPIT_URL" "http://127.0.0.1:$((8989 + BOARD_OFFSET))/" "$(free_port)" "$TMP" || fail "the screenshots"
    for name in "$TMP"/shot-*.png; do keep "$name" "$(basename "${name#*shot-}")"; done
    stop_gateway
}

agent_pictures() {
    "$ROOT/tests/e2e/console/console_agent.sh" || fail "the agent's page"
    keep "${CMX_BUILD:-$ROOT/build}/console-screenshots/agent-1440-light.png" console-agent.png
}

# Draws the demo's output as a terminal.
demo_pictures() {
    FORCE_COLOR=1 "$ROOT/scripts/demo.sh" --once >"$TMP/demo.txt" || fail "the demo"
    python3 "$ROOT/scripts/terminal_svg.py" "scripts/demo.sh" <"$TMP/demo.txt" >"$IMAGES/demo.svg" || fail "the drawing"
}

# docs/BENCHMARKS.md has the tables; the plots are beside the other pictures.
plots_pictures() {
    [ -f "$ROOT/docs/BENCHMARKS.md" ] || { say "docs/BENCHMARKS.md does not exist: no plots"; return 0; }
    python3 "$ROOT/bench/report.py" page "$ROOT/bench/peers.json" "$ROOT/docs/BENCHMARKS.md" "$IMAGES" || fail "the plots"
}

for part in "$@"; do
    declare -F "${part}_pictures" >/dev/null || die "pictures.sh: no pictures are called '$part'; choose console, agent, demo or plots"
    "${part}_pictures"
done
say "docs/images: $(du -sh --apparent-size "$IMAGES" | cut -f1)"
