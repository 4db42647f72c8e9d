#!/usr/bin/env bash
# Shows every part of cmxsafe at work on this machine: installs what is missing, builds, starts a gateway (a stock sshd) and a
# virtual board, and stays up until Ctrl-C. --once: checks and exits, non-zero if anything failed.
set -u
. "$(dirname "$0")/lib.sh"
cd "$CMX_ROOT" || exit 1

ONCE=''
case "${1:-}" in
    '') ;;
    --once) ONCE=1 ;;
    -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
    *) echo "cmxsafe: demo: no option '$1'; try --help" >&2; exit 2 ;;
esac

BIN=$CMX_ROOT/build/bin
WORK=$(mktemp -d "${TMPDIR:-/tmp}/cmxsafe-demo.XXXXXX")
PIDS=() ROWS=() FAILED=0
finish() {
    local status=$? p
    for p in "${PIDS[@]+"${PIDS[@]}"}"; do kill "$p" 2>/dev/null; done
    for p in "${PIDS[@]+"${PIDS[@]}"}"; do wait "$p" 2>/dev/null; done
    rm -rf "$WORK"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# wait_until SECONDS WHAT COMMAND...: polls, with something moving on a terminal.
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

# row MODULE WHAT COMMAND...: runs a check and remembers its line for the table.
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

# A port near the wanted one that nobody has.
port_near() {
    local p
    for p in "$@" $(shuf -i 12000-29999 -n 50); do
        ss -Hltn "sport = :$p" | grep -q . || { echo "$p"; return; }
    done
}

install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" python3 python3-venv jq iproute2 nmap iputils-ping openssl
say "building"
build build

say "starting"
# espefuse burns the hardware key into the virtual board's eFuse, as it does into a real one's.
ESPTOOL=$CMX_ROOT/build/python-esptool
if [ ! -x "$ESPTOOL/bin/espefuse" ]; then
    python3 -m venv "$ESPTOOL" && "$ESPTOOL/bin/pip" -q install --disable-pip-version-check esptool==5.6.0 ||
        die "esptool: cannot be installed; is a package index reachable?"
fi

SSH_PORT=$(port_near 2233) STREAM=$(port_near 8081 18081) OTA=$(port_near 8989 18989) ATTEST=$(port_near 8888 18888)
OFFSET=$(($(port_near 18080) - 80))
# The gateway: a stock sshd, as an ordinary user where it can be; forwards are all that its one key may do.
ssh-keygen -q -t ed25519 -N '' -f "$WORK/host_key"
mkdir -m 755 -p "$WORK/gw"; chmod 755 "$WORK"
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

# The board: flash, partition table and eFuse in files; a hardware key; a key that signs its updates.
"$BIN/cmxsafe-board" create "$WORK/board" >/dev/null || die "the board cannot be made"
(
    cd "$WORK/board" || exit 1
    openssl rand -out private_key.bin 32
    echo BURN | "$ESPTOOL/bin/espefuse" --chip esp32s3 --virt --path-efuse-file efuse.bin burn_key BLOCK_KEY3 private_key.bin HMAC_UP
) >"$WORK/espefuse.log" 2>&1 || { tail -n 5 "$WORK/espefuse.log" >&2; die "espefuse: failed"; }
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$WORK/ota_key.pem" 2>/dev/null
# Enrolled before it is switched on: its SSH key follows from the hardware key.
printf 'restrict,port-forwarding %s\n' "$("$BIN/cmxsafe" identity public --key "$WORK/board/private_key.bin" | head -n 1)" \
    >"$WORK/gw/authorized_keys"

/usr/sbin/sshd -D -e -f "$WORK/sshd_config" 2>"$WORK/sshd.log" & PIDS+=($!)
start_board() {
    "$BIN/cmxsafe-board" run "$WORK/board" --gateway "127.0.0.1:$SSH_PORT" --set "gateway.user=$(id -un)" --set "gateway.host_key=$PIN" \
        --set "board.port_offset=$OFFSET" --set "ota.public_key=$("$BIN/cmxsafe" image key --key "$WORK/ota_key.pem")" \
        --set "context stream.local_port=81" --set "context stream.remote_port=$STREAM" \
        --set "context ota.local_port=8989" --set "context ota.remote_port=$OTA" \
        --set "context attest.local_port=8888" --set "context attest.remote_port=$ATTEST" 2>>"$WORK/board.log" & PIDS+=($!)
}
start_board
through() { curl -fsS --max-time 30 "http://127.0.0.1:$1"; }
all_up() { through "$STREAM/frame.jpg" && through "$OTA/update" && through "$ATTEST/evidence?nonce=0011223344556677"; }
wait_until 60 "waiting for the board's sessions" all_up ||
    { tail -n 10 "$WORK/board.log" "$WORK/sshd.log" >&2; die "the board did not reach its gateway; see above"; }

say "what it shows"
frames() {
    through "$STREAM/stream?frames=10" >"$WORK/stream" && [ "$(grep -ac 'Content-Type: image/jpeg' "$WORK/stream")" = 10 ]
}
same_frame() {
    [ "$(through "$STREAM/frame.jpg?n=7" | sha256sum)" = "$(through "$((81 + OFFSET))/frame.jpg?n=7" | sha256sum)" ]
}
viewers() {
    local i pids=()
    for i in 1 2 3 4; do through "$STREAM/stream?frames=5" >/dev/null & pids+=($!); done
    for i in "${pids[@]}"; do wait "$i" || return 1; done
}
recovers() {
    local old
    old=$(pgrep -P "${PIDS[0]}") && kill -KILL $old && sleep 0.2 && wait_until 60 "waiting for the sessions to come back" all_up
}
row proxy "MJPEG stream of the board through the gateway, port $STREAM" frames
row proxy "a frame fetched through the tunnel is the board's, byte for byte" same_frame
row proxy "four viewers at once" viewers
row proxy "every session killed: back by itself" recovers

flash_image() { tail -c +65537 "$WORK/board/flash.bin" >"$WORK/attest/firmware.bin"; }
attested() {
    flash_image && through "$ATTEST/hash?challenge=string_to_use_as_challenge" >"$WORK/value" &&
        (cd "$WORK/attest" && python3 "$CMX_ROOT/remote_attestation.py" string_to_use_as_challenge) | grep -q "$(cat "$WORK/value")"
}
mkdir "$WORK/attest"; cp "$WORK/board/private_key.bin" "$WORK/attest/"
evidence() {
    (cd "$WORK/attest" && "$BIN/cmxsafe" image manifest --require hardware-key firmware.bin >manifest 2>/dev/null &&
        "$BIN/cmxsafe" attest --evidence --manifest manifest --url "http://127.0.0.1:$ATTEST" --gateway "$PIN")
}
tampered() { # one byte of flash differs: the value does
    printf '\x00' | dd of="$WORK/attest/firmware.bin" bs=1 seek=200000 conv=notrunc 2>/dev/null
    (cd "$WORK/attest" && "$BIN/cmxsafe" attest --url "http://127.0.0.1:$ATTEST") | grep -q '^DIFFERS'
}
row attest "curl /hash?challenge=...: Python computes the same value" attested
row attest "evidence (EAT in COSE_Mac0): key, slot, measurements, gateway and session verified" evidence
row attest "a reference image that differs in one byte: DIFFERS" tampered
refused_unsigned() {
    "$BIN/cmxsafe-board" image "$WORK/bare.bin" --version 6.6.6 &&
        [ "$(curl -sS -o "$WORK/answer" -w '%{http_code}' -F "update=@$WORK/bare.bin" "http://127.0.0.1:$OTA/update")" != 200 ] && grep -qi sign "$WORK/answer"
}
runs() { [ "$(through "$OTA/update" | jq -r .running.version)" = "$1" ]; }
confirmed() { [ "$(through "$OTA/update" | jq -r .running.confirmed)" = true ]; }
update() {
    "$BIN/cmxsafe-board" image "$WORK/firmware.bin" --version 2.0.0 && "$BIN/cmxsafe" image sign --key "$WORK/ota_key.pem" "$WORK/firmware.bin" &&
        curl -fsS -X POST -F "update=@$WORK/firmware.bin" "http://127.0.0.1:$OTA/update" &&
        wait_until 60 "waiting for version 2.0.0" runs 2.0.0 && wait_until 60 "waiting for its confirmation" confirmed
}
row ota "an unsigned image is refused" refused_unsigned
row ota "curl -F update=@firmware.bin: signed 2.0.0 runs, confirmed by its sessions" update

row isolation "on lwIP: a neighbour's scan of all 65,535 ports finds nothing; the stream goes on" bash scripts/demo_isolation.sh

echo
if [ "$FAILED" = 0 ]; then say "all shown"; else say "$FAILED of ${#ROWS[@]} failed"; fi
[ -z "$ONCE" ] || exit $((FAILED > 0))
cat <<END

Try by hand (Ctrl-C here ends it all):
  http://127.0.0.1:$STREAM/            the stream, through the gateway, in a browser
  http://127.0.0.1:$OTA/            the update page
  curl "http://127.0.0.1:$ATTEST/hash?challenge=anything"
  curl "http://127.0.0.1:$ATTEST/evidence?nonce=0011223344556677" -H 'Accept: application/json'
  files of the board: $WORK/board      its log: $WORK/board.log
END
while :; do sleep 3600 & wait $!; done
