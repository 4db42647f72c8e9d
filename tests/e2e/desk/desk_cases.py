"""Runs cases from stdin, one JSON list on each line: exit status, text, arguments of cmxsafe-tools. Each command has to end with
this status, and with one line on stderr, which has the text."""
import faulthandler
import json
import os
import sys

from in_process import run

cases = [json.loads(line) for line in sys.stdin]
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for want, text, *arguments in cases:
    faulthandler.dump_traceback_later(60, exit=True)
    status, out, err = run(arguments)
    faulthandler.cancel_dump_traceback_later()
    if str(status) != want or text not in err or err.count("\n") != 1 or not err[:-1].isprintable():
        sys.exit(f"exit status {status} instead of {want} with {text!r}: {arguments}: {out!r} {err!r}")
