/* gw_access_read.h - reads the access log (gw_access_log.h) line by line, the oldest line first. The server may write
 * and rotate the log meanwhile. */
#pragma once

#include <stdio.h>

#include "gateway/folder/gw_folder.h"

#define GW_ACCESS_FILES 5
#define GW_ACCESS_LINE_MAX 1024

/* Returns the path of file n of the log: DIR/run/access/log, log.1 and so on; n 0 is the newest file. */
const char *gw_access_path(const struct gw *g, unsigned n, char out[GW_PATH_MAX]);

struct gw_access_reader {
    const struct gw *g;
    /* An element is NULL if its file does not exist or was read to its end. files[0] stays open at its end. */
    FILE *files[GW_ACCESS_FILES];
};

/* Opens all files of the log before reading any, because the server may rotate them meanwhile. */
void gw_access_read_begin(struct gw_access_reader *r, const struct gw *g);
/* Reads the next complete line. False: there is no further line now, but the server may write one later. */
bool gw_access_read_line(struct gw_access_reader *r, char line[GW_ACCESS_LINE_MAX]);
void gw_access_read_end(struct gw_access_reader *r);
