#!/usr/bin/env bash
# For bench/attest.sh: measures how much /hash requests slow down a bulk transfer in the same session. Each request is for
# 4 MB of flash, and the requests follow one another without a pause. A ratio is the rate of the transfer with these
# requests, divided by its rate without them. Prints the ratios of five pairs of transfers, one per line.
# attest_meanwhile.sh FLASH_US: the minimum time of each read of 4 KB of flash.
. "$(dirname "$0")/../tests/e2e/lib.sh"
. "$(dirname "$0")/../tests/e2e/attest_lib.sh"
start_board_with_bulk "$1"
python3 - "$remote" "$bulk" <<'PY'
import socket, sys, threading, time, urllib.request
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
for i in range(5):
    asking.clear()
    time.sleep(0.5)  # so that a /hash request in progress can end
    alone = rate(s, 1.5)
    asking.set()
    print(f"{rate(s, 1.5) / alone:.3f}")
PY
