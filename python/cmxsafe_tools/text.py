"""Numbers, files and JSON as the C program reads and prints them."""
import argparse
import contextlib
import json
import os
import re
import stat
import tempfile
from pathlib import Path

from .errors import Failure, Malformed

U32 = 0xffffffff
TEXT_FILE_MAX = 16 << 20
UTF16_MARKS = b"\xff\xfe", b"\xfe\xff"
UTF16 = "it is UTF-16 text; save it as UTF-8"
LOCK_WAIT_S = 60


def number(text, low=0, high=U32):
    """Parses a decimal or 0x-hexadecimal number from low to high. Raises ValueError."""
    if not re.fullmatch(r"0[xX][0-9a-fA-F]+|[0-9]+", text):
        raise ValueError(text)
    value = int(text, 16 if text[1:2] in ("x", "X") else 10)
    if not low <= value <= high:
        raise ValueError(text)
    return value


def number_option(low=0, high=U32):
    """Returns an option's type: a number from low to high."""
    def parse(text):
        try:
            return number(text, low, high)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number from {low} to {high}") from None
    return parse


def unhex(text, low, high):
    """Decodes hex. Raises ValueError if the text is not hex, or has fewer than low or more than high bytes."""
    if not re.fullmatch(r"([0-9a-fA-F]{2})*", text) or not low <= len(text) // 2 <= high:
        raise ValueError(text)
    return bytes.fromhex(text)


def printable(data):
    """Returns a fixed-size field up to its NUL, with '?' for each byte that is not printable ASCII."""
    return "".join(chr(c) if 0x20 <= c < 0x7f else "?" for c in data.split(b"\0", 1)[0])


def open_input(path):
    """Opens a file or a pipe for reading. Does not wait for the writer of a FIFO: a FIFO without a writer reads as empty."""
    def opener(name, flags):
        fd = os.open(name, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
        if hasattr(os, "O_NONBLOCK"):
            os.set_blocking(fd, True)
        return fd
    return open(path, "rb", opener=opener)


def read_small(path, limit, todo=None, too_large="too large"):
    """Returns the bytes of a file or a pipe that has at most `limit` bytes."""
    try:
        with open_input(path) as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise Failure(path, error.strerror, todo) from error
    if len(data) > limit:
        raise Failure(path, too_large, todo)
    return data


def read_text(path, todo=None, limit=TEXT_FILE_MAX, errors="strict"):
    """Returns the text of a file in UTF-8. errors: as for bytes.decode()."""
    data = read_small(path, limit, todo)
    if data[:2] in UTF16_MARKS:
        raise Failure(path, UTF16, todo)
    try:
        return data.decode("utf-8-sig", errors)
    except ValueError as error:
        raise Failure(path, "is not text in UTF-8", todo) from error


def read_regular(path):
    """Returns the bytes of a regular file that is not empty. Raises Malformed or OSError."""
    with open_input(path) as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode) or not 1 <= info.st_size <= U32:
            raise Malformed("is not a regular file of 1 byte to 4 GB")
        return file.read(info.st_size)


def read_file(path, todo=None):
    """Like read_regular, but raises Failure."""
    try:
        return read_regular(path)
    except OSError as error:
        raise Failure(path, error.strerror, todo) from error
    except Malformed as error:
        raise Failure(path, error, todo) from error


def umask():
    mask = os.umask(0o77)
    os.umask(mask)
    return mask


def sync_folder(path):
    """Makes the names in a folder survive a power cut, where the system can do this."""
    if hasattr(os, "O_DIRECTORY"):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def replace_file(path, data, keep=None, secret=False):
    """Writes a new file beside path, then replaces path with it in one step, and syncs both. The new file keeps the mode of
    the old file and, for root, the owner. Follows symbolic links. Writes a device or a pipe directly. keep: a file that
    must not be replaced, such as the key. secret: only the user can read the new file."""
    try:
        if keep and path.exists() and os.path.exists(keep) and os.path.samefile(path, keep):
            raise Failure(path, "is the key", "choose another file")
        target = path.resolve()
        there = path.exists()
        if there and not target.is_file():  # a device or a pipe, or /dev/stdout that leads to a removed file
            path.write_bytes(data)
            return
        mode = target.stat().st_mode & 0o7777 if there else 0o600 if secret else 0o666 & ~umask()
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
        sync_folder(target.parent)
    except BaseException as error:
        Path(temp).unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise Failure(path, error.strerror) from error


@contextlib.contextmanager
def locked(path, wait=LOCK_WAIT_S):
    """Waits for a lock, for `wait` seconds at most, and holds it until the block or the process ends. SQLite provides it, because Python has no lock of files
    for every system."""
    import sqlite3  # here, because some builds of Python lack it, and only `provision` needs it
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=wait, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            yield
    except sqlite3.Error as error:
        raise Failure(path, error, "check that you may write in its folder, and that no other command there is stuck") from error


def to_json(value):
    """Returns JSON on one line, with the members in their order. U+FFFD replaces bytes of an argument that are not UTF-8."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    text = re.sub("[\ud800-\udfff]", r"\\ufffd", text)
    return re.sub("[\x7f-\x9f]", lambda c: f"\\u{ord(c.group()):04x}", text)
