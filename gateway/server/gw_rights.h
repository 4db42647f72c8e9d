/* gw_rights.h - the current rights of a session's key or certificate, from the registry. */
#pragma once

#include "gateway/server/gw_server.h"

/* Reads from r the rights of a session's key or certificate, and the name of its owner. name has room for GW_NAME_MAX
 * bytes. CMX_ENOENT: the key has no owner. CMX_EAUTH: a login with the certificate is not permitted. CMX_EPERM: r is a
 * stale copy. */
CMX_MUST_USE cmx_err gw_rights_in(struct gw_registry *r, const struct gw_session *x, struct gw_rights *rights,
                                  char *name, struct cmx_why *e);
/* Reads the rights of x from the gateway's registry as gw_rights_in does, and stores them in x. */
CMX_MUST_USE cmx_err gw_rights_read(struct gw_server *s, struct gw_session *x, struct cmx_why *e);

/* Compares two sets of rights. GW_RIGHTS_LESS: destinations were removed and nothing else changed. In this case a
 * session with an identity continues, because the packet filter refuses these destinations. */
typedef enum { GW_RIGHTS_SAME, GW_RIGHTS_LESS, GW_RIGHTS_OTHER } gw_rights_change;
gw_rights_change gw_rights_compare(const struct gw_rights *before, const struct gw_rights *now);

void gw_rights_free(struct gw_rights *r);
