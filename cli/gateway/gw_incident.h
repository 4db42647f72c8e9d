/* gw_incident.h - incidents that the worker writes into the audit trail, so that hooks run for them: a key that two
 * devices use, a grant that is used after its end, a device that is away for a long time. */
#pragma once

#include "gateway/folder/gw_folder.h"
#include "gateway/server/gw_journal.h"

#define GW_INCIDENTS_MAX 64        /* maximum number of waiting incidents; further incidents are dropped */
#define GW_INCIDENT_PAUSE_S 60     /* the same incident is written at most once in this many seconds */
#define GW_INCIDENT_GRANT_S 604800 /* after a grant's end, attempts to use it are reported for this many seconds */
/* Key in table meta. Its value is the number of seconds after which a device that is away is reported; 0: never. */
#define GW_AWAY_KEY "offline_after"
#define GW_AWAY_DEFAULT "3600"

struct gw_incidents {
    struct gw_incident {
        bool conflict; /* true: a key conflict; false: a refusal */
        char name[GW_NAME_MAX];
        char detail[GW_JOURNAL_FROM_MAX];
    } list[GW_INCIDENTS_MAX];
    size_t n;
};

/* Queues an incident. detail of a refusal: "HOST PORT". */
void gw_incident_add(struct gw_incidents *w, bool conflict, const char *name, const char *detail);
/* Writes the queued incidents into the audit trail, inside the caller's transaction. The caller empties the queue after
 * its commit. A refusal is written only if a grant that permitted the connection has ended. */
CMX_MUST_USE cmx_err gw_incidents_write(struct gw_incidents *w, struct gw *g, struct cmx_why *e);

/* True if gw_incident_write_away may have an event to write. watched_s: for how many seconds the caller has watched the
 * devices. Returns false while watched_s is below the limit. */
bool gw_incident_away_due(struct gw *g, int64_t watched_s);
/* Writes one event for each device that has been away for longer than the limit, and no further event until it is back.
 * status: the running gateway's answer to `status`. Writes inside the caller's transaction. */
CMX_MUST_USE cmx_err gw_incident_write_away(struct gw *g, char *status, struct cmx_why *e);
