/* gw_spool.h - a copy of an image that the operator names, in the gateway's folder and without a name there. The copy
 * is what gets checked and stored, whatever happens to the operator's file meanwhile, and nothing is left of it when
 * the process ends. */
#ifndef CLI_GW_SPOOL_H
#define CLI_GW_SPOOL_H

#include <stdio.h>

#include "gateway/folder/gw_folder.h"

struct gw_spool {
    FILE *f;
    char path[40]; /* for this process alone */
};

/* The file to copy. */
struct gw_spool_source {
    const char *path;                                      /* "-": standard input */
    uint64_t most;                                         /* bytes; a longer file is refused */
    uint64_t exactly;                                      /* bytes; 0: any number */
    void (*progress)(uint64_t received, uint64_t exactly); /* NULL: none */
};

/* Copies it. CMX_ENOENT, CMX_EPERM, CMX_EIO, CMX_ENOSPC (longer), CMX_ETRUNC (shorter). Close s in any case. */
CMX_MUST_USE cmx_err gw_spool_open(struct gw_spool *s, const struct gw *g, const struct gw_spool_source *from,
                                   struct cmx_why *e);
void gw_spool_close(struct gw_spool *s);

#endif
