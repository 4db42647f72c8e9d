"""Runs `cmxsafe-tools update` and `attest` against a service whose answers are hostile. Run it in a folder with app.bin and
private_key.bin."""
import contextlib
import json
import socket
import sys
import threading
import time

import cbor2
from cmxsafe_tools import device_http, evidence, update
from cmxsafe_tools.errors import Malformed
from in_process import run

ESC = "\x1b[2J"
STATUS = {"state": "idle", "boot": "b1", "running": {"version": "1", "slot": "ota_0", "confirmed": True}}
SERVER = socket.create_server(("127.0.0.1", 0))
URL = f"http://127.0.0.1:{SERVER.getsockname()[1]}"
answer = None  # the bytes that the service sends, or a function that sends them to the socket it gets


def serve():
    while True:
        s, _ = SERVER.accept()
        with s, contextlib.suppress(OSError):
            s.settimeout(30)
            while b"\r\n\r\n" not in s.recv(65536):
                pass
            if callable(answer):
                answer(s)
            else:
                s.sendall(answer)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass


def body(value, status=200, head=""):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return f"HTTP/1.1 {status} x\r\n{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def fails(what, sent, text, *arguments):
    """Expects that the command fails with the text, prints nothing that controls a terminal, and raises nothing."""
    global answer
    answer = sent
    status, out, err = run(arguments)
    said = out + err
    if status != 1 or text not in said or not all(c == "\n" or c.isprintable() for c in said):
        sys.exit(f"{what}: exit status {status}, no '{text}': {said!r}")


threading.Thread(target=serve, daemon=True).start()
look = ("update", "--url", URL, "app.bin")
foreign = "not an update service"
for status in (b"[" * 5000, b"17", b"null", b'"x"', b"\xff", b"9" * 6000, {}, {"state": 1, "boot": "b"}, {"state": "idle", "boot": ["b"]}):
    fails(f"the status {status!r:.60}", body(status), foreign, *look)
for words in (b"error: " + ESC.encode() + b"\x9b", ESC.encode() + b"\r\nmore"):
    fails("a refusal with control characters", body(words, 403), "the device refused: ?[2J", *look)
fails("no HTTP", b"\x00" * 100 + b"\r\n\r\n", "no HTTP answer", *look)
fails("a short answer", body(b"x" * 100)[:-50], "shorter than announced", *look)
fails("a long answer", body(b"x" * (1 << 17)), "too long", *look)
fails("no answer", b"", "connection closed without an answer", *look)
with socket.create_server(("127.0.0.1", 0)) as closed:
    port = closed.getsockname()[1]
fails("no service", b"", "Connection refused", "update", "--url", f"http://127.0.0.1:{port}", "app.bin")
attest = ("attest", "--url", URL, "--image", "app.bin", "--timeout", "1")
fails("a silent device", lambda s: time.sleep(3), "timed out", *attest)


def drip(head):
    def send(s):
        s.sendall(head)
        for _ in range(64):
            time.sleep(0.5)
            s.sendall(b"0")
    return send


for head in (b"HTTP/1.1 200 x\r\nContent-Length: 64\r\n\r\n", b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200"):
    began = time.monotonic()
    fails("an answer without an end", drip(head), "timed out", *attest)
    if time.monotonic() - began > 15:
        sys.exit(f"an answer without an end is read for too long: {head}")

parsed = update.Status.parse(json.dumps(
    {"state": ESC, "boot": "b", "running": {"version": f"1{ESC}\u009b\ud800", "slot": 7, "offset": -1, "confirmed": "false"},
     "received": 1.5, "total": 2**40, "crc32": None, "error": ["x"], "rolled_back": "x"}))
if parsed != update.Status("?[2J", "b", "1?[2J??"):
    sys.exit(f"a status with wrong types: {parsed}")

for error in (OverflowError, ArithmeticError, OSError, KeyError, AttributeError):
    def raises(*_, kind=error):
        raise kind("x")
    loads, cbor2.loads = cbor2.loads, raises
    try:
        evidence.decode_exactly(b"\x00")
    except Malformed:
        pass
    finally:
        cbor2.loads = loads

answer = body(b"", 503, f"Retry-After: {'9' * 6000}\r\n")
if device_http.exchange(URL, "/").retry_s:
    sys.exit("a time that is too long is accepted")
