"""How the tools fail: `cmxsafe: what failed: why; what to do`, exit status 1; a wrong command line is exit status 2."""
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
    """Bytes or text that are not what their format requires. The text is one clause, as in the C program."""


def report(text):
    print(f"cmxsafe: {text}", file=sys.stderr)
