/* gw_note.h - the running gateway's log: its standard error, which systemd keeps in the journal. */
#pragma once

#include "cmxsafe/core/err.h"

/* Writes a line: "cmxsafe: gateway: ...". Control characters in it become '?'; a line that is too long
 * ends in "...". */
void gw_note(const char *fmt, ...) CMX_PRINTF(1, 2);
