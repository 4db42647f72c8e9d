/* gw_rights.h - what the key or certificate of a session may do, as the registry says now. */
#ifndef GW_RIGHTS_H
#define GW_RIGHTS_H

#include "gateway/server/gw_server.h"

/* What the registry r says about a session's key or certificate: rights, and whose it is (name: GW_NAME_MAX).
 * CMX_ENOENT: nobody's. CMX_EPERM: its certificate may not log in. */
CMX_MUST_USE cmx_err gw_rights_in(struct gw_registry *r, const struct gw_session *x, struct gw_rights *rights,
                                  char *name, struct cmx_why *e);
/* The same from the gateway's registry, into x. */
CMX_MUST_USE cmx_err gw_rights_read(struct gw_server *s, struct gw_session *x, struct cmx_why *e);

/* The rights that `now` has and `before` lacks, or the reverse. Destinations that were removed are left out: the judge
 * refuses them, without a new login. */
typedef enum { GW_RIGHTS_SAME, GW_RIGHTS_LESS, GW_RIGHTS_OTHER } gw_rights_change;
gw_rights_change gw_rights_compare(const struct gw_rights *before, const struct gw_rights *now);

void gw_rights_free(struct gw_rights *r);

#endif
