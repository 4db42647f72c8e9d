/* csv.h - one record of comma-separated values, RFC 4180. Pure. */
#ifndef GW_CSV_H
#define GW_CSV_H

#include <stddef.h>

#include "cmxsafe/core/err.h"

#define GW_CSV_FIELDS_MAX 16

/* Splits line (NUL-terminated, without its newline; changed in place) into *n fields that point into it. A quoted field
 * may hold commas and doubled quotes, not newlines: the fields here have none. CMX_EFORMAT: a stray or missing quote;
 * CMX_ENOSPC: more fields than GW_CSV_FIELDS_MAX. */
CMX_MUST_USE cmx_err gw_csv_split(char *line, char *fields[GW_CSV_FIELDS_MAX], size_t *n);

#endif
