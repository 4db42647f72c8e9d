/* gw_access_read.h - reads the access log (gw_access_log.h) line by line, the oldest first, also while it is written
 * and rotated. */
#pragma once

#include "gateway/server/gw_access_log.h"

#define GW_ACCESS_LINE_MAX 1024

struct gw_access_reader {
    const struct gw *g;
    FILE *files[GW_ACCESS_FILES]; /* NULL: the file was read to its end, or does not exist */
};

/* Opens all files at once, because the log may be rotated meanwhile. */
void gw_access_read_begin(struct gw_access_reader *r, const struct gw *g);
/* Reads the next whole line; false: none now, but there may be one later. */
bool gw_access_read_line(struct gw_access_reader *r, char line[GW_ACCESS_LINE_MAX]);
void gw_access_read_end(struct gw_access_reader *r);
