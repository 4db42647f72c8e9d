/* csv.h - parses comma-separated values in the form of RFC 4180 or of a spreadsheet. Pure. */
#pragma once

#include <stddef.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"

#define GW_CSV_FIELDS_MAX 16

/* The position of the parser in a CSV file that is in memory. */
struct gw_csv {
    char *at; /* points into the caller's text, which gw_csv_next modifies */
    char *end;
    char separator; /* ',', or ';' if the first line that is not empty has semicolons and no comma */
    size_t line;    /* number of the line that gw_csv_next read last; the first is 1 */
};

/* Sets the position to the start of text, which has len bytes. The byte after them must be writable. Skips a UTF-8 byte
 * order mark. CMX_EFORMAT: UTF-16 or binary data. */
CMX_MUST_USE cmx_err gw_csv_init(struct gw_csv *c, char *text, size_t len, struct cmx_why *why);

/* Reads the next line in which not all fields are empty. Its *n fields point into the text. Removes blanks around a
 * field, but not inside its quotes. Lines end with LF, CR LF or CR. A quoted field may hold separators and doubled
 * quotes, but no line end. CMX_ENOENT: there are no more lines; CMX_EFORMAT: a stray or missing quote, or more than
 * GW_CSV_FIELDS_MAX fields. */
CMX_MUST_USE cmx_err gw_csv_next(struct gw_csv *c, char *fields[GW_CSV_FIELDS_MAX], size_t *n, struct cmx_why *why);
