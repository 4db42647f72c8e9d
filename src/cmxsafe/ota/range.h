/* range.h - the Content-Range of a request that sends a part of a file (RFC 9110 section 14.4): "bytes
 * FIRST-LAST/TOTAL". Pure. */
#pragma once

#include <stdint.h>

#include "cmxsafe/core/err.h"

struct cmx_range {
    uint32_t first;
    uint32_t last;
    uint32_t total;
};

/* Parses a header. CMX_EFORMAT: the header does not have this form, its total is unknown ("*"), or its numbers
 * contradict each other. */
CMX_MUST_USE cmx_err cmx_range_parse(struct cmx_range *r, const char *text);
