#!/usr/bin/env bash
# Measures updates over the air. Prints one line per figure: name value aim ok|short; lines that begin with # are the measured
# values. Our upload: a client at the gateway sends 1.5 MB to the virtual board (built with the device profile's relay
# buffers), over a link that delays data by 10 ms each way. The peer carries the same upload over the same link to the
# same service with the flow control of the original CMXsafe-ESP32: 8,000-byte window, 512-byte reads. Our side's
# channel window is that of the installed libssh (libssh 0.10: 1.28 MB), not that of LibSSH-ESP32.
#   CMX_ROUNDS: the number of pairs of uploads (3)
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
. "$here/lib.sh"
cd "$CMX_ROOT" || exit 1
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" python3 python3-venv jq gcc-riscv64-unknown-elf libcmocka-dev
build build
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=$CMX_ROOT/build/bin
. "$here/../tests/e2e/lib.sh"
. "$here/../tests/tools/ota_image.sh"
ROUNDS=${CMX_ROUNDS:-3}
esptool_ready
python=$(python_with asyncssh==2.24.1) || fail "no asyncssh"
build build-device -DCMAKE_C_FLAGS=-DCMX_DEVICE_PROFILE -DCMX_TESTS=OFF
cd "$TMP" || exit 1

openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem 2>/dev/null
for v in 1 2; do
    make_image v$v.bin $v.0.0 esp32c3 0 1500
    "$BIN/cmxsafe" image sign --key k.pem v$v.bin >/dev/null || fail "sign"
done
start_sshd </dev/null
link=$(free_port) ours=$(free_port) theirs=$(free_port) stream=$(free_port) attest=$(free_port) offset=$(free_offset)
"$python" "$here/ota_link.py" delay "$link" "$SSHD_PORT" 10 & PIDS+=($!)
wait_for 10 listening "$link" || fail "the link"
"$BIN/cmxsafe-board" create board --chip esp32c3 --image v1.bin >/dev/null || fail "create"
"$CMX_ROOT/build-device/bin/cmxsafe-board" run board --gateway "127.0.0.1:$link" --set "gateway.user=$SSHD_USER" --set "gateway.key_file=$KEY" \
    --set "gateway.host_key=$PIN" --set "board.port_offset=$offset" --set "context stream.local_port=81" \
    --set "context stream.remote_port=$stream" --set "context ota.local_port=8989" --set "context ota.remote_port=$ours" \
    --set "context attest.local_port=8888" --set "context attest.remote_port=$attest" \
    --set "ota.public_key=$("$BIN/cmxsafe" image key --key k.pem)" 2>board.log & PIDS+=($!)
"$python" "$here/ota_link.py" original "$link" "$SSHD_USER" "$KEY" "$theirs" $((8989 + offset)) 2>original.log & PIDS+=($!)
wait_for 30 listening "$theirs" || fail "the original's flow does not listen"
ready() { [ "$(curl -sS -m 10 "http://127.0.0.1:$ours/update" 2>/dev/null | jq '.state == "idle" and .running.confirmed')" = true ]; }
# upload PORT: uploads an update, and prints the seconds from the connect to the end of the device's answer.
next=2
upload() {
    wait_for 60 ready || fail "the board is not ready"
    curl -sS -m 300 -o answer -w '%{time_total}\n' -F "update=@v$next.bin" "http://127.0.0.1:$1/update"
    grep -q "^OK version=$next.0.0" answer || { cat answer >&2; fail "the upload"; }
    next=$((3 - next))
    wait_for 60 running "$((3 - next)).0.0" || fail "the new image does not run"
}
running() { [ "$(curl -sS -m 10 "http://127.0.0.1:$ours/update" 2>/dev/null | jq -r .running.version)" = "$1" ]; }
for i in $(seq "$ROUNDS"); do
    upload "$ours" >o; upload "$theirs" >t
    printf '# round %s: ours %s s, the original'"'"'s flow %s s\n' "$i" "$(cat o)" "$(cat t)"
    ratio "$(cat t)" "$(cat o)" >>ratios
done
figure_of upload_20ms_over_original ratios ">=" 3

# Measures the peak of our heap, counted by our allocator, from the service's start to the end of a whole update.
"$BIN/ota_board" flash 0 --init v1.bin >heap.out 2>heap.log & PIDS+=($!); pid=$!
wait_for 20 grep -q listening heap.out || fail "ota_board does not listen"
curl -sS -m 60 -F update=@v2.bin "http://127.0.0.1:$(awk '/^listening/ {print $2; exit}' heap.out)/update" | grep -q ^OK || fail "the upload to ota_board"
wait_for 20 grep -q '^heap' heap.out || fail "ota_board does not print its heap"
stop "$pid"
figure update_heap_bytes "$(awk '/^heap/ {print $2; exit}' heap.out)" "<=" 16384

# Simulates power cuts in every flash operation of update, confirmation and rollback. Each operation is cut in five ways
# (docs/OTA.md).
(cd "$CMX_ROOT" && "$BIN/sim_ota") >sim.out 2>&1 || { tail -5 sim.out; fail "a power cut left a board that does not boot"; }
sed -n 's/^power cut: */# /p' sim.out
read -r good of <<<"$(sed -n 's/^power-cut points that leave a bootable board: \([0-9]*\) of \([0-9]*\)$/\1 \2/p' sim.out)"
printf '# %s power-cut points\n' "$of"
figure power_cut_bootable_share "$(ratio "$good" "$of")" ">=" 1
