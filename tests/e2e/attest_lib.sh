# attest_lib.sh - for attestation scenarios: creates a flash image and a key, and runs attest_board with them. Source it
# after lib.sh.

# make_flash BYTES: writes a flash image of this size to $TMP/flash.bin: an application, erased space and room for a
# partition table. Also writes the image's content from 0x10000 on to $TMP/firmware.bin.
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

# start_board [ARGUMENT...]: starts attest_board with these arguments after its port. Sets BOARD_PORT, BOARD_PID and
# URL. With ON_PORT the board listens on that port, so that forwards to an earlier board reach this one.
start_board() {
    BOARD_PORT=${ON_PORT:-$(free_port)}
    rm -f "$TMP/board.out"
    (cd "$TMP" && exec "$BIN/attest_board" flash.bin "$BOARD_PORT" "$@") >"$TMP/board.out" 2>"$TMP/board.log" &
    BOARD_PID=$!
    PIDS+=("$BOARD_PID")
    wait_for 30 grep -q listening "$TMP/board.out" || fail "attest_board does not start"
    URL=http://127.0.0.1:$BOARD_PORT
}

stop_board() {
    stop "$BOARD_PID"
    no_sanitizer_report "$TMP/board.log" || fail "a sanitizer complains"
}

cmx() { (cd "$TMP" && "$BIN/cmxsafe" "$@"); }

tpm() { (cd "$TMP/tpm" && "$@") >>"$TMP/tools.log" 2>&1 || fail "$*"; }

# start_swtpm PORT: starts a software TPM with the state in $TMP/tpm. Sets SWTPM, its process ID.
start_swtpm() {
    swtpm socket --tpm2 --tpmstate "dir=$TMP/tpm" --server "type=tcp,port=$1,bindaddr=127.0.0.1" --ctrl "type=tcp,port=$(($1 + 1)),bindaddr=127.0.0.1" --flags startup-clear,not-need-init >>"$TMP/swtpm.log" 2>&1 &
    SWTPM=$!
    PIDS+=($SWTPM)
    wait_for 20 listening "$1" || fail "swtpm does not listen"
}

# start_tpm: starts a software TPM with private_key.bin at handle 0x81000100. Sets SWTPM_PORT, SWTPM and TPM2TOOLS_TCTI.
start_tpm() {
    mkdir "$TMP/tpm"
    SWTPM_PORT=$(free_port)
    until claim_port $((SWTPM_PORT + 1)); do SWTPM_PORT=$(free_port); done # tpm2-tss expects the control channel on the next port
    export TPM2TOOLS_TCTI="swtpm:host=127.0.0.1,port=$SWTPM_PORT" TSS2_LOG=all+none
    start_swtpm "$SWTPM_PORT"
    tpm tpm2_createprimary -C o -c primary.ctx
    tpm tpm2_import -C primary.ctx -G hmac -a 'userwithauth|sign|noda' -i "$TMP/private_key.bin" -u key.pub -r key.priv
    tpm tpm2_flushcontext -t
    tpm tpm2_load -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm tpm2_flushcontext -t
    tpm tpm2_evictcontrol -C o -c key.ctx 0x81000100
    tpm tpm2_flushcontext -t
    rm "$TMP/tpm/key.priv" "$TMP/tpm/key.pub"
}

# stop_swtpm: ends the software TPM, which breaks every connection to it; start_swtpm starts it again with the same key.
stop_swtpm() { stop "$SWTPM"; }

# start_board_with_bulk FLASH_US: starts a board with one session for attestation and for bulk data to service.py. Each
# read of 4 KB of flash takes at least FLASH_US microseconds. Sets remote and bulk, the two ports on the gateway.
start_board_with_bulk() {
    local service
    start_sshd </dev/null
    make_key
    make_flash $((4 << 20))
    cmx identity public --key private_key.bin | head -n 1 >>"$TMP/authorized_keys" || fail "identity public"
    service=$(free_port)
    bulk=$(free_port) remote=$(free_port)
    python3 "$ROOT/tests/e2e/service.py" "$service" 2>"$TMP/service.log" &
    PIDS+=($!)
    wait_for 20 listening "$service" || fail "the service does not start"
    export BULK="$service $bulk" FLASH_US=$1
    start_board --keyfile private_key.bin --gateway "$SSHD_PORT" "$SSHD_USER" "$PIN" "$remote"
    wait_for 60 listening "$remote" && wait_for 60 listening "$bulk" || fail "the contexts do not come up"
}
