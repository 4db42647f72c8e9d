/* gw_fleet_ask.h - asks the other gateways of the fleet over their links, as gw_report.h describes, all at once. */
#ifndef CLI_GW_FLEET_ASK_H
#define CLI_GW_FLEET_ASK_H

#include "gateway/folder/gw_folder.h"
#include "gateway/registry/node.h"

struct gw_fleet_answer {
    const struct gw_node *node;
    char *text; /* NULL: it did not answer in time, or not completely */
};

struct gw_fleet_answers {
    struct gw_nodes nodes; /* own NULL: the gateway is alone, and nobody was asked */
    struct gw_fleet_answer list[GW_NODES_MAX];
    size_t n;
};

/* Sends the question to each other gateway, and waits for answers that end with `end`. Needs root. */
void gw_fleet_ask(struct gw *g, const char *question, const char *end, struct gw_fleet_answers *out);
/* Warns of each gateway that gave no answer; what: what is missing, such as "its sessions". */
void gw_fleet_warn(const struct gw_fleet_answers *a, const char *what);
void gw_fleet_free(struct gw_fleet_answers *a);

#endif
