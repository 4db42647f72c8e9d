/* gw_copy.h - writes DIR/registry.state (copy_state.h). The process that follows a shared registry records in this file
 * when PostgreSQL last confirmed the copy and, while the registry can't be followed, the reason. */
#pragma once

#include "gateway/folder/gw_folder.h"
#include "gateway/registry/copy_state.h"

/* Records that PostgreSQL has just confirmed the copy. */
CMX_MUST_USE cmx_err gw_copy_confirm(struct gw *g, struct cmx_why *e);
/* Records why the registry can't be followed now: PostgreSQL can't be reached, or its changes can't be applied. Does
 * not change the recorded time of the last confirmation. */
CMX_MUST_USE cmx_err gw_copy_note(struct gw *g, const char *reason, struct cmx_why *e);
/* Removes the state file. Call this when this gateway's registry is no longer shared. */
CMX_MUST_USE cmx_err gw_copy_forget(struct gw *g, struct cmx_why *e);

/* Reads the state of the copy. g's registry must be open. */
void gw_copy_look(struct gw *g, struct gw_copy_state *out);
#define GW_COPY_WARNING_MAX 400
/* Writes a warning for the operator: for how long PostgreSQL has not confirmed the copy, why, and the consequence.
 * Writes "" if there is nothing to warn about. */
void gw_copy_warning(struct gw *g, char out[GW_COPY_WARNING_MAX]);
/* Writes a warning with the number of malformed rows of the shared registry that are not in the copy, and the first of
 * them; "": there are none. */
void gw_copy_left_out(struct gw *g, char out[GW_COPY_WARNING_MAX]);
/* Returns the URL of the shared registry, "postgresql://...", which contains no password; "" if the registry is not
 * shared. */
const char *gw_copy_url(struct gw *g, char out[GW_REGISTRY_URL_MAX]);
