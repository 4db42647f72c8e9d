#!/usr/bin/env python3
"""Computes the attestation value that a device must answer, from its flash image and its key.

    python3 remote_attestation.py CHALLENGE [--image firmware.bin] [--key private_key.bin]

firmware.bin holds the flash from 0x010000 to the end of the chip (for 4 MB:
esptool read_flash 0x10000 0x3F0000 firmware.bin). private_key.bin holds the 32 bytes burned into BLOCK_KEY3.
Prints one line, which ends with the value. A device with this key and this flash answers
GET /hash?challenge=CHALLENGE with the same value. Needs only Python's standard library.
"""
import argparse
import errno
import hmac
import os
import stat
import sys

CHUNK = 4096
IMAGE_MAX = (1 << 32) - 1  # flash offsets have 32 bits
CHALLENGE_MAX = 512


def attestation_value(image, key, challenge):
    """image: a binary file object. H begins as 32 zero bytes; for each chunk, H = HMAC-SHA256(key, H + chunk + challenge)."""
    value = bytes(32)
    while chunk := image.read(CHUNK):
        value = hmac.digest(key, value + chunk + challenge, "sha256")
    return value


def open_regular(path):
    """Opens a regular file for reading. Refuses other kinds: a FIFO waits for its writer, and /dev/zero never ends."""
    file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    info = os.fstat(file.fileno())
    if not stat.S_ISREG(info.st_mode) or info.st_size > IMAGE_MAX:
        file.close()
        raise OSError(errno.EINVAL, "is not a regular file of at most 4 GB")
    return file


def fail(what, why, todo):
    print(f"remote_attestation.py: {what}: {why}; {todo}", file=sys.stderr)
    sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description="Compute the expected answer of a device's /hash.")
    parser.add_argument("challenge", metavar="CHALLENGE", help="the text sent to the device, 1 to 512 bytes in UTF-8")
    parser.add_argument("--image", default="firmware.bin", help="flash from 0x010000 to its end (default: %(default)s)")
    parser.add_argument("--key", default="private_key.bin", help="the device's 32-byte key (default: %(default)s)")
    args = parser.parse_args()
    challenge = args.challenge.encode("utf-8", "surrogateescape")
    if not 1 <= len(challenge) <= CHALLENGE_MAX:
        parser.error(f"the challenge has {len(challenge)} bytes; 1 to {CHALLENGE_MAX} are possible")
    try:
        with open(args.key, "rb") as file:
            key = file.read(33)
    except OSError as error:
        fail(f"key '{args.key}'", error.strerror, "give the file burned into the device with --key")
    if len(key) != 32:
        fail(f"key '{args.key}'", "is not 32 bytes long", "give the file burned into the device with --key")
    try:
        with open_regular(args.image) as image:
            value = attestation_value(image, key, challenge)
    except OSError as error:
        fail(f"image '{args.image}'", error.strerror, "give the flash from 0x010000 on with --image")
    if value == bytes(32):
        fail(f"image '{args.image}'", "is empty", "read it with esptool read_flash 0x10000 SIZE")
    if not sys.stdout:
        fail("output", "it is closed", "the value was not written")
    try:
        print(f"Final Firmware HMAC: {value.hex()}", flush=True)
    except OSError as error:
        fail("output", error.strerror, "the value was not written")


if __name__ == "__main__":
    main()
