"""Firmware images: ESP-IDF's format, the signature trailer of docs/OTA.md, and opaque files. Compare src/cmxsafe/ota.

check() accepts every image that a device accepts. It refuses the others for the fault that a device finds first, with the
same text."""
import functools
import hashlib
import hmac
import operator
import struct
import zlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from .errors import Malformed
from .identity import point
from .text import printable

CHIPS = {0x00: "ESP32", 0x02: "ESP32-S2", 0x05: "ESP32-C3", 0x09: "ESP32-S3", 0x0c: "ESP32-C2", 0x0d: "ESP32-C6",
         0x10: "ESP32-H2", 0x12: "ESP32-P4", 0x17: "ESP32-C5", 0x14: "ESP32-C61", 0x19: "ESP32-H21", 0x1c: "ESP32-H4"}
MAGIC = b"\xe9"
HEAD_LEN = 288  # header 24, first segment's header 8, application descriptor 256
SECTOR = 4096
SIZE_MAX = 0xffffffff - 4096
TRAILER_LEN, TRAILER_HEAD_LEN = 96, 32
TRAILER_MAGIC = b"CMXSIG\r\n"


@dataclass
class Description:
    """The description in an image."""
    chip_id: int
    segments: int
    secure_version: int
    version: str
    project: str
    time: str
    date: str
    idf: str

    @property
    def chip(self):
        return CHIPS.get(self.chip_id, "unknown chip")


@dataclass
class Trailer:
    """The signature at the end of an image."""
    signed_len: int
    key_id: bytes
    signature: bytes = b""

    def head(self):
        """Returns the part of the trailer that is signed."""
        return TRAILER_MAGIC + struct.pack("<BBHI8s8x", 1, 1, TRAILER_LEN, self.signed_len, self.key_id)

    def message(self, image_sha):
        return self.head() + image_sha

    @classmethod
    def parse(cls, data):
        """Parses a trailer. Raises Malformed, with an empty text if the data are not a trailer."""
        if len(data) != TRAILER_LEN or data[:8] != TRAILER_MAGIC:
            raise Malformed("")
        if data[8:10] != b"\x01\x01":
            raise Malformed("unknown signature version")
        trailer = cls(struct.unpack_from("<I", data, 12)[0], data[16:24], data[TRAILER_HEAD_LEN:])
        if trailer.head() != data[:TRAILER_HEAD_LEN]:
            raise Malformed("")
        return trailer


@dataclass
class Image:
    """A complete image."""
    size: int
    signed_len: int  # length of everything before the trailer
    digest: bytes    # SHA-256 of the first signed_len bytes
    description: Description | None = None  # None: opaque
    secure_boot: bool = False
    trailer: Trailer | None = None


# ---- keys ----

def key_id(public_key):
    return hashlib.sha256(point(public_key)).digest()[:8]


def parse_public_key(text):
    """Parses a P-256 key in PEM, or as 130 hex digits. Raises ValueError."""
    text = text.strip()
    if len(text) == 130:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(text))
    key = load_pem_public_key(text.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not P-256")
    return key


def sign(image, private_key):
    """Returns the trailer's bytes."""
    trailer = Trailer(image.signed_len, key_id(private_key.public_key()))
    r, s = decode_dss_signature(private_key.sign(trailer.message(image.digest), ec.ECDSA(hashes.SHA256())))
    return trailer.head() + r.to_bytes(32, "big") + s.to_bytes(32, "big")


def signature_matches(public_key, signature, message):
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        public_key.verify(der, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def check_signature(image, keys):
    """Raises Malformed unless one of the keys signed the image."""
    if not image.trailer:
        raise Malformed("not signed")
    signer = next((k for k in keys if key_id(k) == image.trailer.key_id), None)
    if image.trailer.signed_len != image.signed_len:
        raise Malformed("signature does not match")
    if not signer:
        raise Malformed("signer is not trusted")
    if not signature_matches(signer, image.trailer.signature, image.trailer.message(image.digest)):
        raise Malformed("signature does not match")


# ---- the format ----

class _Bytes:
    """Reads the image piece by piece. Raises Malformed if it ends within a piece."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def take(self, n):
        if self.left() < n:
            raise Malformed("ends too early")
        self.at += n
        return self.data[self.at - n:self.at]


def describe(data):
    """Returns the description in an image's first HEAD_LEN bytes, or None."""
    if len(data) < HEAD_LEN or data[:1] != MAGIC or data[32:36] != b"\x32\x54\xcd\xab":
        return None
    if struct.unpack_from("<I", data, 28)[0] < 256:
        return None
    chip, = struct.unpack_from("<H", data, 12)
    secure, = struct.unpack_from("<I", data, 36)
    text = [printable(data[a:a + n]) for a, n in ((48, 32), (80, 32), (112, 16), (128, 16), (144, 32))]
    return Description(chip, data[1], secure, *text)


def _header(raw, chip_id):
    segments, mode, speed, size = raw[1], raw[2], raw[3] & 0x0f, raw[3] >> 4
    if raw[:1] != MAGIC:
        raise Malformed("not an ESP-IDF application image")
    if not 1 <= segments <= 16 or mode > 5 or (speed > 2 and speed != 0x0f) or size > 7:
        raise Malformed("bad segment count or flash parameters")
    if chip_id is not None and struct.unpack_from("<H", raw, 12)[0] != chip_id:
        raise Malformed("for another chip")
    if raw[23] != 1:
        raise Malformed("no appended SHA-256")
    return segments


def _segment(reader, first):
    length, = struct.unpack("<4xI", reader.take(8))
    if length % 4 or length >= 16 << 20:
        raise Malformed("bad segment length")
    if first and length < 256:
        raise Malformed("no application descriptor")
    return length


def _segments(reader, count, secure_version_min):
    """Returns the description and the checksum of all segments' bytes."""
    checksum, description = 0xef, None
    for i in range(count):
        length = _segment(reader, i == 0)
        if i == 0:
            if reader.left() < 256:
                raise Malformed("ends too early")
            description = describe(reader.data)
            if not description:
                raise Malformed("no application descriptor")
            if description.secure_version < secure_version_min:
                raise Malformed("secure version is below the device's")
        data = reader.take(length)
        checksum = functools.reduce(operator.xor, data, checksum)
    return description, checksum


def _secure_boot_sector(reader):
    """Reads padding to the end of the sector, then Secure Boot v2's signature block. The bootloader verifies the signature."""
    pad = -reader.at % SECTOR
    if reader.data[reader.at:reader.at + pad].strip(b"\xff"):
        raise Malformed("bytes follow the image")
    reader.take(pad)
    block = reader.take(SECTOR)
    if block[0] != 0xe7 or block[1] not in (2, 3) or struct.unpack_from("<I", block, 1196)[0] != zlib.crc32(block[:1196]):
        raise Malformed("broken Secure Boot sector")


def _tail(reader, image):
    """Reads the data after the image: optionally a Secure Boot v2 sector, then our trailer."""
    first = reader.data[reader.at:reader.at + 1]
    if first == (b"\xff" if reader.at % SECTOR else b"\xe7"):
        _secure_boot_sector(reader)
        image.secure_boot = True
        first = reader.data[reader.at:reader.at + 1]
    image.signed_len = reader.at
    if first == TRAILER_MAGIC[:1]:
        try:
            image.trailer = Trailer.parse(reader.take(TRAILER_LEN))
        except Malformed as error:
            raise Malformed(str(error) or "bytes follow the image") from error
        if reader.left():
            raise Malformed("bytes follow the signature")
    elif first:
        raise Malformed("bytes follow the image")


def _check_esp(data, chip_id, secure_version_min):
    reader = _Bytes(data)
    count = _header(reader.take(24), chip_id)
    description, checksum = _segments(reader, count, secure_version_min)
    padding = reader.take(16 - reader.at % 16)
    if padding[:-1].strip(b"\0") or padding[-1] != checksum:
        raise Malformed("checksum does not match")
    expected = hashlib.sha256(data[:reader.at]).digest()
    if not hmac.compare_digest(reader.take(32), expected):
        raise Malformed("SHA-256 does not match")
    image = Image(len(data), 0, b"", description)
    _tail(reader, image)
    return image


def _check_opaque(data):
    image = Image(len(data), len(data), b"")
    try:
        image.trailer = Trailer.parse(data[-TRAILER_LEN:])
        image.signed_len -= TRAILER_LEN
    except Malformed as error:
        if str(error):
            raise
    return image


def check(data, opaque=False, chip_id=None, secure_version_min=0, keys=()):
    """Returns the image in data. Raises Malformed. chip_id None: any chip; without keys, signatures are not checked."""
    if len(data) > SIZE_MAX:
        raise Malformed("larger than the slot")
    if not data:
        raise Malformed("empty")
    image = _check_opaque(data) if opaque else _check_esp(data, chip_id, secure_version_min)
    image.digest = hashlib.sha256(data[:image.signed_len]).digest()
    if keys:
        check_signature(image, keys)
    return image
