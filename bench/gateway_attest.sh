#!/usr/bin/env bash
# Measures the gateway's worker: how fast it attests CMX_FLEET (1,000) devices, up to 8 at a time, and how soon a
# stream ends after its device's evidence expires. Prints one line per figure: name value aim ok|short [rounds].
#
#   gateway_attest_per_s       devices per second whose signed evidence over 4 MB of flash was checked and stored
#   gateway_attest_worker_mb   the most memory that the worker itself used
#   gateway_quarantine_s       from the moment the registry marks evidence as expired to the last byte of a stream
#                              (gateway_quarantine.sh; needs root)
#
# One simulated board inside the gateway's namespace answers for all devices. It shares the machine with the worker, so a line that
# begins with '#' gives the processor time of the worker.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=${CMX_BIN:-$CMX_ROOT/build/bin}
. "$here/../tests/e2e/lib.sh"
. "$here/../tests/e2e/gateway_lib.sh"
. "$here/../tests/e2e/attest_lib.sh"
. "$here/lib.sh"
install_packages socat jq sqlite3 nftables iproute2 >/dev/null
need_namespaces
N=${CMX_FLEET:-1000}
ticks() { awk '{ print $14 + $15 + $16 + $17 }' "/proc/$1/stat"; } # ticks of the process and of its ended children
db() { sql "$GW/registry.db" "$1"; }

make_key
make_flash $((4 << 20))
head -c $((0x80000)) "$TMP/firmware.bin" >"$TMP/app.bin"
cmx image manifest --end 0x3f0000 app.bin >"$TMP/manifest" || fail "manifest"
cmx identity public --key private_key.bin >"$TMP/device.pub" || fail "identity public"
start_gateway
python3 - "$N" >"$TMP/many.csv" <<'PY'
import base64, os, struct, sys
print("name,key,ports,group")
for i in range(int(sys.argv[1])):
    blob = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + os.urandom(32)
    print(f'many-{i},ssh-ed25519 {base64.b64encode(blob).decode()},"81,8888",many')
PY
gw import "$TMP/many.csv" >/dev/null || fail "import"
db "UPDATE device SET attest_key = '$(grep '^cmxsafe-attest-1 ' "$TMP/device.pub")'" || fail "attestation keys"
PORT=$(free_port)
(cd "$TMP" && exec "$BIN/cmxsafe" gateway exec -- "$BIN/attest_board" flash.bin "$PORT" --keyfile private_key.bin) >"$TMP/board.out" 2>"$TMP/board.log" &
PIDS+=("$!")
wait_for 20 grep -q listening "$TMP/board.out" || fail "no board"
inside socat TCP6-LISTEN:8888,fork,reuseaddr,backlog=512 "TCP:127.0.0.1:$PORT" 2>>"$TMP/socat.log" & PIDS+=("$!")
sleep 1
WORKER=$(pgrep -f "^[^ ]*cmxsafe gateway worker --dir $GW\$") || fail "no worker"
trusted() { [ "$(db "SELECT count(*) FROM evidence WHERE trusted = 1")" -ge "$1" ]; }
before=$(ticks "$WORKER"); start=$(date +%s%N)
gw policy set @many --manifest "$TMP/manifest" --max-age 1h --enforce yes >/dev/null || fail "policy set"
last=$start had=0
for part in 1 2 3 4 5; do # each round checks a fifth of the devices
    wait_for 600 trusted $((N * part / 5)) || fail "only $(db "SELECT count(*) FROM evidence WHERE trusted = 1") of $N are trusted: $(gw policy show | head -n 3)"
    now=$(date +%s%N) has=$(db "SELECT count(*) FROM evidence WHERE trusted = 1")
    [ "$has" -gt "$had" ] || continue
    awk "BEGIN { printf \"%.1f\n\", ($has - $had) / (($now - $last) / 1e9) }" >>"$TMP/rates"
    last=$now had=$has
done
seconds=$(awk "BEGIN { print ($last - $start) / 1e9 }")
figure gateway_attest_per_s "$(ratio "$N" "$seconds")" '>=' 50 "$(commas <"$TMP/rates")"
printf '# %s devices in %.1f s; the worker and its checks used %.1f s of processor time\n' "$N" "$seconds" \
    "$(awk "BEGIN { print ($(ticks "$WORKER") - $before) / $(getconf CLK_TCK) }")"
figure gateway_attest_worker_mb "$(awk '/VmHWM/ { printf "%.1f", $2 / 1024 }' "/proc/$WORKER/status")" '<=' 64

# Only a system gateway has the packet filter that cuts live connections.
stop_gateway
bash "$here/gateway_quarantine.sh"
