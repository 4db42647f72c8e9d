#include "gateway/server/gw_unread.h"

#include <stdio.h>

#include "cmxsafe/port/port.h"
#include "gateway/render/gw_nft.h"
#include "gateway/server/gw_apply.h"
#include "gateway/server/gw_note.h"
#include "gateway/server/gw_server.h"
#include "gateway/server/gw_sweep.h"

#define CHECK_MS 3000

/* Empties the sets that permit connections (fleet.nft). The rules then also reset live connections at their next
 * packet. */
static const char close_all[] = "flush set inet " GW_NFT_TABLE " grants\n"
                                "flush set inet " GW_NFT_TABLE " by_user\n"
                                "flush set inet " GW_NFT_TABLE " by_group\n";

/* Checks whether the registry can be read and is in force. If a change is not in force, also finds the reason, which
 * takes long. */
static cmx_err check_registry(struct gw *g, struct cmx_why *e)
{
    struct gw_registry r;
    char path[GW_PATH_MAX];
    cmx_err err;

    if (gw_folder_is_abandoned(g)) {
        err = gw_apply_check(g, e);
        return err ? err : cmx_why_fail(e, CMX_EIO, "the rules could not be written or loaded; see the messages above");
    }
    err = gw_registry_open(&r, gw_path(g, "registry.db", path), false, e);
    if (!err)
        gw_registry_close(&r);
    return err;
}

bool gw_unread_check(struct gw_unread *u, struct gw *g, struct nft_ctx *nft, char *wrong, size_t size)
{
    uint64_t now = cmx_port_now_ms();
    struct cmx_why e = {0};
    struct cmx_why unswept = {0};

    if (u->closed && !wrong[0]) { /* the rules were loaded again */
        u->since_ms = 0;
        u->closed = false;
    }
    if (now - u->checked_ms < CHECK_MS)
        return false;
    u->checked_ms = now;
    if (check_registry(g, &e) == CMX_OK) {
        /* If the folder is not settled, another process holds the lock, and its change might not be in force yet. */
        if (gw_folder_is_settled(g)) {
            u->since_ms = 0;
            u->closed = false;
        }
        return false;
    }
    if (!u->since_ms)
        u->since_ms = now;
    if (u->closed || now - u->since_ms < GW_UNREAD_MAX_MS)
        return false;
    u->closed = nft_run_cmd_from_buffer(nft, close_all) == 0;
    if (u->closed && gw_sweep_fleet(g, &unswept))
        gw_note("%s", unswept.text);
    if (u->closed)
        snprintf(wrong, size,
                 "no grant is in force, because the registry could not be read or applied for a minute: %s", e.text);
    return u->closed;
}
