"""A client of service.py for scenarios. Its exit status is not 0 if an answer is wrong.

usage: client.py PORT WHAT [N]
WHAT: the name of one of the functions below; N: a number for it."""
import hashlib
import os
import socket
import struct
import sys
import threading
import time

port, what = int(sys.argv[1]), sys.argv[2]
n = int(sys.argv[3]) if len(sys.argv) > 3 else 0
HOST = os.environ.get('CLIENT_HOST', '127.0.0.1')


def conn():
    return socket.create_connection((HOST, port), 120)


def all_of(s):
    out = bytearray()
    while data := s.recv(65536):
        out += data
    return bytes(out)


def echo(s, size):
    data = b'E' + os.urandom(size)
    sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
    sender.start()
    got = all_of(s)
    sender.join()
    assert got == data, (len(got), len(data))


def sink():  # sends to the device; the digest arrives after our half-close
    data = os.urandom(n)
    s = conn()
    s.sendall(b'S' + data)
    s.shutdown(socket.SHUT_WR)
    assert all_of(s).decode() == hashlib.sha256(data).hexdigest()


def source():  # receives from the device
    s = conn()
    s.sendall(b'G' + str(n).encode())
    assert all_of(s) == (bytes(range(256)) * (n // 256 + 1))[:n]


def many():
    conns = [conn() for _ in range(n)]
    errors = []

    def one(s):
        try:
            echo(s, 100000)
        except Exception as e:
            errors.append(repr(e))
    threads = [threading.Thread(target=one, args=(s,)) for s in conns]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors[:3]


def short():
    for _ in range(n):
        s = conn()
        s.sendall(b'Ex')
        assert s.recv(1) == b'E'
        s.close()


def leave():  # n times: reads a part of an endless answer, then resets the connection
    for i in range(n):
        s = conn()
        s.sendall(b'D')
        left = 500 * (i % 20 + 1)
        while left > 0:
            got = len(s.recv(min(left, 65536)))
            assert got
            left -= got
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.close()


def over():  # the service serves n connections; one more is closed at once
    held = [conn() for _ in range(n)]
    for s in held:
        s.sendall(b'E')
        assert s.recv(1) == b'E'
    s = conn()
    s.settimeout(20)
    assert s.recv(1) == b''


def refused():  # the gateway accepts the connection and closes it without a byte
    s = conn()
    s.settimeout(30)
    try:
        s.sendall(b'E')
        assert s.recv(1) == b''
    except ConnectionError:
        pass


def idle():  # sends one byte; the connection is then closed because it stays idle
    s = conn()
    s.settimeout(30)
    s.sendall(b'E')
    assert s.recv(1) == b'E'
    try:
        assert s.recv(1) == b''
    except ConnectionError:
        pass


def reset():  # resets a connection in use
    s = conn()
    s.sendall(b'G' + b'50000000')
    assert s.recv(1) == b'\0'
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()


def slow():  # reads n bytes, one per second, while the service sends much more
    s = conn()
    s.sendall(b'G' + b'50000000')
    for i in range(n):
        assert s.recv(1) == bytes([i % 256])
        time.sleep(1)


def hold():  # echoes for n seconds; fails if a byte is lost
    s = conn()
    end = time.monotonic() + n
    s.sendall(b'E')
    assert s.recv(1) == b'E'
    while time.monotonic() < end:
        data = os.urandom(64)
        s.sendall(data)
        got = b''
        while len(got) < 64:
            part = s.recv(64 - len(got))
            assert part, 'closed'
            got += part
        assert got == data
        time.sleep(0.02)


globals()[what]()
