#include "cli/gateway/gw_publish.h"

#include <stdlib.h>
#include <string.h>

#include "cli/common/json_get.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/version.h"
#include "gateway/registry/node.h"
#include "gateway/server/gw_apply.h"
#include "gateway/server/gw_control.h"

#define STATE_MS 5000 /* interval between updates of node_state */

static bool is_one_of_several(struct gw *g)
{
    char own[GW_NAME_MAX];

    return gw_meta_get(&g->registry, "node", own, sizeof own) == CMX_OK;
}

void gw_publish_read(struct gw_publish *p, struct gw *g)
{
    char request[40];

    if (p->answer || !is_one_of_several(g))
        return;
    snprintf(request, sizeof request, "claims %llu", (unsigned long long)p->next);
    if (gw_control(g, request, &p->answer, NULL)) {
        p->next = 0; /* the gateway may have restarted: ask for all claims */
        return;
    }
    p->has_claims = json_first(p->answer, "claims") != NULL;
}

bool gw_publish_is_due(const struct gw_publish *p)
{
    return p->answer && (p->has_claims || cmx_port_now_ms() - p->put_ms >= STATE_MS);
}

cmx_err gw_publish_write(const struct gw_publish *p, struct gw *g, struct cmx_why *e)
{
    struct gw_registry *r = &g->registry;
    char address[GW_ADDRESS_MAX];
    char node[GW_NAME_MAX];
    const char *object;
    cmx_err err;

    if (!p->answer || gw_meta_get(r, "node", node, sizeof node))
        return CMX_OK;
    err = gw_node_note(r, node, json_number(p->answer, "sessions"), CMX_VERSION, e);
    for (object = json_first(p->answer, "claims"); !err && object; object = json_next(object))
        if (json_text(object, "address", address, sizeof address) && json_text(object, "node", node, sizeof node))
            err = gw_claim_put(r, address, node, json_number(object, "sequence"), json_number(object, "since"), e);
    return err;
}

cmx_err gw_publish_done(struct gw_publish *p, struct gw *g, struct cmx_why *e)
{
    cmx_err err;

    if (!p->answer)
        return CMX_OK;
    p->unapplied |= p->has_claims;
    p->next = (uint64_t)json_number(p->answer, "next");
    p->put_ms = cmx_port_now_ms();
    p->has_claims = false;
    free(p->answer); /* allocated by open_memstream */
    p->answer = NULL;
    err = p->unapplied ? gw_apply_claims(g, e) : CMX_OK;
    p->unapplied = err != CMX_OK;
    return err;
}
