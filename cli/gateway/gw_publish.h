/* gw_publish.h - for the worker: writes into the registry which devices and platforms have a session on this gateway
 * (claims), and the gateway's own state (node_state). A gateway that is alone in its fleet writes nothing. */
#pragma once

#include "cli/gateway/gw_command.h"

struct gw_publish {
    char *answer;    /* the running gateway's answer to `claims`, not written to the registry yet; owned; NULL: none */
    uint64_t next;   /* number of the next change to request */
    uint64_t put_ms; /* when node_state was last written */
    bool has_claims;
    bool unapplied; /* claims were written that BIRD's configuration lacks */
};

/* Queries the running gateway, unless the registry still lacks its last answer. g must be open. */
void gw_publish_read(struct gw_publish *p, struct gw *g);
bool gw_publish_is_due(const struct gw_publish *p);
/* Writes the claims and the node's state from the last answer, if any. Runs inside the caller's transaction
 * (gw_registry_begin_observed). */
CMX_MUST_USE cmx_err gw_publish_write(const struct gw_publish *p, struct gw *g, struct cmx_why *e);
/* Call after the commit: updates BIRD's configuration. */
CMX_MUST_USE cmx_err gw_publish_done(struct gw_publish *p, struct gw *g, struct cmx_why *e);
