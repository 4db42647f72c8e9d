/* gw_spool.h - copies the operator's image to an unnamed file in the gateway's folder. The copy is checked and stored,
 * so a later change to the operator's file has no effect. The kernel deletes the copy when it is closed, at the latest
 * when the process ends. */
#pragma once

#include <stdio.h>

#include "gateway/folder/gw_folder.h"

#define GW_SPOOL_PATH_MAX 40 /* "/proc/self/fd/N" */

struct gw_spool {
    FILE *f;
    char path[GW_SPOOL_PATH_MAX]; /* path of the copy, valid in this process only */
};

/* The file to copy. */
struct gw_spool_source {
    const char *path;                                      /* "-": standard input */
    uint64_t most;                                         /* maximum length in bytes; a longer file is refused */
    uint64_t exactly;                                      /* required number of bytes; 0: any number */
    void (*progress)(uint64_t received, uint64_t exactly); /* NULL: no reports */
};

/* Copies the file. The reason of an error does not name the file. CMX_ENOENT: there is no such file; CMX_ENOSPC: it is
 * too long; CMX_ETRUNC: it is too short; CMX_EPERM: the copy can't be created; CMX_EIO: any other failure; CMX_ENOMEM.
 * Close s even after an error. */
CMX_MUST_USE cmx_err gw_spool_open(struct gw_spool *s, const struct gw *g, const struct gw_spool_source *from,
                                   struct cmx_why *e);
void gw_spool_close(struct gw_spool *s);
