#include "gateway/render/gw_bird.h"

#include <string.h>

#include "gateway/folder/gw_copy.h"
#include "gateway/registry/node.h"

#define TEXT(n) #n
#define NUMBER(n) TEXT(n)
#define ANNOUNCED_TABLE NUMBER(GW_ANNOUNCED_TABLE)
#define AS_NUMBER 4200000000u /* private use (RFC 6996); all gateways are in it */

static void put_head(FILE *f, const struct gw *g, const struct gw_nodes *nodes)
{
    fprintf(f,
            "# Written from the registry by 'cmxsafe gateway'.\n"
            "log stderr { warning, error, fatal, bug, remote, auth };\n"
            "router id 0.0.0.%u;\n"
            "protocol device { scan time 10; }\n"
            "\n"
            "# Identities whose sessions are here: the running gateway adds their routes.\n"
            "ipv6 table held;\n"
            "protocol kernel held_routes {\n"
            "    ipv6 {\n"
            "        table held;\n"
            "        import where net.len = 128 && net ~ [ %s+ ] && krt_metric >= 1 && krt_metric <= %d;\n"
            "        export none;\n"
            "    };\n"
            "    kernel table %d;\n"
            "    learn;\n"
            "    scan time 10;\n"
            "}\n",
            nodes->own ? nodes->own->number : 255, g->fleet_text, GW_METRIC_MAX, GW_CLAIMS_TABLE);
    fprintf(f, "# Two claims with one metric: each gateway prefers its own, so that no packet goes round in circles.\n"
               "protocol pipe held_claims {\n"
               "    table master6;\n"
               "    peer table held;\n"
               "    export none;\n"
               "    import filter { bgp_local_pref = krt_metric; preference = 2 * krt_metric + 1; accept; };\n"
               "}\n"
               "\n"
               "# Identities at other gateways.\n"
               "protocol kernel fleet_routes {\n"
               "    ipv6 {\n"
               "        import none;\n"
               "        export where source = RTS_BGP;\n"
               "    };\n"
               "    kernel table " GW_FLEET_TABLE ";\n"
               "    scan time 10;\n"
               "}\n"
               "# The same with the claims' metrics, which the running gateway watches. No packet is routed by it: the "
               "kernel\n"
               "# prefers the lowest metric, and the newest claim has the highest.\n"
               "ipv6 table announced;\n"
               "protocol pipe announced_claims {\n"
               "    table announced;\n"
               "    peer table master6;\n"
               "    export none;\n"
               "    import where source = RTS_BGP;\n"
               "}\n"
               "protocol kernel announced_routes {\n"
               "    ipv6 {\n"
               "        table announced;\n"
               "        import none;\n"
               "        export filter { krt_metric = bgp_local_pref; accept; };\n"
               "    };\n"
               "    kernel table " ANNOUNCED_TABLE ";\n"
               "    metric 0;\n"
               "    scan time 10;\n"
               "}\n"
               "\n"
               "# Which gateway holds an identity, by the registry.\n"
               "roa6 table claims;\n"
               "protocol static registry_claims {\n"
               "    roa6 { table claims; };\n"
               "include \"claims.conf\";\n"
               "}\n");
}

static void put_neighbour(FILE *f, const struct gw *g, const struct gw_nodes *nodes, const struct gw_node *n)
{
    fprintf(f,
            "\n"
            "# %s\n"
            "protocol bgp node%u {\n"
            "    local %s as %u;\n"
            "    neighbor %s as %u;\n"
            "    interface \"cmxlink%u\";\n"
            "    direct;\n"
            "    bfd;\n"
            "    hold time 9;\n"
            "    connect delay time 1;\n"
            "    connect retry time 2;\n"
            "    error wait time 1, 4;\n"
            "    ipv6 {\n"
            "        import table;\n"
            "        next hop self;\n"
            "        import filter {\n"
            "            if net.len != 128 || ! (net ~ [ %s+ ]) then reject;\n"
            "            if bgp_local_pref < 1 || bgp_local_pref > %d then reject;\n"
            "            if roa_check(claims, net, %u) = ROA_INVALID then reject;\n"
            "            preference = 2 * bgp_local_pref;\n"
            "            accept;\n"
            "        };\n"
            "        export where source != RTS_BGP;\n"
            "    };\n"
            "}\n",
            n->name, n->number, nodes->own->link, AS_NUMBER, n->link, AS_NUMBER, n->number, g->fleet_text,
            GW_METRIC_MAX, n->number);
}

cmx_err gw_bird_config(FILE *f, struct gw *g, struct cmx_why *e)
{
    struct gw_nodes nodes;
    cmx_err err = gw_nodes_read(&g->registry, &g->fleet, &nodes, e);

    if (err)
        return err;
    put_head(f, g, &nodes);
    fprintf(f, "\nprotocol bfd { interface \"cmxlink*\" { interval 400 ms; multiplier 4; }; }\n");
    for (size_t i = 0; i < nodes.n; i++)
        if (&nodes.list[i] != nodes.own)
            put_neighbour(f, g, &nodes, &nodes.list[i]);
    return CMX_OK;
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
    if (copy.reason[0] || g->registry.stale) { /* the newest announcement counts then */
        fprintf(f, "# The registry is not followed now.\n");
        return err;
    }
    return err ? err : gw_claim_each(&g->registry, put_claim, &job, e);
}
