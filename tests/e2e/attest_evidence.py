"""Verifies evidence with other people's CBOR and COSE (cbor2, pycose): attest_evidence.py TOKEN KEY FLASH NONCE

KEY: private_key.bin. Written from docs/ATTESTATION.md alone; shares no code with the device or the C verifier.
"""
import hashlib
import hmac
import struct
import sys

import cbor2
from pycose.keys import SymmetricKey
from pycose.messages import CoseMessage, Mac0Message

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


def main():
    token, key, flash = (open(path, "rb").read() for path in sys.argv[1:4])
    nonce = bytes.fromhex(sys.argv[4])
    outer = cbor2.loads(token)
    assert outer.tag == 61, "not a tagged CWT"
    message = CoseMessage.decode(cbor2.dumps(outer.value))
    assert isinstance(message, Mac0Message)
    assert len(message.phdr) == 1, "more than the algorithm is protected"
    assert next(iter(message.phdr.values())).identifier == 5, "not HMAC 256/256"
    evidence_key = hmac.digest(key, label("cmxsafe evidence mac 1"), "sha256")
    message.key = SymmetricKey(k=evidence_key)
    assert message.verify_tag(), "the MAC does not match"
    claims = cbor2.loads(message.payload)
    assert cbor2.dumps(claims, canonical=False) == message.payload, "claims are not in deterministic form"
    assert claims[10] == nonce
    assert claims[265] == PROFILE
    assert claims[256] == b"\1" + hmac.digest(key, label("cmxsafe ueid 1"), "sha256")
    assert claims[-75006] == len(flash)
    for begin, end, digest in claims[-75011]:
        assert digest == measurement(evidence_key, nonce, begin, end, flash), f"0x{begin:x}-0x{end:x} differs"
    print("verified", len(claims), "claims,", len(claims[-75011]), "measurements")


main()
