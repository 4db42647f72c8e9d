/* gw_fleet_answer.h - reads the answer of another gateway of the fleet (gateway/server/gw_report.h).
 *
 * Another gateway may be compromised, so its text is never copied to our output. These functions read only known
 * members that have a valid type and value, and write them with our own JSON writer: in printable ASCII, one line for
 * each record. The first two functions have the type gw_fleet_reader (gw_fleet_ask.h). Pure. */
#pragma once

#include <stdio.h>

#include "cmxsafe/core/err.h"

/* Writes {"sessions":[...]}. */
CMX_MUST_USE cmx_err gw_fleet_answer_status(const char *text, FILE *out, size_t *malformed);
/* Writes {"minutes":[...],"parties":[...]}. */
CMX_MUST_USE cmx_err gw_fleet_answer_traffic(const char *text, FILE *out, size_t *malformed);
/* Writes one record of an access log; line: without its newline. CMX_EFORMAT: it is malformed. */
CMX_MUST_USE cmx_err gw_fleet_answer_record(const char *line, FILE *out);
