/* event.h - the audit trail: who changed what, and when. It is a table of the registry. */
#pragma once

#include "gateway/registry/sql.h"

/* While the shared registry can't be reached, new entries of the audit trail get temporary ids, from this number on.
 * They get their final ids when they are sent. */
#define GW_EVENT_UNSENT (INT64_C(1) << 62)

/* Adds an entry to the audit trail. what: the action, such as "enroll". who: a name. Runs inside the caller's
 * transaction. */
CMX_MUST_USE cmx_err gw_event(struct gw_registry *r, const char *what, const char *who, const char *detail,
                              struct cmx_why *e);
/* Renumbers the unsent entries: their ids then follow the ids of all other entries. Runs inside the caller's
 * transaction. */
CMX_MUST_USE cmx_err gw_event_number(struct gw_registry *r, struct cmx_why *e);
/* Calls fn for the last n entries of the audit trail (0: all), the oldest first. name: only entries that name this
 * device, consumer or other object; NULL: all entries. The texts are valid only during the call to fn. */
typedef cmx_err (*gw_event_fn)(void *arg, int64_t at, const char *what, const char *who, const char *detail);
CMX_MUST_USE cmx_err gw_event_each(struct gw_registry *r, const char *name, uint64_t n, gw_event_fn fn, void *arg,
                                   struct cmx_why *e);
