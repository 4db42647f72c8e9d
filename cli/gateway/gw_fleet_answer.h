/* gw_fleet_answer.h - reads what another gateway of the fleet answers (gateway/server/gw_report.h).
 *
 * Another gateway may be taken over, so its answer decides nothing about our output: of each session and record the
 * members below are taken, if they have the right type and a value that it can have, and are written again by our own
 * writer, one line for each record. What is written is printable ASCII. The first three are a gw_fleet_reader
 * (gw_fleet_ask.h). Pure. */
#ifndef CLI_GW_FLEET_ANSWER_H
#define CLI_GW_FLEET_ANSWER_H

#include <stdio.h>

#include "cmxsafe/core/err.h"

/* Writes {"sessions":[...]}. */
CMX_MUST_USE cmx_err gw_fleet_answer_status(const char *text, FILE *out, size_t *malformed);
/* Writes {"minutes":[...],"parties":[...]}. */
CMX_MUST_USE cmx_err gw_fleet_answer_traffic(const char *text, FILE *out, size_t *malformed);
/* Writes the records, without the line that ends the answer. */
CMX_MUST_USE cmx_err gw_fleet_answer_access(const char *text, FILE *out, size_t *malformed);
/* The same for one record, a line without its end. CMX_EFORMAT: it is malformed. */
CMX_MUST_USE cmx_err gw_fleet_answer_record(const char *line, FILE *out);

#endif
