#!/usr/bin/env bash
# The update page's C source is what its HTML makes.
exec bash "$(dirname "$0")/gen_ota_page.sh" --check
