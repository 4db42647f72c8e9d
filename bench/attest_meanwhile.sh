#!/usr/bin/env bash
# For bench/attest.sh: prints the rate of a bulk transfer through the session that also carries the attestation, while /hash over
# 4 MB is asked without a pause, over its rate alone: the median of five pairs. attest_meanwhile.sh FLASH_US: how long each read
# of 4 KB of flash takes at least.
. "$(dirname "$0")/../tests/e2e/lib.sh"
. "$(dirname "$0")/../tests/e2e/attest_lib.sh"
start_sshd </dev/null
make_key
make_flash $((4 << 20))
cmx identity public --key private_key.bin | head -n 1 >>"$TMP/authorized_keys" || fail "identity public"
service=$(free_port) bulk=$(free_port) remote=$(free_port)
python3 "$ROOT/tests/e2e/service.py" "$service" &
PIDS+=($!)
wait_for 20 listening "$service" || fail "the service does not start"
export BULK="$service $bulk" FLASH_US=$1
start_board --keyfile private_key.bin --gateway "$SSHD_PORT" "$SSHD_USER" "$PIN" "$remote"
wait_for 60 listening "$remote" && wait_for 60 listening "$bulk" || fail "the contexts do not come up"
python3 - "$remote" "$bulk" <<'PY'
import socket, statistics, sys, threading, time, urllib.request
attest, bulk = (int(x) for x in sys.argv[1:])
asking, end = threading.Event(), False


def ask():
    while asking.wait() and not end:
        urllib.request.urlopen(f"http://127.0.0.1:{attest}/hash?challenge=meanwhile", timeout=120).read()


def rate(s, seconds):
    got, start = 0, time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        got += s.recv_into(buffer)
    return got / (now - start)


buffer = bytearray(1 << 18)
s = socket.create_connection(("127.0.0.1", bulk))
s.sendall(b"G999999999999999")
rate(s, 1)
threading.Thread(target=ask, daemon=True).start()
ratios = []
for i in range(5):
    asking.clear()
    time.sleep(0.5)  # the answer under way
    alone = rate(s, 1.5)
    asking.set()
    ratios.append(rate(s, 1.5) / alone)
print(f"{statistics.median(ratios):.2f}")
PY
