/* ranges.h - a list of the parts of the flash that are attested, in order. Pure. Text form:
 * "0x10000-0x200000,0x8000-0x9000", numbers decimal or 0x-hexadecimal, the end exclusive. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/why.h"

#define CMX_RANGES_MAX 16
#define CMX_RANGES_TEXT_MAX (CMX_RANGES_MAX * 22) /* "0x00000000-0x00000000," */
#define CMX_ATTEST_START 0x10000u                 /* where applications begin, as in CMXsafe-ESP32 */

/* Invariant: begin < end. */
struct cmx_range {
    uint32_t begin;
    uint32_t end; /* the first byte after the range */
};

/* Invariant: no two ranges overlap, and all lie within the flash. They are in the order of the request. */
struct cmx_ranges {
    size_t n;
    struct cmx_range r[CMX_RANGES_MAX];
};

/* Selects the range that CMXsafe-ESP32 attests: from 0x10000 to the end of the flash. CMX_EINVAL: the flash ends at or
 * before 0x10000. */
CMX_MUST_USE cmx_err cmx_ranges_default(struct cmx_ranges *out, uint32_t flash_size);

/* Parses len chars. CMX_EFORMAT: the text does not have the form above; CMX_EINVAL: a range is reversed or empty,
 * overlaps another, or ends beyond the flash; CMX_ENOSPC: there are more than CMX_RANGES_MAX ranges. After an error
 * *out is empty. `why` may be NULL. */
CMX_MUST_USE cmx_err cmx_ranges_parse(struct cmx_ranges *out, const char *text, size_t len, uint32_t flash_size,
                                      struct cmx_why *why);

/* Appends the text form. If out is too small, cmx_buf_error reports it. */
void cmx_ranges_print(const struct cmx_ranges *ranges, struct cmx_buf *out);
