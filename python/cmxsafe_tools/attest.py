"""cmxsafe-tools attest: verifies a device's identity and flash content. Compare cli/cmd_attest.c, attest_hash.c and
attest_evidence.c."""
import base64
import hashlib
import hmac
import secrets
import time
from pathlib import Path
from urllib.parse import quote_from_bytes

from . import manifest
from .device_http import NoAnswer, exchange, url_option
from .errors import FAILED, OK, Failure, Malformed, UsageError
from .evidence import (MEDIA_TYPE, NONCE_MAX, NONCE_MIN, SESSION_MAX, TOKEN_MAX, Expectation, ForeignToken, PROFILE,
                       Verifier, appraise)
from .identity import read_attest_key, read_hwkey
from .manifest import CHUNK, Reference, chunk_end, chunks, parse_ranges, print_ranges
from .text import number_option, read_file, replace_file, to_json, unhex

ATTEST_START = 0x10000
CHALLENGE_MAX = 512
DIFFERENCES_MAX = 64
BUSY_MAX_S = 60
HWKEY = Path("private_key.bin")


def ask(args, target, accept):
    """Returns the device's answer. Repeats the request while the device is busy, for at most a minute."""
    give_up = time.monotonic() + BUSY_MAX_S
    while True:
        try:
            answer = exchange(args.url, target, accept, silence_s=args.timeout, total_s=4 * args.timeout)
        except NoAnswer as error:
            raise Failure(args.url, error, "check that the device is connected ('cmxsafe gateway status')") from error
        if answer.status == 200:
            return answer
        if answer.status != 503 or time.monotonic() >= give_up:
            break
        time.sleep(answer.retry_s if 0 < answer.retry_s < 5 else 1)
    raise Failure(f"{args.url} answers {answer.status}", answer.words(), "retry later" if answer.status == 503 else None)


# ---- the value of /hash ----

def hash_value(reference, ranges, key, challenge):
    """Returns the last H. H begins as 32 zero bytes; for each chunk, H = HMAC-SHA256(key, H || chunk || challenge)."""
    value = bytes(32)
    for begin, end in ranges:
        for b, e in chunks(begin, end):
            value = hmac.digest(key, value + reference.bytes_at(b, e) + challenge, "sha256")
    return value


class HashJob:
    def __init__(self, args):
        self.args = args
        self.key = read_hwkey(args.key or HWKEY)
        self.image = args.image or Path("firmware.bin")
        self.reference = Reference.of_image(self.image, args.at)
        self.challenge = args.challenge or secrets.token_hex(16)
        end = self.reference.parts[0].end
        self.ranges = [(args.at, end if args.at == ATTEST_START else chunk_end(end))]  # the device accepts only whole chunks
        if args.ranges:
            try:
                self.ranges = parse_ranges(args.ranges)
            except Malformed as error:
                raise UsageError(f"--ranges: {error}") from error
        self.differs = []

    def expect(self, ranges):
        return hash_value(self.reference, ranges, self.key, self.challenge.encode("utf-8", "surrogateescape"))

    def answer(self, ranges):
        """Returns the device's value of /hash. ranges None: the device's default."""
        challenge = self.challenge.encode("utf-8", "surrogateescape")
        target = "/hash?challenge=" + quote_from_bytes(challenge, safe="")
        if ranges:
            target += "&ranges=" + print_ranges(ranges)
        body = ask(self.args, target, "text/plain").body
        try:
            return unhex(body.decode("latin-1"), 32, 32)
        except ValueError:
            raise Failure(self.args.url, "the answer is not an attestation value",
                          "check that this is the port of the attestation service") from None

    def same(self, span):
        return hmac.compare_digest(self.expect([span]), self.answer([span]))

    def locate(self, begin, end):
        """Halves a span that differs until the differing chunks are found."""
        count = -(-(end - begin) // CHUNK)
        if len(self.differs) > DIFFERENCES_MAX:
            return
        if count == 1:
            self.differs.append(begin)
            return
        middle = begin + count // 2 * CHUNK
        first_differs = not self.same((begin, middle))
        if first_differs:
            self.locate(begin, middle)
        if not first_differs or not self.same((middle, end)):
            self.locate(middle, end)

    def print(self, expected, answered, match):
        verdict, shown = "MATCH" if match else "DIFFERS", self.differs[:DIFFERENCES_MAX]
        if self.args.json:
            print(to_json({"ok": match, "verdict": verdict, "challenge": self.challenge, "expected": expected.hex(),
                           "answered": answered.hex(), "differs": shown}))
            return
        print(f"expected {expected.hex()}\nanswered {answered.hex()}\n{verdict}")
        for at in shown:
            print(f"differs at 0x{at:06x} (4 KB chunk)")
        if len(self.differs) > DIFFERENCES_MAX:
            print("and more")
        if not match and self.args.locate and not self.differs:
            print("no chunk of the image differs, but the image does not end where the flash ends; give --ranges")


def run_hash(args):
    job = HashJob(args)
    try:
        expected = job.expect(job.ranges)
    except LookupError:
        raise Failure(job.image, "does not contain all of the ranges",
                      "use --at to give the offset in flash at which the image begins") from None
    if args.compute:
        print(to_json({"challenge": job.challenge, "expected": expected.hex()}) if args.json else expected.hex())
        return OK
    # For the default range, the request has no ranges, and the device uses its own default. The C program does the same.
    by_default = not args.ranges and args.at == ATTEST_START
    answered = job.answer(None if by_default else job.ranges)
    match = hmac.compare_digest(expected, answered)
    if not match and args.locate:
        for span in job.ranges:
            if not job.same(span):
                job.locate(*span)
    job.print(expected, answered, match)
    return OK if match else FAILED


# ---- evidence ----

def pin_digest(text):
    """Returns the SHA-256 of a host key: "SHA256:..." or a known_hosts line. Raises ValueError."""
    words = text.split()
    if words and words[0].startswith("SHA256:"):
        digest = base64.b64decode(words[0][7:].rstrip("=") + "=", validate=True)
        if len(digest) != 32:
            raise ValueError(text)
        return digest
    for kind, data in zip(words[:2], words[1:3]):
        if kind.startswith(("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp")) and not words[0].startswith("@"):
            blob = base64.b64decode(data, validate=True)
            if blob[:4 + len(kind)] == len(kind).to_bytes(4, "big") + kind.encode():
                return hashlib.sha256(blob).digest()
    raise ValueError(text)


def hex_option(name, text, low, high):
    try:
        return unhex(text, low, high)
    except ValueError:
        raise UsageError(f"--{name} is {low} to {high} bytes in hex") from None


def expectations(args, m, reference):
    expected = Expectation(secrets.token_bytes(32), m, reference)
    if args.nonce:
        expected.nonce = hex_option("nonce", args.nonce, NONCE_MIN, NONCE_MAX)
    if args.session:
        expected.session = hex_option("session", args.session, 1, SESSION_MAX)
    if args.gateway:
        try:
            expected.gateway = pin_digest(args.gateway)
        except ValueError:
            raise UsageError("--gateway must be SHA256:... or a known_hosts line") from None
    return expected


def fetch_token(args, expected, verifier):
    target = f"/evidence?nonce={expected.nonce.hex()}{'&alg=ES256' if verifier.signed else ''}&ranges="
    answer = ask(args, target + print_ranges(expected.manifest.ranges()), MEDIA_TYPE)
    if answer.type != MEDIA_TYPE:
        raise Failure(args.url, f"the answer is not {MEDIA_TYPE}")
    return answer.body


def verify_token(token, expected, verifier):
    """Returns the claims and the verdict."""
    try:
        if len(token) > TOKEN_MAX:
            raise Malformed("is longer than any token")
        claims = verifier.claims(token)
        return claims, appraise(claims, expected, verifier)
    except ForeignToken as error:
        raise Failure("evidence", error, "check that the key is this device's") from error
    except Malformed as error:
        raise Failure("evidence", error, f"the device may use a profile other than {PROFILE}") from error


def print_verdict(claims, verdict, m):
    for check in verdict.checks:
        print(f"{check.result:<9}  {check.name:<16}  {check.found}")
    print(f"{'':<9}  {'slot':<16}  {claims['slot']}")
    print(f"{'':<9}  {'boots':<16}  {claims['bootcount']}")
    for begin, end in m.gaps():
        print(f"{'':<9}  {'not measured':<16}  0x{begin:06x}-0x{end:06x}")
    for begin, end, name in m.masks:
        print(f"{'':<9}  {'masked':<16}  0x{begin:06x}-0x{end:06x} {name}")
    if claims["key"] == "software":
        print("the device's key is in software: a program that ran as root on the device can forge its evidence")
    print("TRUSTED" if verdict.ok else "NOT TRUSTED")


def verdict_members(claims, verdict, m):
    members = {"ok": verdict.ok, "verdict": "TRUSTED" if verdict.ok else "NOT TRUSTED",
               "checks": [{"check": c.name, "result": c.result, "found": c.found} for c in verdict.checks],
               "not_measured": [{"begin": begin, "end": end} for begin, end in m.gaps()]}
    members["ueid"] = claims["ueid"].hex()
    return members | {name: claims[name] for name in ("swname", "swversion", "slot", "slot_state", "bootcount", "key")}


def run_evidence(args):
    verifier = Verifier(read_attest_key(args.attest_key) if args.attest_key
                        else read_hwkey(args.key or HWKEY))
    expected = expectations(args, None, None)
    expected.manifest = manifest.load(args.manifest)
    expected.reference = manifest.open_reference(expected.manifest, args.manifest.parent)
    token = read_file(args.token) if args.token else fetch_token(args, expected, verifier)
    if args.save:
        replace_file(args.save, token, keep=args.attest_key or args.key or HWKEY)
    claims, verdict = verify_token(token, expected, verifier)
    if args.json:
        print(to_json(verdict_members(claims, verdict, expected.manifest)))
    else:
        print_verdict(claims, verdict, expected.manifest)
    return OK if verdict.ok else FAILED


# ---- the command ----

def check_options(args):
    if args.compute and not args.challenge:
        raise UsageError("--compute needs the --challenge that was sent to the device")
    if args.evidence and not args.manifest:
        raise UsageError("--evidence needs reference values: --manifest FILE")
    if args.attest_key and (not args.evidence or args.key):
        raise UsageError("--attest-key needs --evidence and replaces --key")
    if not args.evidence and any((args.manifest, args.gateway, args.session, args.token, args.nonce, args.save)):
        raise UsageError("--manifest, --gateway, --session, --token, --nonce and --save need --evidence")
    if args.evidence and any((args.compute, args.locate, args.image, args.ranges, args.challenge is not None)):
        raise UsageError("--compute, --locate, --image, --ranges and --challenge can't be used with --evidence; give the image and "
                         "the ranges with --manifest, and the challenge with --nonce")
    if args.token and not args.nonce:
        raise UsageError("--token needs the --nonce that was sent to the device")
    if args.challenge is not None:
        if not 1 <= len(args.challenge.encode("utf-8", "surrogateescape")) <= CHALLENGE_MAX:
            raise UsageError(f"a challenge has 1 to {CHALLENGE_MAX} bytes")


def run(args):
    check_options(args)
    return run_evidence(args) if args.evidence else run_hash(args)


def add_commands(commands):
    p = commands.add_parser("attest", help="verify a device's identity and flash content", description=
                            "Asks a device for its attestation and prints MATCH or DIFFERS. With --evidence, verifies the "
                            "device's token against the reference values of a manifest instead. The exit status is 0 only if "
                            "every check passed.")
    p.set_defaults(run=run, command="attest")
    p.add_argument("--url", type=url_option, not_with="--compute --token", default="http://127.0.0.1:8888",
                   help="the device's attestation service (default: %(default)s)")
    p.add_argument("--key", type=Path, metavar="FILE", help="the device's 32-byte hardware key; without it, private_key.bin")
    p.add_argument("--attest-key", type=Path, metavar="FILE",
                   help="verify signed evidence with the attestation key in FILE, from 'cmxsafe-tools identity public'; the "
                        "hardware key is not needed")
    p.add_argument("--image", type=Path, metavar="FILE", help="the expected content of flash; without it, firmware.bin")
    p.add_argument("--at", type=number_option(), not_with="--evidence", metavar="OFFSET", default=ATTEST_START,
                   help="where in flash the image begins (default: 0x10000)")
    p.add_argument("--challenge", metavar="TEXT", help="1 to 512 bytes; without it, 32 random hex digits")
    p.add_argument("--ranges", metavar="LIST", help="ranges of flash, such as 0x10000-0x200000,0x8000-0x9000; without it, everything from "
                                                    "0x10000, or with --at, the part that the image covers")
    p.add_argument("--locate", action="store_true", not_with="--compute", help="after a mismatch, find the 4 KB chunks that differ")
    p.add_argument("--compute", action="store_true", help="print the expected value without contacting a device")
    p.add_argument("--evidence", action="store_true", help="request evidence (an Entity Attestation Token)")
    p.add_argument("--manifest", type=Path, metavar="FILE", help="reference values from 'image manifest'")
    p.add_argument("--nonce", metavar="HEX", help="8 to 64 bytes; without it, 32 random bytes")
    p.add_argument("--gateway", metavar="PIN", help="the host key of the gateway that the evidence must have come "
                                                    "through: SHA256:... or a known_hosts line")
    p.add_argument("--session", metavar="HEX",
                   help="the identifier of the SSH session that the evidence must have come through")
    p.add_argument("--token", type=Path, metavar="FILE",
                   help="verify this saved token instead of asking a device; needs --nonce")
    p.add_argument("--save", type=Path, metavar="FILE", help="save the token")
    p.add_argument("--json", action="store_true", help="print the outcome as one JSON object")
    p.add_argument("--timeout", type=number_option(1, 3600), not_with="--compute --token", metavar="SECONDS", default=30,
                   help="time limit for each step of the exchange (default: %(default)s)")
