#!/usr/bin/env bash
# Shows every part of cmxsafe on this machine: installs missing packages, builds, starts a gateway (as root: cmxsafe's own, in new
# namespaces; else a stock sshd) and a virtual board, and runs until Ctrl-C. With --once it runs the checks and exits, with a non-zero
# status if one failed.
set -u
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/demo_gateway.sh"
cd "$CMX_ROOT" || exit 1

ONCE=''
case "${1:-}" in
    '') ;;
    --once) ONCE=1 ;;
    -h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;;
    *) echo "cmxsafe: demo: no option '$1'; try --help" >&2; exit 2 ;;
esac

BIN=$CMX_ROOT/build/bin
ESPTOOL=$CMX_ROOT/build/python-esptool
if [ -z "${CMX_DEMO_INSIDE:-}" ]; then
    install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" python3 python3-venv jq iproute2 nftables socat nmap iputils-ping openssl
    # The console is for people; the checks do not need it.
    [ -n "$ONCE" ] || [ "$(id -u)" != 0 ] || (install_packages cockpit-ws cockpit-bridge) || say "Cockpit cannot be installed: no console"
    say "building"
    build build
    # espefuse burns the hardware key into the virtual board's eFuse, as on a chip.
    if [ ! -x "$ESPTOOL/bin/espefuse" ]; then
        python3 -m venv "$ESPTOOL" && "$ESPTOOL/bin/pip" -q install --disable-pip-version-check esptool==5.6.0 ||
            die "esptool: cannot be installed; is a package index reachable?"
    fi
    own_namespaces "$@"
fi

WORK=$(mktemp -d "${TMPDIR:-/tmp}/cmxsafe-demo.XXXXXX")
PIDS=() ROWS=() FAILED=0
finish() {
    local status=$? p
    for p in "${PIDS[@]+"${PIDS[@]}"}"; do kill "$p" 2>/dev/null; done
    for p in "${PIDS[@]+"${PIDS[@]}"}"; do wait "$p" 2>/dev/null; done
    [ -z "${CGROUP:-}" ] || end_product_gateway
    rm -rf "$WORK"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# wait_until SECONDS WHAT COMMAND...: polls until the command succeeds; shows progress on a terminal.
wait_until() {
    local end=$((SECONDS + $1)) what=$2 i=0 marks='|/-\'
    shift 2
    while [ "$SECONDS" -lt "$end" ]; do
        if "$@" >/dev/null 2>&1; then [ -t 1 ] && printf '\r\e[K'; return 0; fi
        [ -t 1 ] && printf '\r%s %s' "${marks:i++%4:1}" "$what"
        sleep 0.1
    done
    [ -t 1 ] && printf '\r\e[K'
    return 1
}

# row MODULE WHAT COMMAND...: runs a check and adds a line to the table.
row() {
    local module=$1 what=$2
    shift 2
    if "$@" >"$WORK/row.log" 2>&1; then
        ROWS+=("$(printf '  %-12s%s%-4s%s %s' "$module" "$c_green" ok "$c_off" "$what")")
    else
        FAILED=$((FAILED + 1))
        ROWS+=("$(printf '  %-12s%s%-4s%s %s' "$module" "$c_red" FAIL "$c_off" "$what")")
        sed 's/^/    /' "$WORK/row.log" | tail -n 30 >&2
    fi
    printf '%s\n' "${ROWS[-1]}"
}

say "starting"
SSH_PORT=$(port_near 2233) STREAM=$(port_near 8081 18081) OTA=$(port_near 8989 18989) ATTEST=$(port_near 8888 18888)
OFFSET=$(($(port_near 18080) - 80))
# Makes the board (flash, partition table and eFuse in files), its hardware key, and a key that signs its updates.
"$BIN/cmxsafe-board" create "$WORK/board" >/dev/null || die "the board cannot be created"
(
    cd "$WORK/board" || exit 1
    openssl rand -out private_key.bin 32
    echo BURN | "$ESPTOOL/bin/espefuse" --chip esp32s3 --virt --path-efuse-file efuse.bin burn_key BLOCK_KEY3 private_key.bin HMAC_UP
) >"$WORK/espefuse.log" 2>&1 || { tail -n 5 "$WORK/espefuse.log" >&2; die "espefuse: failed"; }
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$WORK/ota_key.pem" 2>/dev/null
# The board can be enrolled before its first start, because its SSH key is derived from the hardware key.
"$BIN/cmxsafe" identity public --key "$WORK/board/private_key.bin" | head -n 1 >"$WORK/board.pub"

# The gateway is a stock sshd that runs as an ordinary user. It accepts only the board's key, which permits only forwards.
stock_sshd() {
    ssh-keygen -q -t ed25519 -N '' -f "$WORK/host_key"
    mkdir -m 755 -p "$WORK/gw"; chmod 755 "$WORK"
    printf 'restrict,port-forwarding %s\n' "$(cat "$WORK/board.pub")" >"$WORK/gw/authorized_keys"
    cat >"$WORK/sshd_config" <<CONF
Port $SSH_PORT
ListenAddress 127.0.0.1
HostKey $WORK/host_key
AuthorizedKeysFile $WORK/gw/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
ClientAliveInterval 15
ClientAliveCountMax 2
CONF
    [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
    PIN=$(ssh-keygen -lf "$WORK/host_key.pub" | awk '{print $2}')
    BOARD_GATEWAY=(--set "gateway.user=$(id -un)")
    HOST=127.0.0.1
    /usr/sbin/sshd -D -e -f "$WORK/sshd_config" 2>"$WORK/sshd.log" & PIDS+=($!)
}
if [ -n "${CMX_DEMO_INSIDE:-}" ]; then
    ssh-keygen -q -t ed25519 -N '' -C cam-2 -f "$WORK/cam-2"
    product_gateway "$WORK/board.pub"
else
    stock_sshd
fi
start_board() {
    "$BIN/cmxsafe-board" run "$WORK/board" --gateway "127.0.0.1:$SSH_PORT" "${BOARD_GATEWAY[@]}" --set "gateway.host_key=$PIN" \
        --set "board.port_offset=$OFFSET" --set "ota.public_key=$("$BIN/cmxsafe" image key --key "$WORK/ota_key.pem")" \
        --set "context stream.local_port=81" --set "context stream.remote_port=$STREAM" \
        --set "context ota.local_port=8989" --set "context ota.remote_port=$OTA" \
        --set "context attest.local_port=8888" --set "context attest.remote_port=$ATTEST" 2>>"$WORK/board.log" & PIDS+=($!)
}
start_board
through() { curl -fsS --max-time 30 "http://$HOST:$1"; }
all_up() { through "$STREAM/frame.jpg" && through "$OTA/update" && through "$ATTEST/evidence?nonce=0011223344556677"; }
wait_until 60 "waiting for the board's sessions" all_up ||
    { tail -n 10 "$WORK/board.log" "$WORK/sshd.log" >&2; die "the board did not reach its gateway; see above"; }

say "what it shows"
frames() {
    through "$STREAM/stream?frames=10" >"$WORK/stream" && [ "$(grep -ac 'Content-Type: image/jpeg' "$WORK/stream")" = 10 ]
}
same_frame() {
    through "$STREAM/frame.jpg?n=7" >"$WORK/frame" && curl -fsS "http://127.0.0.1:$((81 + OFFSET))/frame.jpg?n=7" | cmp - "$WORK/frame"
}
viewers() {
    local i pids=()
    for i in 1 2 3 4; do through "$STREAM/stream?frames=5" >/dev/null & pids+=($!); done
    for i in "${pids[@]}"; do wait "$i" || return 1; done
}
logins() { grep -c 'Accepted publickey' "$WORK/sshd.log"; }
logged_in_after() { [ "$(logins)" -gt "$1" ]; }
recovers() {
    local before child sessions
    [ -z "${CMX_DEMO_INSIDE:-}" ] || { kill_sessions && wait_until 60 "waiting for the sessions" all_up; return; }
    before=$(logins)
    sessions=$(pgrep -P "${PIDS[0]}") || return 1
    # sshd has one child for each connection. In OpenSSH 9.8 and later, a child of that child holds the connection.
    for child in $sessions; do sessions+=" $(pgrep -P "$child")"; done
    # shellcheck disable=SC2086
    kill -KILL $sessions
    wait_until 60 "waiting for new logins" logged_in_after "$before" && wait_until 60 "waiting for the sessions" all_up
}
row proxy "MJPEG stream of the board through the gateway, port $STREAM" frames
row proxy "a frame through the tunnel equals the board's frame, byte for byte" same_frame
row proxy "four viewers at once" viewers
row proxy "every session killed: the device logs in again" recovers

flash_image() { tail -c +65537 "$WORK/board/flash.bin" >"$WORK/attest/firmware.bin"; }
attested() {
    flash_image && through "$ATTEST/hash?challenge=string_to_use_as_challenge" >"$WORK/value" &&
        (cd "$WORK/attest" && python3 "$CMX_ROOT/remote_attestation.py" string_to_use_as_challenge) | grep -q "$(cat "$WORK/value")"
}
mkdir "$WORK/attest"; cp "$WORK/board/private_key.bin" "$WORK/attest/"
evidence() {
    (cd "$WORK/attest" && "$BIN/cmxsafe" image manifest --require hardware-key firmware.bin >manifest 2>/dev/null &&
        "$BIN/cmxsafe" attest --evidence --manifest manifest --url "http://$HOST:$ATTEST" --gateway "$PIN")
}
tampered() { # one byte of flash differs, so the value must differ
    printf '\x00' | dd of="$WORK/attest/firmware.bin" bs=1 seek=200000 conv=notrunc 2>/dev/null
    (cd "$WORK/attest" && "$BIN/cmxsafe" attest --url "http://$HOST:$ATTEST") | grep -q '^DIFFERS'
}
row attest "curl /hash?challenge=...: Python computes the same value" attested
row attest "evidence (EAT in COSE_Mac0): key, slot, measurements, gateway and session verified" evidence
row attest "a reference image that differs in one byte: DIFFERS" tampered
refused_unsigned() {
    "$BIN/cmxsafe-board" image "$WORK/bare.bin" --version 6.6.6 &&
        [ "$(curl -sS -o "$WORK/answer" -w '%{http_code}' -F "update=@$WORK/bare.bin" "http://$HOST:$OTA/update")" != 200 ] && grep -qi sign "$WORK/answer"
}
runs() { [ "$(through "$OTA/update" | jq -r .running.version)" = "$1" ]; }
confirmed() { [ "$(through "$OTA/update" | jq -r .running.confirmed)" = true ]; }
update() {
    "$BIN/cmxsafe-board" image "$WORK/firmware.bin" --version 2.0.0 && "$BIN/cmxsafe" image sign --key "$WORK/ota_key.pem" "$WORK/firmware.bin" &&
        curl -fsS -X POST -F "update=@$WORK/firmware.bin" "http://$HOST:$OTA/update" &&
        wait_until 60 "waiting for version 2.0.0" runs 2.0.0 && wait_until 60 "waiting for its confirmation" confirmed
}
row ota "an unsigned image is refused" refused_unsigned
row ota "curl -F update=@firmware.bin: the signed version 2.0.0 runs and is confirmed" update

if [ -n "${CMX_DEMO_INSIDE:-}" ]; then
    row gateway "identity: a service behind the gateway prints that cam-2 connected" who_connected
    row gateway "judge: 'nft flush ruleset' opens no access, and the rules are restored" flush_opens_nothing
fi
row isolation "on lwIP: a neighbour's scan of all 65,535 ports finds nothing; the stream continues" bash scripts/demo_isolation.sh

echo
if [ "$FAILED" = 0 ]; then say "all shown"; else say "$FAILED of ${#ROWS[@]} failed"; fi
[ -z "$ONCE" ] || exit $((FAILED > 0))
if [ -n "${CMX_DEMO_INSIDE:-}" ]; then # the addresses below are on the machine's loopback
    HOST=127.0.0.1 PUBLIC=()
    for p in 8081 18989 18888; do PUBLIC+=("$(nsenter --net=/proc/self/fd/8 bash -c "$(declare -f port_near); port_near $p")"); done
    HOST=cam-1.cmx publish "${PUBLIC[0]}" "$STREAM"
    HOST=cam-1.cmx publish "${PUBLIC[1]}" "$OTA"
    HOST=cam-1.cmx publish "${PUBLIC[2]}" "$ATTEST"
    STREAM=${PUBLIC[0]} OTA=${PUBLIC[1]} ATTEST=${PUBLIC[2]}
    start_console
fi
cat <<END

Try by hand (Ctrl-C here ends it all):
  http://127.0.0.1:$STREAM/            the stream, through the gateway, in a browser
  http://127.0.0.1:$OTA/            the update page
  curl "http://127.0.0.1:$ATTEST/hash?challenge=anything"
  curl "http://127.0.0.1:$ATTEST/evidence?nonce=0011223344556677" -H 'Accept: application/json'
${CONSOLE:+  $CONSOLE
                                    the console; a browser with this address acts as root in the demo
}  files of the board: $WORK/board      its log: $WORK/board.log
END
while :; do sleep 3600 & PIDS+=($!); wait $!; done
