#!/usr/bin/env bash
# Checks the code's structure and size against the project's rules; see scripts/check_style.py.
exec python3 "$(dirname "$0")/check_style.py"
