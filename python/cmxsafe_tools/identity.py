"""A device's keys and name, all derived from its 32-byte hardware key (docs/ATTESTATION.md). Compare identity.c."""
import base64
import hmac
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .errors import Failure
from .text import read_small, read_text, to_json

P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
UEID_LEN, POINT_LEN = 33, 65
ATTEST_KEY_TYPE = "cmxsafe-attest-1"
KEY_FILE_MAX = 64 * 1024
SSH_KEY_TYPE, SSH_CURVE = b"ecdsa-sha2-nistp256", b"nistp256"
KEY_TODO = "use --key to give the file with the hardware key that was burned into the device"


def derive(key, label, counter=0):
    """Returns HMAC-SHA256 over 32 bytes: the label, zeros and the counter. The chip's peripheral computes the same."""
    return hmac.digest(key, label.encode().ljust(31, b"\0") + bytes([counter]), "sha256")


def derive_p256(key, label):
    """Derives a private key by FIPS 186-5 A.2.2: candidates are tested until one is in [1, n-1]."""
    for counter in range(256):
        scalar = int.from_bytes(derive(key, label, counter), "big")
        if 0 < scalar < P256_ORDER:
            return ec.derive_private_key(scalar, ec.SECP256R1())
    raise Failure("can't derive the identity", "internal error")


def point(public_key):
    """Returns the public point: 0x04 || X || Y."""
    return public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def ueid(key):
    return b"\x01" + derive(key, "cmxsafe ueid 1")


def evidence_key(key):
    """Returns the key of the MAC over evidence. Its holder can forge MACed evidence."""
    return derive(key, "cmxsafe evidence mac 1")


def device_name(device_ueid):
    return "cmxsafe-" + device_ueid[1:7].hex()


def ssh_blob(key):
    parts = SSH_KEY_TYPE, SSH_CURVE, point(derive_p256(key, "cmxsafe ssh ecdsa-p256 1").public_key())
    return b"".join(struct.pack(">I", len(p)) + p for p in parts)


def ssh_line(key):
    """Returns the line for authorized_keys."""
    return f"{SSH_KEY_TYPE.decode()} {base64.b64encode(ssh_blob(key)).decode()} {device_name(ueid(key))}"


@dataclass
class AttestKey:
    """What a verifier of signed evidence holds. Evidence cannot be forged with it."""
    ueid: bytes
    public: bytes     # point of the key that signs evidence
    appraisal: bytes  # key of the digests in signed evidence

    @classmethod
    def from_hwkey(cls, key):
        signer = derive_p256(key, "cmxsafe attest ecdsa-p256 1")
        return cls(ueid(key), point(signer.public_key()), derive(key, "cmxsafe appraisal 1"))

    def line(self):
        data = base64.b64encode(self.ueid + self.public + self.appraisal).decode()
        return f"{ATTEST_KEY_TYPE} {data} {device_name(self.ueid)}"

    @classmethod
    def from_line(cls, line):
        """Returns None if the line is not an attestation key."""
        words = line.split()
        if len(words) < 2 or words[0] != ATTEST_KEY_TYPE:
            return None
        try:
            data = base64.b64decode(words[1] + "=" * (-len(words[1]) % 4), validate=True)
        except ValueError:
            return None
        if len(data) != UEID_LEN + POINT_LEN + 32 or data[0] != 1 or data[UEID_LEN] != 4:
            return None
        return cls(data[:UEID_LEN], data[UEID_LEN:-32], data[-32:])


def read_hwkey(path):
    wrong = "is not 32 bytes long"
    key = read_small(path, KEY_FILE_MAX, KEY_TODO, wrong)
    if len(key) != 32 and ATTEST_KEY_TYPE.encode() + b" " in key:
        raise Failure(path, "holds public keys, not the device's 32-byte hardware key", KEY_TODO)
    if len(key) != 32:
        raise Failure(path, wrong, KEY_TODO)
    return key


def read_attest_key(path):
    todo = "make it with: cmxsafe-tools identity public --key private_key.bin"
    lines = read_text(path, todo, KEY_FILE_MAX, "replace").split("\n")
    found = next(filter(None, map(AttestKey.from_line, lines)), None)
    if not found:
        raise Failure(path, f"holds no line that begins with {ATTEST_KEY_TYPE}", todo)
    return found


def run_public(args):
    key = read_hwkey(args.key)
    lines = {"authorized_key": ssh_line(key), "attest_key": AttestKey.from_hwkey(key).line(), "ueid": ueid(key).hex()}
    if args.json:
        print(to_json(lines))
    else:
        print(lines["authorized_key"], lines["attest_key"], "ueid " + lines["ueid"], sep="\n")


def add_commands(commands):
    parser = commands.add_parser("identity", help="compute a device's public identity from its hardware key")
    public = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "public", help="print the SSH key, attestation key and ueid that belong to a private_key.bin")
    public.add_argument("--key", type=Path, metavar="FILE", default=Path("private_key.bin"),
                        help="the 32 bytes of BLOCK_KEY3 (default: %(default)s)")
    public.add_argument("--json", action="store_true", help="print one JSON object")
    public.set_defaults(run=run_public)
