/* gw_position.h - how far the worker has read the gateway's journal and the audit trail. The registry stores it, so
 * that a new worker continues where the former one ended, even if that one was killed. Otherwise the journal's entries
 * would count again, as events and as logins, which end the trust in evidence; and new entries of the audit trail would
 * reach no hook. */
#pragma once

#include <stdbool.h>

#include "gateway/registry/registry.h"

#define GW_POSITION_TEXT_MAX 96
#define GW_POSITION_END INT64_MAX /* the end of the audit trail: its existing entries are skipped */

struct gw_position {
    uint64_t journal; /* number of the next entry to read from the gateway's journal */
    int64_t event;    /* id of the last entry that was read from the audit trail, or GW_POSITION_END */
};

/* Zeroed: nothing was read or written yet. */
struct gw_position_store {
    bool read;
    uint64_t written_ms;
    char stored[GW_POSITION_TEXT_MAX]; /* as in the registry; "": not there yet */
};

/* The first call reads the stored position, if there is one, into *p. A number in the journal of another gateway
 * process is ignored. Later calls do nothing. */
void gw_position_read(struct gw_position_store *s, struct gw_registry *r, struct gw_position *p);
/* Stores the position, at most every 10 s. */
CMX_MUST_USE cmx_err gw_position_write(struct gw_position_store *s, struct gw_registry *r, struct gw_position p,
                                       struct cmx_why *e);
