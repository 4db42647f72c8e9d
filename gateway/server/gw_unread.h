/* gw_unread.h - closes access while the registry can't be read or applied, because a revocation could not take effect.
 * Runs in the guard. The server ends the sessions (gw_sessions_recheck). */
#pragma once

#include <nftables/libnftables.h>

#include "gateway/folder/gw_folder.h"

/* Must be zeroed before the first call. */
struct gw_unread {
    uint64_t checked_ms; /* when the registry was last checked */
    uint64_t since_ms; /* since when the registry can't be read or is not in force; 0: it can be read and is in force */
    bool closed;       /* the grants were removed from the rules, and the rules have not been loaded since */
};

/* Call this often, with g's registry closed; opens the registry every few seconds. If the registry could not be opened
 * for GW_UNREAD_MAX_MS, or a change was not in force for that long (gw_folder_is_abandoned), removes all grants from
 * the rules in the fleet's namespace. nft: a context that was created in that namespace. wrong: why the rules can't be
 * loaded; "": they are loaded. Returns true if this call has removed the grants; `wrong` then has the reason. The
 * caller loads the rules again once the registry can be read. */
bool gw_unread_check(struct gw_unread *u, struct gw *g, struct nft_ctx *nft, char *wrong, size_t size);
