/* gw_copy.h - writes DIR/registry.state, in which the process that follows a shared registry notes how it went
 * (copy_state.h). */
#ifndef GW_COPY_H
#define GW_COPY_H

#include "gateway/folder/gw_folder.h"
#include "gateway/registry/copy_state.h"

/* PostgreSQL confirmed the copy just now. */
CMX_MUST_USE cmx_err gw_copy_confirm(struct gw *g, struct cmx_why *e);
/* It can't be followed, because of reason; the last confirmation stays. */
CMX_MUST_USE cmx_err gw_copy_note(struct gw *g, const char *reason, struct cmx_why *e);
/* This gateway's registry is its own again. */
CMX_MUST_USE cmx_err gw_copy_forget(struct gw *g, struct cmx_why *e);

/* The state of g's registry, which is open. */
void gw_copy_look(struct gw *g, struct gw_copy_state *out);
#define GW_COPY_WARNING_MAX 400
/* What the operator has to know about the copy: since when it is cut off, why, and what follows; "" all is well. */
void gw_copy_warning(struct gw *g, char out[GW_COPY_WARNING_MAX]);
/* Without a password, which the URL never has: "postgresql://...". "" when the registry is the gateway's own. */
const char *gw_copy_url(struct gw *g, char out[GW_REGISTRY_URL_MAX]);

#endif
