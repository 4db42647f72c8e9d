"""cmxsafe-tools image: signs, checks and describes firmware images. Compare cli/image_*.c."""
import errno
import getpass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key, load_pem_private_key

from . import manifest
from .errors import Failure, Malformed, UsageError
from .esp_image import CHIPS, HEAD_LEN, MAGIC, SIZE_MAX, TRAILER_LEN, check, key_id, parse_public_key, sign
from .identity import KEY_FILE_MAX, point
from .text import number, number_option, open_input, read_text, replace_file, to_json

PUBLIC_KEY_MAX = 4096


def check_file(path, opaque=False, todo=None, **policy):
    """Returns the file's bytes and its description. Ends the command with an error if the image is broken."""
    try:
        with open_input(path) as file:
            data = file.read(HEAD_LEN)
            if opaque or data[:1] == MAGIC:  # otherwise check() refuses the first bytes; the file may be endless
                data += file.read(SIZE_MAX)
        return data, check(data, opaque, **policy)
    except OSError as error:
        raise Failure(path, error.strerror) from error
    except Malformed as error:
        raise Failure(path, error, todo) from error


def not_esp_todo(opaque):
    return None if opaque else "give --opaque if it is not an ESP-IDF image"


def read_passphrase(where):
    """Returns what the user types; nothing if there is neither a terminal nor input."""
    try:
        return getpass.getpass(f"Passphrase for {where}: ").encode()
    except EOFError:
        return b""


def load_private_key(where):
    todo = "make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE"
    if where.lower().startswith("pkcs11:"):
        raise Failure("the key", "these tools cannot use a PKCS#11 token", "use cmxsafe on Linux for it")
    try:
        with open_input(where) as file:
            data = file.read(KEY_FILE_MAX)
    except OSError as error:
        raise Failure(where, error.strerror, todo if error.errno == errno.ENOENT else None) from error
    try:
        load = load_pem_private_key if b"-----BEGIN" in data else load_der_private_key
        try:
            key = load(data, None)
        except TypeError:  # the key is encrypted
            key = load(data, read_passphrase(where))
    except (ValueError, TypeError) as error:  # TypeError: the passphrase is empty
        raise Failure(where, "no private key can be read from it",
                      "give a private key in PEM or DER, and its passphrase if it has one") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Failure(where, "it is not an ECDSA P-256 key", "other kinds are not accepted by devices")
    return key


def run_sign(args):
    data, image = check_file(args.image, args.opaque, not_esp_todo(args.opaque))
    if image.trailer and not args.replace:
        raise Failure(args.image, "it is signed already", "give --replace to replace the signature")
    key = load_private_key(args.key)
    signed = data[:image.signed_len] + sign(image, key)
    assert len(signed) == image.signed_len + TRAILER_LEN
    out = args.out or args.image
    replace_file(out, signed, keep=args.key)
    print(f"{out}: signed {image.signed_len} bytes with key {key_id(key.public_key()).hex()}")


def read_public_key(path):
    text = read_text(path, "give a file that holds a public key, in PEM or hex", PUBLIC_KEY_MAX, "replace")
    if "PRIVATE KEY" in text:
        raise Failure(path, "it is a private key", "give the public one: cmxsafe-tools image key --key FILE --pem")
    try:
        return parse_public_key(text)
    except ValueError as error:
        raise Failure(path, "not an ECDSA P-256 public key, PEM or hex") from error


def parse_chip(name):
    plain = name.replace("-", "").lower()
    for chip_id, chip in CHIPS.items():
        if chip.replace("-", "").lower() == plain:
            return chip_id
    try:
        return number(name, 0, 0xfffe)
    except ValueError:
        raise UsageError(f"--chip '{name}': unknown chip") from None


def run_verify(args):
    if len(args.key) > 2:
        raise Failure(args.key[2], "a device holds at most two keys")
    policy = {"keys": [read_public_key(k) for k in args.key], "secure_version_min": args.min_secure_version,
              "chip_id": parse_chip(args.chip) if args.chip else None}
    _, image = check_file(args.image, args.opaque, "a device with these keys refuses it", **policy)
    print(f"{args.image}: good, signed with key {image.trailer.key_id.hex()}")


def info_members(image):
    members = {"format": "esp-idf" if image.description else "opaque"}
    if image.description:
        d = image.description
        members |= {"chip": d.chip, "version": d.version, "project": d.project, "secure_version": d.secure_version,
                    "idf": d.idf, "segments": d.segments, "secure_boot_v2": image.secure_boot}
    return members | {"bytes": image.signed_len, "sha256": image.digest.hex(),
                      "signed_by": image.trailer.key_id.hex() if image.trailer else None}


def info_lines(image):
    if image.description:
        d = image.description
        built = " ".join(filter(None, (d.date, d.time)))
        yield "chip", d.chip
        yield "version", d.version
        yield "project", d.project
        yield "built", (built + ", " if built else "") + f"ESP-IDF {d.idf}"
        yield "secure version", d.secure_version
        yield "segments", d.segments
    yield "bytes", image.signed_len
    yield "sha256", image.digest.hex()
    if image.secure_boot:
        yield "secure boot", "v2 signature sector"
    yield "signature", f"trailer version 1, key {image.trailer.key_id.hex()}" if image.trailer else "none"


def run_info(args):
    _, image = check_file(args.image, args.opaque)
    if args.json:
        print(to_json(info_members(image)))
        return
    for name, value in info_lines(image):
        print(f"{name:<15} {value}")


def run_key(args):
    public = load_private_key(args.key).public_key()
    if args.pem:
        print(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), end="")
    else:
        print(point(public).hex())


def add_commands(commands):
    parser = commands.add_parser("image", help="sign, check and describe firmware images")
    sub = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, text):
        p = sub.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        p.set_defaults(run=run, command=f"image {name}")
        return p

    p = command("sign", run_sign, "append the signature that devices require")
    p.add_argument("image", type=Path, metavar="IMAGE")
    p.add_argument("--key", required=True, metavar="FILE", help="the private key, PEM or DER")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the signed image to FILE, instead of replacing IMAGE")
    p.add_argument("--opaque", action="store_true", help="treat IMAGE as a plain file, not as an ESP-IDF image")
    p.add_argument("--replace", action="store_true", help="replace the signature of an image that is signed already")

    p = command("verify", run_verify, "check an image and its signature as a device does")
    p.add_argument("image", type=Path, metavar="IMAGE")
    p.add_argument("--key", required=True, action="append", type=Path, metavar="PUBLIC",
                   help="a file with a public key, PEM or hex; at most two")
    p.add_argument("--chip", not_with="--opaque", metavar="NAME", help="the device's chip, such as esp32c3; without it, any chip")
    p.add_argument("--min-secure-version", type=number_option(), not_with="--opaque", default=0, metavar="N",
                   help="the lowest secure version that the device accepts")
    p.add_argument("--opaque", action="store_true", help="treat IMAGE as a plain file, not as an ESP-IDF image")

    p = command("info", run_info, "print an image's description")
    p.add_argument("image", type=Path, metavar="IMAGE")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    p.add_argument("--opaque", action="store_true", help="treat IMAGE as a plain file, not as an ESP-IDF image")

    p = command("key", run_key, "print the public half of a signing key, for a device's configuration")
    p.add_argument("--key", required=True, metavar="FILE", help="the private key, PEM or DER")
    p.add_argument("--pem", action="store_true", help="print PEM instead of 130 hex digits")

    manifest.add_command(command("manifest", manifest.run, "make the reference values for attestation"))
    manifest.add_fill_command(command("fill", manifest.run_fill, "fill free flash with keyed filler"))
