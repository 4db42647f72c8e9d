# attest_lib.sh - for attestation scenarios: a flash, a key, and attest_board over them. Source it after lib.sh.

# make_flash BYTES: $TMP/flash.bin with an application, erased space and a partition table's place; $TMP/firmware.bin is what
# esptool reads from 0x10000 on.
make_flash() {
    python3 - "$1" "$TMP/flash.bin" <<'PY'
import hashlib, sys
size = int(sys.argv[1])
flash = bytearray(b"\xff") * size
for at in range(0, size, 65536):
    if at < 0x90000 or at == size - 65536:
        block = b"".join(hashlib.sha256(b"%d %d" % (at, i)).digest() for i in range(2048))
        flash[at:at + 65536] = block
open(sys.argv[2], "wb").write(flash)
PY
    tail -c +65537 "$TMP/flash.bin" >"$TMP/firmware.bin"
}

make_key() { openssl rand -out "$TMP/private_key.bin" 32 && chmod 600 "$TMP/private_key.bin"; }

# start_board [arguments of attest_board after PORT]: sets BOARD_PORT, BOARD_PID.
start_board() {
    BOARD_PORT=$(free_port)
    rm -f "$TMP/board.out"
    (cd "$TMP" && exec "$BIN/attest_board" flash.bin "$BOARD_PORT" "$@") >"$TMP/board.out" 2>"$TMP/board.log" &
    BOARD_PID=$!
    PIDS+=("$BOARD_PID")
    wait_for 30 grep -q listening "$TMP/board.out" || fail "attest_board does not start"
    URL=http://127.0.0.1:$BOARD_PORT
}

stop_board() {
    stop "$BOARD_PID"
    ! grep -qE 'ERROR: (Address|Leak)Sanitizer|runtime error' "$TMP/board.log" || fail "a sanitizer complains"
}

cmx() { (cd "$TMP" && "$BIN/cmxsafe" "$@"); }
