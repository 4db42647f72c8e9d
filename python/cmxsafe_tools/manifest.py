"""Reference values, with which a verifier compares evidence. docs/ATTESTATION.md describes the format; compare
gateway/verify/manifest.c and reference.c."""
import argparse
import hashlib
import hmac
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

from .errors import Failure, Malformed
from .esp_image import describe
from .text import U32, UTF16, UTF16_MARKS, number, number_option, read_file, read_regular, replace_file, unhex

CHUNK = 4096
RANGES_MAX = 16
TEXT_MAX, FILE_MAX, MASK_MAX, LINE_MAX, WORDS_MAX, MANIFEST_MAX = 63, 127, 31, 400, 7, 8192
FILL_KEY_MIN = 16
REQUIREMENTS = "secure-boot", "flash-encryption", "debug-off", "isolation", "hardware-key", "confirmed", "post-quantum"


# ---- ranges ----

def parse_ranges(text, flash_size=U32):
    """Parses "BEGIN-END,..." in decimal or 0x-hexadecimal. Raises Malformed."""
    ranges = []
    for piece in text.split(","):
        begin, dash, end = piece.partition("-")
        try:
            begin, end = number(begin), number(end)
        except ValueError:
            raise Malformed("not BEGIN-END,... in decimal or 0x-hexadecimal") from None
        if begin >= end:
            raise Malformed("a range is empty or reversed")
        if end > flash_size:
            raise Malformed("a range ends beyond the flash")
        if len(ranges) == RANGES_MAX:
            raise Malformed("too many ranges")
        if any(begin < e and b < end for b, e in ranges):
            raise Malformed("ranges overlap")
        ranges.append((begin, end))
    return ranges


def print_ranges(ranges):
    return ",".join(f"0x{begin:06x}-0x{end:06x}" for begin, end in ranges)


def chunks(begin, end):
    """Returns the pieces of a range that are hashed one by one."""
    return ((at, min(at + CHUNK, end)) for at in range(begin, end, CHUNK))


def chunk_end(address):
    return -(-address // CHUNK) * CHUNK


# ---- the content of flash ----

@dataclass
class Part:
    begin: int
    end: int
    data: bytes | None  # None: erased


class Reference:
    """The expected content of flash, from one image or from a manifest's files."""

    def __init__(self, parts):
        self.parts = parts

    @classmethod
    def of_image(cls, path, at):
        data = read_file(path, "give the device's image; esptool read_flash 0x10000 SIZE FILE reads it from a trusted device")
        end = at + len(data)
        if end > U32 - CHUNK:
            raise Failure(path, "reaches beyond 4 GB of flash")
        return cls([Part(at, end, data), Part(end, chunk_end(end), None)])  # the rest of the last chunk counts as erased

    def bytes_at(self, begin, end):
        """Returns the bytes of the range. Raises LookupError unless the reference contains all of them."""
        out = bytearray()
        while begin < end:
            part = next((p for p in self.parts if p.begin <= begin < p.end), None)
            if not part:
                raise LookupError("not found")
            stop = min(part.end, end)
            out += part.data[begin - part.begin:stop - part.begin] if part.data else b"\xff" * (stop - begin)
            begin = stop
        return bytes(out)


def filler(key, begin, end):
    """Returns keyed, incompressible bytes for free flash: block i is HMAC-SHA256(key, "cmxsafe fill 1" NUL || i)."""
    first = begin // 32
    blocks = b"".join(hmac.digest(key, b"cmxsafe fill 1\0" + struct.pack(">Q", i), "sha256")
                      for i in range(first, -(-end // 32)))
    return blocks[begin - first * 32:end - first * 32]


# ---- the text ----

@dataclass
class Region:
    begin: int
    end: int
    kind: str = "erased"  # "erased", "file" or "fill"
    file: str = ""        # file with the content ("file") or with the filler's key ("fill")
    offset: int = 0
    sha256: bytes = b""

    def line(self):
        head = f"region 0x{self.begin:06x} 0x{self.end:06x} {self.kind}"
        if self.kind == "erased":
            return head
        return head + f" {quote(self.file)}" + (f" 0x{self.offset:x}" if self.kind == "file" else "") + f" {self.sha256.hex()}"


@dataclass
class Manifest:
    name: str = ""      # "": any name; version and hardware likewise
    version: str = ""
    hardware: str = ""
    secure_version: int = 0
    flash_size: int = 0
    require: set = field(default_factory=set)
    policy: bytes | None = None
    gateway: bytes | None = None
    regions: list = field(default_factory=list)
    masks: list = field(default_factory=list)  # (begin, end, name)

    def described(self):
        """Returns the addresses of the regions and masks."""
        return [(r.begin, r.end) for r in self.regions] + [m[:2] for m in self.masks]

    def ranges(self):
        """Returns the ranges to request. Where two regions meet within a chunk, the first one's range gets the whole chunk."""
        shared = {r.begin for r in self.regions} & {r.end for r in self.regions}
        border = lambda at: min(chunk_end(at), self.flash_size) if at in shared else at
        ranges = ((border(r.begin), border(r.end)) for r in self.regions)
        return [(begin, end) for begin, end in ranges if begin < end]

    def check_ranges(self):
        """Raises Malformed if a device would refuse the ranges."""
        if any(begin % CHUNK or (end % CHUNK and end != self.flash_size) for begin, end in self.ranges()):
            raise Malformed(f"a region must begin and end at a multiple of {CHUNK}, or where another region or the flash ends")

    def gaps(self):
        """Returns the parts of flash that are neither region nor mask."""
        at, gaps = 0, []
        for begin, end in sorted(self.described()) + [(self.flash_size, self.flash_size)]:
            if begin > at:
                gaps.append((at, begin))
            at = max(at, end)
        return gaps

    def text(self):
        lines = ["cmxsafe-manifest 1"]
        lines += [f"{word} {quote(value)}" for word, value in
                  (("name", self.name), ("version", self.version), ("hardware", self.hardware)) if value]
        lines += [f"secure-version {self.secure_version}"] if self.secure_version else []
        lines += [f"flash-size 0x{self.flash_size:x}"]
        lines += [f"require {word}" for word in REQUIREMENTS if word in self.require]
        lines += [f"{word} {value.hex()}" for word, value in
                  (("policy", self.policy), ("gateway", self.gateway)) if value]
        lines += [region.line() for region in self.regions]
        lines += [f"mask 0x{begin:06x} 0x{end:06x} {quote(name)}" for begin, end, name in self.masks]
        return "\n".join(lines) + "\n"


def quote(text):
    """Quotes a text so that split_line reads it back. Raises Malformed if that is impossible."""
    if not re.fullmatch(r"[ -~]+", text):
        raise Malformed("a name or version is not printable ASCII")
    if text[0] != '"' and not re.search("[ #]", text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


WORD = re.compile(r'[ \t\r]*(?:(#.*)|"((?:\\[ -~]|[^"\\])*)"(?=[ \t\r#]|$)|([^ \t\r#"][^ \t\r#]*)|$)', re.S)


def split_line(line):
    """Returns a line's words, up to '#'. Raises ValueError."""
    words, at = [], 0
    while at < len(line):
        match = WORD.match(line, at)
        if not match:
            raise ValueError("no word")
        at = match.end()
        comment, quoted, bare = match.groups()
        if comment is not None:
            break
        if at > LINE_MAX or len(words) == WORDS_MAX and (quoted, bare) != (None, None):
            raise ValueError("too long")
        word = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
        if word is None:
            break
        if not re.fullmatch("[ -~]*", word):
            raise ValueError("not printable")
        words.append(word)
    return words


def _text(words):
    word, = words
    if not 1 <= len(word) <= TEXT_MAX:
        raise ValueError(word)
    return word


def _range(begin, end):
    begin, end = number(begin), number(end)
    if begin >= end:
        raise ValueError("reversed")
    return begin, end


def _file(name):
    if not 1 <= len(name) <= FILE_MAX or name[0] == "/" or ".." in name:
        raise ValueError(name)
    return name


def _region(words):
    begin, end = _range(*words[:2])
    match words[2:]:
        case ["erased"]:
            return Region(begin, end)
        case ["file", name, offset, sha]:
            return Region(begin, end, "file", _file(name), number(offset), unhex(sha, 32, 32))
        case ["fill", name, sha]:
            return Region(begin, end, "fill", _file(name), 0, unhex(sha, 32, 32))
    raise ValueError("no such form")


def _mask(words):
    begin, end, name = words
    if not 1 <= len(name) <= MASK_MAX:
        raise ValueError(name)
    return _range(begin, end) + (name,)


def _requirement(words):
    word, = words
    if word not in REQUIREMENTS:
        raise ValueError(word)
    return word


def _number(words):
    word, = words
    return number(word)


def _digest(words):
    word, = words
    return unhex(word, 32, 32)


TEXT_FORM = " must be one word or a quoted text of at most 63 characters"
# statement: the parser of its words, and the error text if the parser refuses them
STATEMENTS = {
    "name": (_text, "name" + TEXT_FORM),
    "version": (_text, "version" + TEXT_FORM),
    "hardware": (_text, "hardware" + TEXT_FORM),
    "secure-version": (_number, "secure-version must be a number"),
    "flash-size": (_number, "flash-size must be a number"),
    "policy": (_digest, "policy must be 64 hex digits"),
    "gateway": (_digest, "gateway must be 64 hex digits"),
    "require": (_requirement,
                "require must be secure-boot, flash-encryption, debug-off, isolation, hardware-key, confirmed or "
                "post-quantum"),
    "region": (_region, "a region line must be 'region BEGIN END erased', 'region BEGIN END file NAME OFFSET SHA256' or "
               "'region BEGIN END fill KEYFILE SHA256', and there may be at most 16 region lines"),
    "mask": (_mask, "a mask line must be 'mask BEGIN END NAME', and there may be at most 16 mask lines"),
}
LISTS = {"require": "require", "region": "regions", "mask": "masks"}


def _statement(m, words, seen):
    word = words[0]
    if word not in STATEMENTS:
        raise Malformed("unknown statement")
    read, form = STATEMENTS[word]
    if word in seen and word not in LISTS:
        raise Malformed("this statement occurs twice")
    seen.add(word)
    try:
        value = read(words[1:])
    except (ValueError, TypeError):
        raise Malformed(form) from None
    if word == "require":
        m.require.add(value)
    elif word in LISTS:
        entries = getattr(m, LISTS[word])
        if len(entries) == RANGES_MAX:
            raise Malformed(form)
        entries.append(value)
    else:
        setattr(m, word.replace("-", "_"), value)


def _check_whole(m):
    if not m.flash_size or not m.regions:
        raise Malformed("a manifest needs flash-size and at least one region")
    ranges = m.described()
    if any(end > m.flash_size for _, end in ranges):
        raise Malformed("a region or mask ends beyond the flash")
    ranges.sort()
    if any(a[1] > b[0] for a, b in zip(ranges, ranges[1:])):
        raise Malformed("regions or masks overlap")


def parse(data):
    """Parses a manifest. Raises Malformed; its text begins with the line's number."""
    m, seen, first, line = Manifest(), set(), True, 0
    if len(data) > MANIFEST_MAX:
        raise Malformed("0: too long")
    if data[:2] in UTF16_MARKS:
        raise Malformed(f"1: {UTF16}")
    text = data.decode("latin-1")
    lines = text[:-1].split("\n") if text.endswith("\n") else text.split("\n")
    try:
        for line, content in enumerate(lines, 1):
            try:
                words = split_line(content)
            except ValueError:
                raise Malformed("a line must have at most 400 printable characters and 7 words, each unquoted or completely in quotes") \
                    from None
            if words and first and words != ["cmxsafe-manifest", "1"]:
                raise Malformed("the first line must be 'cmxsafe-manifest 1'")
            if words and not first:
                _statement(m, words, seen)
            first = first and not words
        _check_whole(m)
    except Malformed as error:
        raise Malformed(f"{line}: {error}") from None
    return m


def load(path):
    data = read_file(path, "make one with: cmxsafe-tools image manifest firmware.bin")
    try:
        return parse(data)
    except Malformed as error:
        line, _, why = str(error).partition(": ")
        raise Failure(f"{path}:{line}", why) from error


def _region_bytes(region, folder):
    """Returns the content of a region from its file. Raises Malformed; its text names the file and the fault."""
    path = f"{folder}/{region.file}"
    try:
        data = read_regular(path)
    except OSError as error:
        raise Malformed(f"'{path}' {error.strerror}") from error
    except Malformed as error:
        raise Malformed(f"'{path}' {error}") from error
    if region.kind == "fill":
        if len(data) < FILL_KEY_MIN:
            raise Malformed(f"'{path}' is not a key of at least {FILL_KEY_MIN} bytes")
        data = filler(data, region.begin, region.end)
    else:
        if region.offset + region.end - region.begin > len(data):
            raise Malformed(f"'{path}' is shorter than its region")
        data = data[region.offset:region.offset + region.end - region.begin]
    if hashlib.sha256(data).digest() != region.sha256:
        raise Malformed(f"'{path}' has changed since the manifest was made")
    return data


def open_reference(m, folder):
    try:
        return Reference([Part(r.begin, r.end, None if r.kind == "erased" else _region_bytes(r, folder))
                          for r in m.regions])
    except Malformed as error:
        raise Failure("the manifest's files", error, "make the manifest again, in the folder of the files that it names") from error


# ---- cmxsafe-tools image manifest, fill ----

def parse_size(text):
    """Parses a size: 4MB, 0x400000, ..."""
    unit = 1 << 20 if text.endswith("MB") else 1
    try:
        return number(text.removesuffix("MB"), 1, U32 // unit) * unit
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 4MB or 0x400000") from None


def build(data, args):
    """Makes the manifest. Raises Failure if the image does not fit or the filler's key is too short."""
    m = Manifest(flash_size=args.flash_size, require=set(args.require), masks=args.mask)
    at, end, length = args.at, args.end or args.flash_size, len(data)
    if end > m.flash_size or end <= at or length > end - at:
        raise Failure(args.image, "it does not fit into this part of flash", "check --at, --end and --flash-size")
    free = Region(at + length, end)
    if args.fill:
        key = read_file(args.fill)
        if len(key) < FILL_KEY_MIN:
            raise Failure(args.image, "the filler's key has less than 16 bytes", "make one with: openssl rand -out fill.key 32")
        full = filler(key, at, end)
        while length and data[length - 1] == full[length - 1]:
            length -= 1
        free = Region(at + length, end, "fill", args.fill.name, 0, hashlib.sha256(full[length:]).digest())
    if length:
        m.regions.append(Region(at, at + length, "file", args.image.name, 0, hashlib.sha256(data[:length]).digest()))
    if at + length < end:
        m.regions.append(free)
    description = None if args.any_version else describe(data)
    if description:
        m.name, m.version, m.hardware = description.project, description.version, description.chip
        m.secure_version = description.secure_version
    return m


def run(args):
    m = build(read_file(args.image), args)
    try:
        m.check_ranges()
    except Malformed as error:
        raise Failure(args.image, error) from error
    try:
        text = m.text()
    except Malformed as error:
        raise Failure("the manifest", error, "rename the file, or leave out the image's name and version with --any-version") from error
    try:
        parse(text.encode())  # print only a manifest that can be read back
    except Malformed as error:
        raise Failure("the manifest", str(error).partition(": ")[2]) from error
    print(text, end="")


def _mask_option(text):
    """Parses a mask, BEGIN-END=NAME."""
    span, _, name = text.partition("=")
    try:
        (begin, end), = parse_ranges(span)
        return _mask([str(begin), str(end), name])
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not BEGIN-END=NAME") from None


def add_command(p):
    p.add_argument("image", type=Path, metavar="IMAGE", help="an application image or a dump of flash")
    p.add_argument("--at", type=number_option(), default=0x10000, metavar="OFFSET",
                   help="the offset in flash at which IMAGE begins (default: 0x10000)")
    p.add_argument("--flash-size", type=parse_size, default=4 << 20, metavar="BYTES",
                   help="the size of the flash: 4MB, 8MB, 0x400000, ...")
    p.add_argument("--end", type=parse_size, metavar="OFFSET",
                   help="where the described part of flash ends; without it, at the end of flash")
    p.add_argument("--fill", type=Path, metavar="FILE", help="free flash holds the filler of this key (see image fill)")
    p.add_argument("--mask", type=_mask_option, action="append", default=[], metavar="BEGIN-END=NAME",
                   help="leave this range out because it changes at run time (nvs, otadata, phy); repeatable")
    p.add_argument("--require", choices=REQUIREMENTS, action="append", default=[], metavar="WHAT",
                   help=", ".join(REQUIREMENTS) + "; repeatable")
    p.add_argument("--any-version", action="store_true", help="accept any name and version of the image")


def run_fill(args):
    key, image = read_file(args.key, "make one with: openssl rand -out fill.key 32"), read_file(args.image)
    if len(key) < FILL_KEY_MIN:
        raise Failure(args.key, "has less than 16 bytes", "make one with: openssl rand -out fill.key 32")
    if args.at + len(image) > args.end:
        raise Failure(args.image, "is longer than the space up to --end")
    replace_file(args.output, image + filler(key, args.at + len(image), args.end), keep=args.key)


def add_fill_command(p):
    p.add_argument("image", type=Path, metavar="IMAGE")
    p.add_argument("output", type=Path, metavar="OUTPUT")
    p.add_argument("--key", type=Path, required=True, metavar="FILE", help="16 bytes or more; secret, not the device's key")
    p.add_argument("--at", type=number_option(), default=0x10000, metavar="OFFSET",
                   help="the offset in flash at which IMAGE begins")
    p.add_argument("--end", type=number_option(), default=0x400000, metavar="OFFSET", help="where the filler ends")
