"""Evidence: a device's Entity Attestation Token (RFC 9711), verified and appraised. Compare src/cmxsafe/attest/evidence_token.c,
claims_decode.c, gateway/verify/verify.c and appraise.c."""
import hashlib
import hmac
import re
import struct
from dataclasses import dataclass

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

from .errors import Malformed
from .esp_image import signature_matches
from .identity import AttestKey, evidence_key, ueid
from .manifest import RANGES_MAX, chunks

PROFILE = "tag:cmxsafe.eu,2025:evidence-3"
MEDIA_TYPE = "application/eat+cwt"
NONCE_MIN, NONCE_MAX, SESSION_MAX, TOKEN_MAX = 8, 64, 64, 2048
KEY_HOLDERS = "none", "efuse", "tpm", "software"
FLASH_ENCRYPTION = "off", "development", "release"
DEBUG_STATES = ("enabled", "disabled", "disabled-since-boot", "disabled-permanently", "disabled-fully-and-permanently")


# ---- the token ----

# Up to the ueid, each kind of envelope has only one encoding. MAC: 61(17([<<{1: 5}>>, {4: ueid}, ...
# Signature: 61(18([<<{1: -7}>>, {4: ueid}, ...
ENVELOPE = {False: bytes.fromhex("d83dd18443a10105a1045821"), True: bytes.fromhex("d83dd28443a10126a1045821")}
CONTEXT = {False: "MAC0", True: "Signature1"}
PROTECTED = {False: b"\xa1\x01\x05", True: b"\xa1\x01\x26"}


def decode_exactly(data):
    """Returns the only item in data. Raises Malformed unless its encoding is deterministic and no key occurs twice."""
    try:
        value = cbor2.loads(data)
        encoded = cbor2.dumps(value)
    except cbor2.CBORDecodeEOF:
        raise Malformed("the data ends too early") from None
    except Exception:  # older versions of cbor2 raise exceptions of many types, such as OverflowError and OSError
        raise Malformed("malformed") from None
    if encoded != data:
        raise Malformed("malformed")
    return value


def split_token(token, signed):
    """Returns the ueid in the header, the payload and the proof."""
    head = ENVELOPE[signed]
    if len(token) < len(head) + 33:
        raise Malformed("the data ends too early")
    if not token.startswith(head):
        raise Malformed("malformed")
    rest = decode_exactly(b"\x82" + token[len(head) + 33:])
    if [type(item) for item in rest] != [bytes, bytes] or len(rest[1]) != (64 if signed else 32):
        raise Malformed("malformed")
    return token[len(head):len(head) + 33], rest[0], rest[1]


class Verifier:
    """A key, and the kind of proof that it verifies: a MAC or a signature."""

    def __init__(self, key):
        """key: the 32-byte hardware key, or an AttestKey for signed evidence."""
        self.signed = isinstance(key, AttestKey)
        self.ueid = key.ueid if self.signed else ueid(key)
        self.proof_key = key.public if self.signed else evidence_key(key)
        self.digest_key = key.appraisal if self.signed else self.proof_key

    def authentic(self, payload, proof):
        message = cbor2.dumps([CONTEXT[self.signed], PROTECTED[self.signed], b"", payload])
        if not self.signed:
            return hmac.compare_digest(hmac.digest(self.proof_key, message, "sha256"), proof)
        try:
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.proof_key)
        except ValueError:
            raise Malformed("the public key is not a point on the curve") from None
        return signature_matches(public, proof, message)

    def claims(self, token):
        """Returns the claims of an authentic token. Raises Malformed, or ForeignToken if the proof does not match."""
        header_ueid, payload, proof = split_token(token, self.signed)
        if not self.authentic(payload, proof):
            raise ForeignToken(f"the {'signature' if self.signed else 'MAC'} does not match: the token was not made "
                               "with this key, or was changed on the way")
        claims = decode_claims(payload)
        if claims["ueid"] != header_ueid:
            raise Malformed("malformed")
        return claims


class ForeignToken(Malformed):
    """The token was made with another key, or was changed."""


# ---- the claims ----

def _bytes(low, high):
    return lambda v: v if isinstance(v, bytes) and low <= len(v) <= high else None


def _uint(high):
    return lambda v: v if type(v) is int and 0 <= v <= high else None


def _word(words):
    return lambda v: words[v] if type(v) is int and 0 <= v < len(words) else None


def _bool(v):
    return v if isinstance(v, bool) else None


def _name(v):
    return v if isinstance(v, str) and re.fullmatch("[ -~]{0,63}", v) else None


def _name_bytes(v):
    return _name(v.decode("latin-1")) if isinstance(v, bytes) else None


def _version(v):
    return _name(v[0]) if isinstance(v, list) and len(v) == 1 else None


def _measured(v):
    if not isinstance(v, list) or len(v) > RANGES_MAX:
        return None
    for m in v:
        if not isinstance(m, list) or len(m) != 3 or None in (_uint(2**32 - 1)(m[0]), _uint(2**32 - 1)(m[1])):
            return None
        if m[0] >= m[1] or _bytes(32, 32)(m[2]) is None:
            return None
    return [tuple(m) for m in v]


# (number, name, reader, optional), in the order that the profile requires. A reader refuses a value by returning None.
CLAIMS = [
    (10, "nonce", _bytes(NONCE_MIN, NONCE_MAX), False),
    (256, "ueid", _bytes(33, 33), False),
    (259, "hwmodel", _name_bytes, False),
    (262, "oemboot", _bool, False),
    (263, "dbgstat", _word(DEBUG_STATES), False),
    (265, "profile", lambda v: v if v == PROFILE else None, False),
    (267, "bootcount", _uint(2**32 - 1), False),
    (268, "bootseed", _bytes(32, 32), False),
    (270, "swname", _name, False),
    (271, "swversion", _version, False),
    (-75001, "key", _word(KEY_HOLDERS), False),
    (-75002, "slot", _name, False),
    (-75003, "slot_state", _name, False),
    (-75004, "secure_version", _uint(2**32 - 1), False),
    (-75005, "flash_encryption", _word(FLASH_ENCRYPTION), False),
    (-75006, "flash_size", _uint(2**32 - 1), False),
    (-75007, "isolation", _bool, False),
    (-75008, "policy", _bytes(32, 32), True),
    (-75009, "gateway", _bytes(32, 32), True),
    (-75010, "session", _bytes(1, SESSION_MAX), True),
    (-75011, "measured", _measured, False),
    (-75012, "key_exchange", lambda v: _name(v) or None, True),
]


def decode_claims(payload):
    """Returns the claims by name. Raises Malformed, also for a claim that the profile does not know: the verdict would not cover it."""
    found = decode_exactly(payload)
    if not isinstance(found, dict):
        raise Malformed("malformed")
    expected = [number for number, _, _, optional in CLAIMS if not optional or number in found]
    if list(found) != expected or any(type(number) is not int for number in found):
        raise Malformed("malformed")
    claims = {name: read(found[number]) if number in found else b"" for number, name, read, _ in CLAIMS}
    if any(value is None for value in claims.values()):
        raise Malformed("malformed")
    return claims


# ---- measurements ----

def measure(reference, key, nonce, begin, end):
    """Returns the digest of one flash range. Raises LookupError if the reference does not contain it."""
    head = b"cmxsafe measurement 3\0" + struct.pack(">II", begin, end)
    h = hashlib.sha256(hmac.digest(key, head + nonce, "sha256"))
    for b, e in chunks(begin, end):
        chunk = reference.bytes_at(b, e)
        h.update(b"\x00" + chunk if chunk.strip(b"\xff") else b"\x01")
    return h.digest()


# ---- the appraisal ----

@dataclass
class Check:
    name: str
    result: str  # "ok", "FAILED", "not asked"
    found: str


@dataclass
class Expectation:
    nonce: bytes
    manifest: object
    reference: object
    gateway: bytes | None = None
    session: bytes | None = None


class Verdict:
    """The outcome of each check. ok is true if there is at least one check and none failed."""

    def __init__(self):
        self.checks = []

    @property
    def ok(self):
        return bool(self.checks) and not any(c.result == "FAILED" for c in self.checks)

    def add(self, name, wanted, holds, found):
        self.checks.append(Check(name, "not asked" if not wanted else "ok" if holds else "FAILED", str(found)))

    def add_bytes(self, name, found, wanted):
        holds = wanted is not None and hmac.compare_digest(found, wanted)
        self.add(name, wanted is not None, holds, found[:32].hex() if found else "absent")

    def add_text(self, name, found, wanted):
        self.add(name, wanted != "", found == wanted, found)


def appraise(claims, expected, verifier):
    """Returns the verdict on authentic claims."""
    m, v = expected.manifest, Verdict()
    v.add_bytes("nonce", claims["nonce"], expected.nonce)
    v.add_bytes("ueid", claims["ueid"], verifier.ueid)
    v.add("key", "hardware-key" in m.require, claims["key"] in ("efuse", "tpm"), claims["key"])
    v.add_text("hardware", claims["hwmodel"], m.hardware)
    v.add_bytes("gateway", claims["gateway"], expected.gateway or m.gateway)
    v.add_bytes("session", claims["session"], expected.session)
    key_exchange = claims["key_exchange"] or "absent"
    v.add("key-exchange", "post-quantum" in m.require, key_exchange.startswith(("mlkem", "sntrup")), key_exchange)
    v.add_text("name", claims["swname"], m.name)
    v.add_text("version", claims["swversion"], m.version)
    v.add("secure-version", m.secure_version > 0, claims["secure_version"] >= m.secure_version, claims["secure_version"])
    v.add("slot-state", "confirmed" in m.require, claims["slot_state"] == "valid", claims["slot_state"])
    v.add("secure-boot", "secure-boot" in m.require, claims["oemboot"], "on" if claims["oemboot"] else "off")
    v.add("flash-encryption", "flash-encryption" in m.require, claims["flash_encryption"] == "release",
          claims["flash_encryption"])
    v.add("debug", "debug-off" in m.require, claims["dbgstat"] != "enabled", claims["dbgstat"])
    v.add("isolation", "isolation" in m.require, claims["isolation"], "active" if claims["isolation"] else "off")
    v.add_bytes("policy", claims["policy"], m.policy)
    _appraise_flash(v, claims, expected, verifier)
    return v


def _appraise_flash(v, claims, expected, verifier):
    m, measured, ranges = expected.manifest, claims["measured"], expected.manifest.ranges()
    v.add("flash-size", True, claims["flash_size"] == m.flash_size, f"0x{claims['flash_size']:x}")
    v.add("regions", True, len(measured) == len(ranges), len(measured))
    if len(measured) != len(ranges):
        return
    for have, (begin, end) in zip(measured, ranges):
        digest = measure(expected.reference, verifier.digest_key, expected.nonce, begin, end)
        same = have[:2] == (begin, end) and hmac.compare_digest(have[2], digest)
        v.add("region", True, same, f"0x{begin:06x}-0x{end:06x}")
