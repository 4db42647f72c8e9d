"""The command line: one module for each command."""
import argparse
import errno
import os
import signal
import sys

from . import __version__, attest, identity, image, provision, update
from .errors import FAILED, OK, USAGE, Failure, UsageError, report


class Parser(argparse.ArgumentParser):
    """argparse, with the product's form of errors."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message):
        report(f"{message}; see '{self.prog} --help'")
        self.exit(USAGE)


def make_parser():
    parser = Parser(prog="cmxsafe-tools", description="cmxsafe's tools for a manufacturer's computer.")
    parser.add_argument("--version", action="version", version=f"cmxsafe-tools {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (identity, attest, image, update, provision):
        module.add_commands(commands)
    return parser


def stop(*_):
    raise KeyboardInterrupt  # an exception, so that an open tunnel is closed


def main(argv=None):
    signal.signal(signal.SIGTERM, stop)
    if not sys.stdout:  # it is closed
        report("writing the output failed: Bad file descriptor")
        return FAILED
    for stream in (sys.stdout, sys.stderr):
        if stream:  # None if the stream is closed
            stream.reconfigure(newline="\n")  # also on Windows, because a manifest has the same line ends everywhere
    args = make_parser().parse_args(argv)
    try:
        status = args.run(args) or OK
        sys.stdout.flush()
        return status
    except UsageError as error:
        report(f"{error}; see 'cmxsafe-tools {args.command} --help'")
        return USAGE
    except Failure as failure:
        report(failure)
        return FAILED
    except BrokenPipeError:
        return FAILED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        report(f"writing the output failed: {error.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # otherwise the interpreter would write the rest again at its exit
        return FAILED
    except KeyboardInterrupt:
        report("stopped")
        return FAILED
