/* gw_copy.h - writes DIR/registry.state (copy_state.h). In this file the process that follows a shared registry records
 * when PostgreSQL last confirmed the copy, and why PostgreSQL can't be reached now. */
#pragma once

#include "gateway/folder/gw_folder.h"
#include "gateway/registry/copy_state.h"

/* Records that PostgreSQL confirmed the copy now. */
CMX_MUST_USE cmx_err gw_copy_confirm(struct gw *g, struct cmx_why *e);
/* Records why PostgreSQL can't be followed now. Keeps the time of the last confirmation. */
CMX_MUST_USE cmx_err gw_copy_note(struct gw *g, const char *reason, struct cmx_why *e);
/* Removes the state file. Call it when this gateway's registry is no longer shared. */
CMX_MUST_USE cmx_err gw_copy_forget(struct gw *g, struct cmx_why *e);

/* Reads the state of the copy. g's registry must be open. */
void gw_copy_look(struct gw *g, struct gw_copy_state *out);
#define GW_COPY_WARNING_MAX 400
/* Writes a warning for the operator: for how long PostgreSQL has not confirmed the copy, why, and the consequence.
 * Writes "" if there is nothing to warn about. */
void gw_copy_warning(struct gw *g, char out[GW_COPY_WARNING_MAX]);
/* Writes which rows of the shared registry are not in the copy, because they are malformed. "": none. */
void gw_copy_left_out(struct gw *g, char out[GW_COPY_WARNING_MAX]);
/* Returns the URL of the shared registry, "postgresql://...", which contains no password. "" if the registry is not
 * shared. */
const char *gw_copy_url(struct gw *g, char out[GW_REGISTRY_URL_MAX]);
