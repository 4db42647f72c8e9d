/* term.h - how long a grant lasts. A term ends at a wall-clock time. Until the machine reboots, the term also ends when
 * its length has passed on CLOCK_BOOTTIME, a clock that cannot be set. After a reboot only the wall clock is available,
 * and a term counts as ended while the wall clock is more than two minutes behind the latest time stored in the
 * registry, which is stored every minute. A wrong clock can therefore end a grant early, and extend it by at most the
 * time that the machine was off, and three minutes. */
#pragma once

#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"

#define GW_BOOT_MAX 40          /* a boot's id: a UUID and its NUL */
#define GW_TERM_MAX_S 315360000 /* ten years */

struct gw_now {
    int64_t wall;           /* Unix time */
    int64_t boot_s;         /* seconds since boot, suspended time included */
    char boot[GW_BOOT_MAX]; /* the kernel's id of this boot; "" when it can't be read */
};

void gw_now(struct gw_now *now);

struct gw_term {
    int64_t given;     /* Unix time */
    int64_t ends;      /* Unix time */
    int64_t boot_ends; /* the end in seconds since the boot that `boot` identifies */
    const char *boot;  /* borrowed */
};

/* Returns the seconds until the term ends, provided that no clock is changed; 0: it has ended. The term must have an
 * end. latest: the latest Unix time stored in the registry; 0: none. */
int64_t gw_term_left(const struct gw_term *t, const struct gw_now *now, int64_t latest);

/* Parses "90s", "30m", "8h", "2d" or "1w" into the length in seconds. CMX_EINVAL: text is not a length of time. */
CMX_MUST_USE cmx_err gw_term_parse_length(const char *text, int64_t *seconds, struct cmx_why *e);
/* Parses "2026-11-28", "2026-11-28 18:30" or "2026-11-28T18:30:00Z", in UTC, into Unix time. CMX_EINVAL: text is not a
 * time. */
CMX_MUST_USE cmx_err gw_term_parse_time(const char *text, int64_t *at, struct cmx_why *e);
/* Writes a length of time as text, such as "7h 59m", "2d 3h" or "40s". */
#define GW_LENGTH_TEXT_MAX 32
void gw_term_length_text(int64_t seconds, char out[GW_LENGTH_TEXT_MAX]);
