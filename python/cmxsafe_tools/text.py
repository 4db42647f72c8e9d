"""Numbers, files and JSON as the C program reads and prints them."""
import json
import os
import re
import tempfile
from pathlib import Path

from .errors import Failure

U32 = 0xffffffff


def number(text, low=0, high=U32):
    """Parses a decimal or 0x-hexadecimal number from low to high. Raises ValueError."""
    if not re.fullmatch(r"0[xX][0-9a-fA-F]+|[0-9]+", text):
        raise ValueError(text)
    value = int(text, 16 if text[1:2] in ("x", "X") else 10)
    if not low <= value <= high:
        raise ValueError(text)
    return value


def unhex(text, low, high):
    """Decodes low to high bytes in hex. Raises ValueError."""
    if not re.fullmatch(r"([0-9a-fA-F]{2})*", text) or not low <= len(text) // 2 <= high:
        raise ValueError(text)
    return bytes.fromhex(text)


def printable(data):
    """Returns a fixed-size field up to its NUL, with '?' for each byte that is not printable ASCII."""
    return "".join(chr(c) if 0x20 <= c < 0x7f else "?" for c in data.split(b"\0", 1)[0])


def read_file(path, todo=None):
    """Returns the bytes of a file that is not empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Failure(path, error.strerror, todo) from error
    if not data:
        raise Failure(path, "is not a regular file of 1 byte to 4 GB", todo)
    return data


def umask():
    mask = os.umask(0o77)
    os.umask(mask)
    return mask


def replace_file(path, data, keep=None):
    """Writes a new file beside path, then replaces path with it in one step. The new file keeps the mode of the old file
    and, for root, the owner. Follows symbolic links. Writes a device or a pipe directly. keep: a file that must not be
    replaced, such as the key."""
    try:
        if keep and path.exists() and os.path.exists(keep) and os.path.samefile(path, keep):
            raise Failure(path, "is the key", "choose another file")
        target = path.resolve()
        there = path.exists()
        if there and not target.is_file():  # a device or a pipe, or /dev/stdout that leads to a removed file
            path.write_bytes(data)
            return
        mode = target.stat().st_mode & 0o7777 if there else 0o666 & ~umask()
        fd, temp = tempfile.mkstemp(dir=target.parent, prefix=target.name + ".")
    except OSError as error:
        raise Failure(path, error.strerror) from error
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if there and hasattr(os, "geteuid") and os.geteuid() == 0:
            os.chown(temp, target.stat().st_uid, target.stat().st_gid)
        os.chmod(temp, mode)
        os.replace(temp, target)
    except OSError as error:
        Path(temp).unlink(missing_ok=True)
        raise Failure(path, error.strerror) from error


def to_json(value):
    """Returns JSON on one line, with the members in their order."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return re.sub("[\x7f-\x9f]", lambda c: f"\\u{ord(c.group()):04x}", text)
