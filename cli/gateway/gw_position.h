/* gw_position.h - how far the worker has read the gateway's journal and the audit trail. The registry stores it, so
 * that a new worker continues where the former one ended, even if that one was killed. Otherwise the journal's entries
 * would count again, as events and as logins, which end the trust in evidence; and new entries of the audit trail would
 * reach no hook. */
#pragma once

#include <stdbool.h>

#include "gateway/registry/registry.h"

#define GW_POSITION_TEXT_MAX 48
#define GW_POSITION_END INT64_MAX /* the end of the audit trail: its existing entries are skipped */

struct gw_position {
    bool read;
    uint64_t written_ms;
    char stored[GW_POSITION_TEXT_MAX]; /* as in the registry; "": not there yet */
};

/* The first call sets *journal (see gw_journal.h) and *event (an id in the audit trail) to the stored position, if
 * there is one. Later calls store both, at most every 10 s. done: everything up to there has been handled. */
CMX_MUST_USE cmx_err gw_position_tick(struct gw_position *p, struct gw_registry *r, uint64_t *journal, int64_t *event,
                                      bool done, struct cmx_why *e);
