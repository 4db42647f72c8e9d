#include "gateway/render/gw_bird.h"

#include "gateway/folder/gw_copy.h"
#include "gateway/registry/node.h"
#include "gateway/render/gw_template.h"

#define AS_NUMBER 4200000000u /* all gateways are in this autonomous system, a private-use number (RFC 6996) */

/* Templates of gateway/render/templates. */
extern const char gw_template_bird[];
extern const char gw_template_bird_neighbour[];

struct bird_job {
    FILE *f;
    const struct gw *g;
    struct gw_nodes nodes;
    struct cmx_why *e;
};

static cmx_err put_neighbour(const struct bird_job *job, const struct gw_node *n)
{
    const struct gw_template_value values[] = {
        {"name", .text = n->name},
        {"number", .number = n->number},
        {"own_link", .text = job->nodes.own->link},
        {"link", .text = n->link},
        {"as_number", .number = AS_NUMBER},
        {"fleet", .text = job->g->fleet_text},
        {"metric_max", .number = GW_METRIC_MAX},
        {"claims_max", .number = GW_NODE_CLAIMS_MAX},
        {0},
    };

    return gw_template_write(job->f, gw_template_bird_neighbour, values, NULL, job->e);
}

static cmx_err put_neighbours(void *arg, uint64_t number)
{
    const struct bird_job *job = arg;
    cmx_err err = CMX_OK;

    (void)number;
    for (size_t i = 0; !err && i < job->nodes.n; i++)
        if (&job->nodes.list[i] != job->nodes.own)
            err = put_neighbour(job, &job->nodes.list[i]);
    return err;
}

cmx_err gw_bird_config(FILE *f, struct gw *g, struct cmx_why *e)
{
    struct bird_job job = {.f = f, .g = g, .e = e};
    cmx_err err = gw_nodes_read(&g->registry, &g->fleet, &job.nodes, e);

    if (err)
        return err;
    const struct gw_template_value values[] = {
        {"router", .number = job.nodes.own ? job.nodes.own->number : 255},
        {"fleet", .text = g->fleet_text},
        {"fleet_table", .text = GW_FLEET_TABLE},
        {"metric_max", .number = GW_METRIC_MAX},
        {"claims_table", .number = GW_CLAIMS_TABLE},
        {"announced_table", .number = GW_ANNOUNCED_TABLE},
        {"neighbours", .lines = put_neighbours},
        {0},
    };
    return gw_template_write(f, gw_template_bird, values, &job, e);
}

struct claims_job {
    FILE *f;
    const struct gw_nodes *nodes;
};

static cmx_err put_claim(void *arg, const char *address, const char *node, int64_t since)
{
    struct claims_job *job = arg;
    const struct gw_node *n = gw_nodes_find(job->nodes, node);

    (void)since;
    if (n)
        fprintf(job->f, "    route %s/128 max 128 as %u;\n", address, n->number);
    return CMX_OK;
}

cmx_err gw_bird_claims(FILE *f, struct gw *g, struct cmx_why *e)
{
    struct gw_nodes nodes;
    struct claims_job job = {f, &nodes};
    struct gw_copy_state copy;
    cmx_err err = gw_nodes_read(&g->registry, &g->fleet, &nodes, e);

    fprintf(f, "# Written from the registry by 'cmxsafe gateway'.\n");
    gw_copy_look(g, &copy);
    if (copy.reason[0] || g->registry.stale) { /* without claims in this file, BIRD accepts the newest announcement */
        fprintf(f, "# No claims: this copy of the registry may be outdated.\n");
        return err;
    }
    return err ? err : gw_claim_each(&g->registry, put_claim, &job, e);
}
