#include "cli/gateway/gw_reach.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/gateway/gw_fleet_ask.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/registry/evidence_policy.h"
#include "gateway/registry/node.h"

#define KNOWN_MS 10000 /* wait at most this long for other gateways; applying a change usually takes 1 s */
#define TRY_MS 2000
#define PAUSE_MS 100

struct gw_reached {
    struct gw_reached *next;
    char name[GW_NAME_MAX];
    char address[GW_ADDRESS_MAX];
    char node[GW_NAME_MAX];
    bool quarantined;
    bool had; /* the operator had an inactive grant, `former`, which is restored afterwards */
    struct gw_grant_record former;
};

/* Reads whether the device is quarantined, and the operator's stored grant. Sets *granted to true if the operator has
 * an active grant for the device already. */
static cmx_err look(const struct gw_reach *r, struct gw *g, const struct gw_device *d, struct gw_reached *x,
                    bool *granted, struct cmx_why *e)
{
    struct gw_standing standing;
    cmx_err err = gw_grant_is_active(&g->registry, &r->operator, d->id, r->port, granted, e);

    if (!err)
        err = gw_standing_get(&g->registry, d->name, &standing, e);
    if (err)
        return err;
    x->quarantined = standing.quarantined;
    err = gw_grant_record_get(&g->registry, &r->operator, d->name, r->port, &x->former, e);
    x->had = !err;
    return err == CMX_ENOENT ? CMX_OK : err;
}

cmx_err gw_reach_add(struct gw_reach *r, struct gw *g, const struct gw_device *d, struct cmx_why *e)
{
    char node[GW_NAME_MAX];
    struct gw_reached *x;
    bool granted = false;
    cmx_err err;

    if (g->user || g->simple || !gw_claim_is_elsewhere(&g->registry, d->address, node))
        return CMX_OK;
    x = cmx_mem_alloc(sizeof *x);
    if (!x)
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    snprintf(x->name, sizeof x->name, "%s", d->name);
    snprintf(x->address, sizeof x->address, "%s", d->address);
    snprintf(x->node, sizeof x->node, "%s", node);
    err = look(r, g, d, x, &granted, e);
    if (err || granted) {
        cmx_mem_free(x);
        return err;
    }
    x->next = r->list;
    r->list = x;
    return CMX_OK;
}

/* ---- waiting until the other gateways let the operator through ---- */

/* The packet filter lets the socket use the operator's identity, because the socket's owner is root and its group is
 * that of the gateway's account. */
static bool connects(const struct gw_reach *r, const struct gw *g, const struct gw_reached *x)
{
    struct pollfd p = {.fd = gw_fleet_connect((gid_t)gw_account_gid(g), r->source, x->address, r->port),
                       .events = POLLOUT};
    int error = -1;
    socklen_t len = sizeof error;

    if (p.fd < 0)
        return false;
    if (poll(&p, 1, TRY_MS) == 1)
        (void)getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &len); /* on failure `error` stays -1 */
    close(p.fd);
    return error == 0;
}

static bool is_first_of_node(const struct gw_reach *r, const struct gw_reached *x)
{
    for (const struct gw_reached *o = r->list; o != x; o = o->next)
        if (strcmp(o->node, x->node) == 0)
            return false;
    return true;
}

/* Waits until the other gateways let the operator through. Connects to one device of each gateway, since a gateway
 * applies all grants of one change in one step. If a gateway has not applied them in time, connections to its devices
 * fail. */
static void await_nodes(const struct gw_reach *r, const struct gw *g)
{
    uint64_t deadline = cmx_port_now_ms() + KNOWN_MS;

    for (const struct gw_reached *x = r->list; x; x = x->next)
        while (is_first_of_node(r, x) && !connects(r, g, x) && cmx_port_now_ms() < deadline)
            cmx_port_sleep_ms(PAUSE_MS);
}

/* ---- grants ---- */

int gw_reach_open(struct gw_reach *r)
{
    struct gw_change x = {.what = "devices on other gateways can't be reached", .common = *r->common};
    struct gw g;
    cmx_err err = CMX_OK;

    if (!r->list)
        return CLI_OK;
    if (gw_change_begin(&x))
        return x.status;
    for (const struct gw_reached *d = r->list; !err && d; d = d->next) {
        const struct gw_grant_terms terms = {.length_s = GW_REACH_S, .why = r->why, .break_glass = d->quarantined};

        err = gw_grant_set(&x.g.registry, &r->operator, d->name, r->port, &terms, &x.outcome, &x.e);
    }
    if (gw_change_finish(&x, err))
        return CLI_FAILED;
    if (gw_command_open(&g, r->common, false))
        return CLI_FAILED;
    await_nodes(r, &g);
    gw_folder_close(&g);
    return CLI_OK;
}

static cmx_err take_back(const struct gw_reach *r, const struct gw_reached *d, struct gw_change *x)
{
    const struct gw_grant_terms former = {
        .until = d->former.ends, .why = d->former.why, .break_glass = d->former.break_glass};

    return d->had ? gw_grant_set(&x->g.registry, &r->operator, d->name, r->port, &former, &x->outcome, &x->e)
                  : gw_grant_remove(&x->g.registry, &r->operator, d->name, r->port, &x->outcome, &x->e);
}

int gw_reach_close(struct gw_reach *r)
{
    struct gw_change x = {.what = "the operator's grants were not removed, and stay until they expire",
                          .common = *r->common};
    cmx_err err = CMX_OK;
    int status = CLI_OK;

    if (r->list)
        status = gw_change_begin(&x);
    for (const struct gw_reached *d = r->list; r->list && !status && !err && d; d = d->next)
        err = take_back(r, d, &x);
    if (r->list && !status)
        status = gw_change_finish(&x, err);
    while (r->list) {
        struct gw_reached *next = r->list->next;
        cmx_mem_free(r->list);
        r->list = next;
    }
    return status;
}
