#!/usr/bin/env bash
# Checks that the update page's C source is generated from its current HTML.
exec bash "$(dirname "$0")/gen_ota_page.sh" --check
