"""The command line: one module for each command."""
import argparse
import os
import signal
import sys

from . import __version__, attest, identity, image, provision, update
from .errors import FAILED, OK, USAGE, Failure, UsageError, report


class Parser(argparse.ArgumentParser):
    """argparse, with the product's form of errors."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def add_argument(self, *names, not_with="", or_empty=False, **kwargs):
        """not_with: options, separated by blanks, that would make this option useless; using both is refused. or_empty: the option
        accepts an empty text. Others refuse it, because it may come from `"$NAME"` of a variable that is not set."""
        action = super().add_argument(*names, **kwargs)
        action.not_with, action.or_empty = not_with.split(), or_empty
        return action

    def parse_known_args(self, args=None, namespace=None):
        self.given = {}
        result = super().parse_known_args(args, namespace)
        for name, action in self.given.items():
            for other in action.not_with:
                if other in self.given:
                    self.error(f"{name} can't be used with {other}")
        return result

    def _get_values(self, action, arg_strings):
        """argparse calls this for each argument of the command line."""
        name = action.option_strings[0] if action.option_strings else None
        # The action of a subcommand gets all words after the subcommand, and has no or_empty.
        if "" in arg_strings and not getattr(action, "or_empty", True):
            self.error(f"{name or 'an argument'} is empty")
        if name:
            self.given[name] = action
        return super()._get_values(action, arg_strings)

    def error(self, message):
        report(f"{message}; see '{self.prog} --help'")
        self.exit(USAGE)

    def _print_message(self, message, file=None):
        """Prints help. Unlike argparse's own function, raises an exception if the write fails."""
        (file or sys.stdout).write(message)


def make_parser():
    parser = Parser(prog="cmxsafe-tools", description="cmxsafe's tools for a manufacturer's computer.")
    parser.add_argument("--version", action="version", version=f"cmxsafe-tools {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (identity, attest, image, update, provision):
        module.add_commands(commands)
    return parser


def stop(*_):
    raise KeyboardInterrupt  # an exception, so that an open tunnel is closed


def open_streams():
    """Opens stdin and stderr if they are closed: otherwise a file could get their descriptors, and errors would go to stdout."""
    if not sys.stdin:
        sys.stdin = open(os.devnull, encoding="utf-8")
    if not sys.stderr:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if stream:
            # Uses the same encoding and line ends on every system, because JSON and manifests must not differ. Bytes in a file's name
            # that are not UTF-8 are printed as they are.
            stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")


def run(argv):
    """Returns the exit status. Raises OSError without a file's name if writing the output fails."""
    try:
        args = make_parser().parse_args(argv)
    except SystemExit as end:  # after --help, --version and errors in the command line
        return end.code
    try:
        return args.run(args) or OK
    except UsageError as error:
        report(f"{error}; see 'cmxsafe-tools {args.command} --help'")
        return USAGE
    except Failure as failure:
        report(failure)
    except OSError as error:
        if not error.filename:
            raise
        report(f"{error.filename}: {error.strerror}")
    except MemoryError:
        report("out of memory")
    except KeyboardInterrupt:
        report("stopped")
    return FAILED


def main(argv=None):
    signal.signal(signal.SIGTERM, stop)
    open_streams()
    if not sys.stdout:
        report("writing the output failed: Bad file descriptor")
        return FAILED
    try:
        status = run(argv)
        sys.stdout.flush()
        return status
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            report(f"writing the output failed: {error.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # otherwise the interpreter would try to write the rest again when it exits
        return FAILED
