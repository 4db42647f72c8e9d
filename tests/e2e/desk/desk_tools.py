"""Passes the same broken images, manifests and tokens to the C program and to the Python tools, and compares the messages.

usage: desk_tools.py CMXSAFE FOLDER SEED COUNT"""
import os
import random
import subprocess
import sys
from pathlib import Path

from in_process import run

program, folder, seed, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
os.chdir(folder)


def by_c(arguments):
    c = subprocess.run([program, *arguments], capture_output=True, check=False)
    assert c.returncode in (0, 1, 2), c
    return c.returncode, c.stdout.decode("latin-1"), c.stderr.decode("latin-1")


def by_python(arguments):
    status, out, err = run(arguments)
    return status, out, err.replace("cmxsafe-tools", "cmxsafe")


def alike(outcome):
    """Returns the outcome with "malformed" in place of "the data ends too early": either is right for broken CBOR."""
    return *outcome[:2], outcome[2].replace("evidence: the data ends too early", "evidence: malformed")


def compare(arguments, what):
    c, python = alike(by_c(arguments)), alike(by_python(arguments))
    if c != python:
        sys.exit(f"seed {seed}: {what}: cmxsafe {' '.join(arguments)}\n  C      {c}\n  Python {python}")
    return c[0]


def mutate(data):
    """Changes data in one to three places: replaces a byte, cuts off the end, inserts a byte or repeats a piece."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.choice((rng.randrange(len(data)), rng.randrange(min(400, len(data))), len(data) - rng.randrange(1, min(300, len(data) + 1))))
        kind = rng.randrange(5)
        if kind < 2:
            data[at] = rng.choice((data[at] ^ 1 << rng.randrange(8), rng.randrange(256)))
        elif kind == 2:
            del data[max(at, 1):]
        elif kind == 3:
            data[at:at] = rng.choice((b" ", b"#", b'"', b"\\", b"\0", b"\xff", b"0x", b"\n", b"\r", bytes([rng.randrange(256)])))
        else:
            data[at:at] = data[at:at + rng.randrange(1, 40)]
    return bytes(data)


HEADER = 24 + 8 + 8  # the headers of the image and of its first segment, and the first 8 bytes of the application descriptor
image = Path("s.bin").read_bytes()
for at in range(HEADER):
    Path("image.fuzz").write_bytes(image[:at] + bytes([image[at] ^ 0xff]) + image[at + 1:])
    compare(["image", "verify", "--key", "k.hex", "--chip", "esp32c3", "image.fuzz"], f"byte {at} of the header")

ACCEPTED = {}
for i in range(count):
    Path("image.fuzz").write_bytes(mutate(Path(rng.choice(("a.bin", "s.bin", "sb.bin", "both.bin"))).read_bytes()))
    results = [compare(["image", "info", "--json", "image.fuzz"], "image")]
    results += [compare(["image", "verify", "--key", "k.hex", "--chip", "esp32c3", "image.fuzz"], "image")]
    compare(["image", "info", "--opaque", "image.fuzz"], "opaque image")
    Path("manifest.fuzz").write_bytes(mutate(Path("manifest").read_bytes()))
    results += [compare(["attest", "--evidence", "--manifest", "manifest.fuzz", "--token", "token", "--nonce", "00" * 32], "manifest")]
    Path("token.fuzz").write_bytes(mutate(Path("token").read_bytes()))
    compare(["attest", "--evidence", "--manifest", "manifest", "--token", "token.fuzz", "--nonce", "00" * 32], "token")
    Path("signed.fuzz").write_bytes(mutate(Path("signed").read_bytes()))
    compare(["attest", "--evidence", "--manifest", "manifest", "--token", "signed.fuzz", "--nonce", "00" * 32, "--attest-key", "device.pub"],
            "signed token")
    for name, result in zip(("image", "signature", "manifest"), results):
        ACCEPTED[name] = ACCEPTED.get(name, 0) + (result == 0)
print(f"{count} rounds alike; accepted: {ACCEPTED}")
