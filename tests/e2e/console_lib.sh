# console_lib.sh - for scenarios of the console: starts boards, and Cockpit's web server and bridge with console/ as the
# user's own Cockpit package. Source it after lib.sh and gateway_lib.sh.

# need_console [TOOL...]: skips the scenario where Cockpit, Chromium or one of these tools is missing.
need_console() {
    local tool
    for tool in chromedriver chromium cockpit-bridge jq "$@"; do
        command -v "$tool" >/dev/null || skip "$tool is not installed"
    done
    COCKPIT_WS=$(ls /usr/lib/cockpit/cockpit-ws /usr/libexec/cockpit-ws 2>/dev/null | head -n 1)
    [ -n "$COCKPIT_WS" ] || skip "cockpit-ws is not installed"
}

# axe: prints the path of axe-core, which npm fetches once into the build folder.
axe() {
    local dir=${CMX_BUILD:-$ROOT/build}/axe
    (
        flock 9
        [ -f "$dir/node_modules/axe-core/axe.min.js" ] || { mkdir -p "$dir" && cp "$ROOT/tests/e2e/console/package.json" "$dir/" && npm --prefix "$dir" install --silent --no-audit --no-fund; } >&2
    ) 9>"$dir.lock" || return 1
    echo "$dir/node_modules/axe-core/axe.min.js"
}

# test_page PART [URL]: runs this part of console_page.py in Chromium on the page at URL (default: COCKPIT_URL).
test_page() {
    local axe shots=${CMX_BUILD:-$ROOT/build}/console-screenshots
    axe=$(axe) || fail "axe-core cannot be fetched"
    mkdir -p "$shots"
    TMPDIR=$TMP PATH=$BIN:$PATH python3 "$ROOT/tests/tools/console_page.py" "$1" "${2:-$COCKPIT_URL}" "$(free_port)" "$TMP" "$shots" "$axe" || fail "the page: $1"
}

# boards NAME...: creates the signed images v1.bin and v2.bin, and bare.bin without a signature. Creates boards that run
# v1.bin, with their keys in keys/, enrols them in the group "cameras", starts them and waits until all are connected.
# Works in $TMP; needs ota_image.sh.
boards() {
    local pin public offset name
    cd "$TMP" || fail "no folder"
    pin=$(grep -oE 'SHA256:[A-Za-z0-9+/]{43}' init.out | head -n 1)
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
    public=$("$BIN/cmxsafe" image key --key k.pem)
    make_image v1.bin 1.0.0
    make_image v2.bin 2.0.0
    cp v2.bin bare.bin
    "$BIN/cmxsafe" image sign --key k.pem v1.bin >/dev/null && "$BIN/cmxsafe" image sign --key k.pem v2.bin >/dev/null || fail "sign"
    mkdir -p keys
    openssl rand -out "keys/$1.bin" 32
    echo BURN | "$ESPTOOL" -m espefuse --chip esp32c3 --virt --path-efuse-file efuse.bin burn-key BLOCK_KEY3 "keys/$1.bin" HMAC_UP >espefuse.log 2>&1 || fail "espefuse"
    for name in "$@"; do
        "$BIN/cmxsafe-board" create "$name" --chip esp32c3 --image v1.bin >/dev/null || fail "create $name"
        [ -f "keys/$name.bin" ] || openssl rand -out "keys/$name.bin" 32
        # All boards have the same efuse.bin, which lacks the read-protected key. Each board has its own key in a file.
        cp efuse.bin "$name/" && cp "keys/$name.bin" "$name/private_key.bin"
        tail -c +65537 "$name/flash.bin" >"$name.firmware"
        gw enroll "$name" --hwkey "keys/$name.bin" --ports 81,8989,8888 --group cameras >/dev/null || fail "enroll $name"
        offset=$(free_offset)
        BOARD_OFFSET=$offset # the port offset of the board that was started last
        "$BIN/cmxsafe-board" run "$name" --gateway "127.0.0.1:$GW_PORT" --set gateway.user=cmxsafe-gw --set "gateway.host_key=$pin" \
            --set "gateway.remote_address=$(address_of "$name")" --set "board.port_offset=$offset" --set "ota.public_key=$public" \
            --set ota.confirm_s=60 2>>"$name.log" &
        PIDS+=("$!")
    done
    for name in "$@"; do wait_for 60 connected "$name" || fail "$name does not connect"; done
}

# start_cockpit [FOLDER]: serves both Cockpit packages as the Debian packages install them; programs are looked up in
# FOLDER first. COCKPIT_AS: a command that runs Cockpit as another user or in another namespace; COCKPIT_ADDRESS: the
# listen address (default: the loopback). Sets COCKPIT_URL, AGENT_URL and COCKPIT_PID.
start_cockpit() {
    local port
    port=$(free_port)
    mkdir -p "$TMP/data/cockpit/cmxsafe" "$TMP/data/cockpit/cmxsafe-agent"
    while read -r files folder; do
        case $files in console/*) (cd "$ROOT" && cp $files "$TMP/data/${folder#usr/share/}/") || fail "the package $folder" ;; esac
    done < <(cat "$ROOT"/debian/cockpit-cmxsafe*.install)
    ${COCKPIT_AS:-} env PATH="${1:+$1:}$BIN:$PATH" XDG_DATA_HOME="$TMP/data" XDG_CONFIG_DIRS="$TMP" "$COCKPIT_WS" --no-tls --address "${COCKPIT_ADDRESS:-127.0.0.1}" --port "$port" \
        --local-session=cockpit-bridge >"$TMP/cockpit.log" 2>&1 &
    COCKPIT_PID=$!
    echo "$COCKPIT_PID" >"$TMP/cockpit.pid"
    PIDS+=("$COCKPIT_PID")
    wait_for 20 curl -sS -m 5 --noproxy '*' -o /dev/null "http://${COCKPIT_ADDRESS:-127.0.0.1}:$port/" || fail "cockpit-ws does not listen"
    COCKPIT_URL=http://${COCKPIT_ADDRESS:-127.0.0.1}:$port/cockpit/@localhost/cmxsafe/index.html
    AGENT_URL=http://${COCKPIT_ADDRESS:-127.0.0.1}:$port/cockpit/@localhost/cmxsafe-agent/index.html
}
