"""Runs cmxsafe-tools in this process, which is faster than a process for each command."""
import contextlib
import io

from cmxsafe_tools.main import main


class Text(io.StringIO):
    def reconfigure(self, **_):
        pass


def run(arguments):
    """Returns the exit status, and the texts on stdout and stderr."""
    out, err = Text(), Text()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()
