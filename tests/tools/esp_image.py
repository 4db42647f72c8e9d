"""Copies an ESP-IDF application image and changes its version and, with --replace, one text to another text of the same
length: esp_image.py IN OUT --version V [--replace OLD=NEW]. Then computes the checksum and the SHA-256
at the end of the image again."""
import argparse
import hashlib
import struct
from pathlib import Path

HEADER, SEGMENT, VERSION_AT = 24, 8, 24 + 8 + 16  # the first segment begins with the application descriptor

p = argparse.ArgumentParser()
p.add_argument("source", type=Path)
p.add_argument("out", type=Path)
p.add_argument("--version", required=True)
p.add_argument("--replace", default="")
args = p.parse_args()
image = bytearray(args.source.read_bytes())
image[VERSION_AT:VERSION_AT + 32] = args.version.encode().ljust(32, b"\0")
if args.replace:
    old, new = (text.encode() + b"\0" for text in args.replace.split("="))
    assert len(old) == len(new) and image.count(old) == 1, "the text does not occur exactly once"
    image = bytearray(image.replace(old, new))
at, checksum = HEADER, 0xEF
for _ in range(image[1]):
    size = struct.unpack_from("<I", image, at + 4)[0]
    for byte in image[at + SEGMENT:at + SEGMENT + size]:
        checksum ^= byte
    at += SEGMENT + size
end = at // 16 * 16 + 15
image[end] = checksum
image[end + 1:] = hashlib.sha256(image[:end + 1]).digest()
args.out.write_bytes(image)
