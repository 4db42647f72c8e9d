/* copy_state.h - how old the copy of a shared registry may be. 'cmxsafe gateway follow' follows the registry: it copies
 * the changes, and writes the time of PostgreSQL's last confirmation to a file next to the copy. If there is no
 * confirmation for stale_after seconds, the copy is stale: no login is permitted and no grant counts. These seconds are
 * measured like the term of a grant; term.h says what a wrong clock can do. */
#pragma once

#include <stdbool.h>

#include "gateway/registry/term.h"

#define GW_STALE_AFTER_S 3600 /* default of stale_after, in seconds */
#define GW_STALE_AFTER_MIN_S 5
/* PostgreSQL confirms the copy every few seconds. After this long without a confirmation, the operator is warned. */
#define GW_COPY_SILENT_S 20
#define GW_COPY_STATE_FILE "registry.state"
#define GW_COPY_STATE_MAX 512
#define GW_COPY_REASON_MAX 200
/* This setting holds the number of rows of the shared registry that could not be stored in the copy, and says where the
 * first of them is. */
#define GW_META_LEFT_OUT "left_out"

/* This setting counts how often rows of the shared registry were stored in the copy. In a copy that was restored from a
 * backup, the count is lower than in the state file. PostgreSQL has not confirmed such a copy. */
#define GW_META_STORED "stored"

struct gw_copy_state {
    bool shared; /* false: the registry is not shared, so it is never stale */
    struct gw_now confirmed;
    int64_t stored; /* GW_META_STORED at the confirmation; 0: an earlier version wrote the state file */
    int64_t stale_after;
    int64_t left;                    /* seconds until the copy is stale; 0: it is stale */
    char reason[GW_COPY_REASON_MAX]; /* why the registry is not followed now; "": it is followed */
};

/* Reads the state file in the folder of the copy: sets out->confirmed, stored, reason and left. The caller has zeroed
 * *out and set out->shared and stale_after. registry_path: path of the copy. latest: as for gw_term_left. If the state
 * file is missing or can't be read, left is 0. stored: GW_META_STORED of the copy. */
void gw_copy_state_read(struct gw_copy_state *out, const char *registry_path, int64_t latest, int64_t stored);

/* Returns the seconds since the confirmation; 0: there was none, or the clock was set back. */
int64_t gw_copy_state_age(const struct gw_copy_state *s);
/* True if the operator needs no warning: the registry is not shared, or it is followed and PostgreSQL confirmed the
 * copy within the last GW_COPY_SILENT_S seconds. */
bool gw_copy_state_good(const struct gw_copy_state *s);

/* Writes the content of the state file: one line with the time of the confirmation, one with the reason, and one with
 * `stored`, which earlier versions ignore. */
void gw_copy_state_text(const struct gw_copy_state *s, char out[GW_COPY_STATE_MAX]);

/* Parses the content of the state file. After CMX_EFORMAT, s->confirmed is all zero. */
CMX_MUST_USE cmx_err gw_copy_state_parse(struct gw_copy_state *s, const char *text);
