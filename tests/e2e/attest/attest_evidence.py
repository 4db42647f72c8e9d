"""Verifies evidence with independent CBOR and COSE libraries (cbor2, pycose).

usage: attest_evidence.py TOKEN KEY FLASH NONCE
KEY: private_key.bin for a COSE_Mac0, or a file with a cmxsafe-attest-1 line (not secret) for a COSE_Sign1.
This program follows docs/ATTESTATION.md and shares no code with the device or the C verifier.
"""
import base64
import hashlib
import hmac
import struct
import sys

import cbor2
from pycose.keys import EC2Key, SymmetricKey
from pycose.keys.curves import P256
from pycose.messages import CoseMessage, Mac0Message, Sign1Message

PROFILE = "tag:cmxsafe.eu,2025:evidence-3"


def label(text, counter=0):
    return text.encode().ljust(31, b"\0") + bytes([counter])


def measurement(key, nonce, begin, end, flash):
    secret = hmac.digest(key, b"cmxsafe measurement 3\0" + struct.pack(">II", begin, end) + nonce, "sha256")
    h = hashlib.sha256(secret)
    for at in range(begin, end, 4096):
        chunk = flash[at:min(at + 4096, end)]
        h.update(b"\1" if chunk == b"\xff" * len(chunk) else b"\0" + chunk)
    return h.digest()


def verify_mac(message, key):
    """Verifies the MAC. Returns the key of the flash digests, and the ueid."""
    assert isinstance(message, Mac0Message)
    assert next(iter(message.phdr.values())).identifier == 5, "not HMAC 256/256"
    evidence_key = hmac.digest(key, label("cmxsafe evidence mac 1"), "sha256")
    message.key = SymmetricKey(k=evidence_key)
    assert message.verify_tag(), "the MAC does not match"
    return evidence_key, b"\1" + hmac.digest(key, label("cmxsafe ueid 1"), "sha256")


def verify_signature(message, line):
    """Verifies the signature. Returns the key of the flash digests and the ueid; the text `line` contains both."""
    assert isinstance(message, Sign1Message)
    assert next(iter(message.phdr.values())).identifier == -7, "not ES256"
    blob = base64.b64decode(line.split()[1])
    ueid, point, appraisal_key = blob[:33], blob[33:98], blob[98:]
    assert point[0] == 4 and len(appraisal_key) == 32
    message.key = EC2Key(crv=P256, x=point[1:33], y=point[33:])
    assert message.verify_signature(), "the signature does not match"
    return appraisal_key, ueid


def main():
    token, key, flash = (open(path, "rb").read() for path in sys.argv[1:4])
    nonce = bytes.fromhex(sys.argv[4])
    lines = [line for line in key.splitlines() if line.startswith(b"cmxsafe-attest-1 ")]
    outer = cbor2.loads(token)
    assert outer.tag == 61, "not a tagged CWT"
    message = CoseMessage.decode(cbor2.dumps(outer.value))
    assert len(message.phdr) == 1, "the protected header contains more than the algorithm"
    digest_key, ueid = verify_signature(message, lines[0].decode()) if lines else verify_mac(message, key)
    claims = cbor2.loads(message.payload)
    assert cbor2.dumps(claims, canonical=False) == message.payload, "claims are not in deterministic form"
    assert claims[10] == nonce
    assert claims[265] == PROFILE
    assert claims[256] == ueid
    assert claims[-75006] == len(flash)
    for begin, end, digest in claims[-75011]:
        assert digest == measurement(digest_key, nonce, begin, end, flash), f"0x{begin:x}-0x{end:x} differs"
    print("verified", len(claims), "claims,", len(claims[-75011]), "measurements")


main()
