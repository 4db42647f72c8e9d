"""Errors of the tools: `cmxsafe: what failed: why; what to do`, with exit status 1, or 2 for a wrong command line."""
import re
import sys

OK, FAILED, USAGE = 0, 1, 2


class Failure(Exception):
    """Ends a command with exit status 1."""

    def __init__(self, what, why, todo=None):
        super().__init__(f"{what}: {why}" + (f"; {todo}" if todo else ""))
        self.what, self.why, self.todo = str(what), str(why), todo


class UsageError(Exception):
    """Ends a command with exit status 2."""


class Malformed(ValueError):
    """Bytes or text that violate their format. The message is one clause, as in the C program."""


def one_line(text):
    """Replaces control characters by '?', so that the result can be written to a terminal. In a file's name that is not
    UTF-8, Python decodes the bytes 0x80 to 0x9f, which are control characters, to U+DC80 to U+DC9F."""
    return re.sub("[\x00-\x1f\x7f-\x9f\udc80-\udc9f]", "?", str(text))


def report(text):
    print(f"cmxsafe: {one_line(text)}", file=sys.stderr)
