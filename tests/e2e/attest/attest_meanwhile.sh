# While /hash computes over 4 MB as slowly as a chip's flash allows, the other context of the same session continues:
# round trips begin and end within each computation, and the bytes of a bulk transfer arrive in order. The test has no
# time limits: it compares the longest gap between round trips with the duration of the computation in which it occurs.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../attest_lib.sh"
start_board_with_bulk 250

python3 - "$remote" "$bulk" 6 >"$TMP/out" <<'PY' || { cat "$TMP/out"; fail "the other context stalls while /hash computes"; }
import socket, statistics, sys, threading, time, urllib.request
attest, bulk, rounds = (int(x) for x in sys.argv[1:])
pattern = bytes(range(256)) * 512
got = 0
beats = []  # times at which round trips ended
errors = []


def read_bulk():
    global got
    s = socket.create_connection(("127.0.0.1", bulk))
    s.sendall(b"G999999999999999")
    while data := s.recv(65536):
        at = got % 256
        if data != pattern[at:at + len(data)]:
            errors.append(f"bulk differs near byte {got}")
            return
        got += len(data)


def beat():
    s = socket.create_connection(("127.0.0.1", bulk))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        s.sendall(b"x")
        if s.recv(1) != b"x":
            errors.append("the echo ended")
            return
        beats.append(time.monotonic())


for f in (read_bulk, beat):
    threading.Thread(target=f, daemon=True).start()
while not (got and beats) and not errors:
    time.sleep(0.01)
values, gaps = set(), []
for i in range(rounds):
    before, start = got, time.monotonic()
    values.add(urllib.request.urlopen(f"http://127.0.0.1:{attest}/hash?challenge=meanwhile", timeout=120).read())
    end = time.monotonic()
    within = [start] + [t for t in beats if start < t < end] + [end]
    gap = max(b - a for a, b in zip(within, within[1:])) / (end - start)
    print(f"/hash {i}: {len(within) - 2} round trips, {got - before} bytes, longest gap {gap:.2f} of its time", flush=True)
    gaps.append(gap)
    assert len(within) - 2 >= 3 and got > before, "no data was transferred during a computation"
assert not errors, errors
assert len(values) == 1, "values differ"
# In at least half of the computations the longest gap must be short. The test allows long gaps in the others, because
# other work on the machine also causes gaps.
assert statistics.median(gaps) < 0.5, gaps
PY
cat "$TMP/out"
stop_board
ok "the session's other context continues while /hash computes"
