/* gw_fleet_ask.h - sends a question to all other gateways of the fleet at the same time, over their links
 * (gw_report.h). */
#ifndef CLI_GW_FLEET_ASK_H
#define CLI_GW_FLEET_ASK_H

#include "gateway/folder/gw_folder.h"
#include "gateway/registry/node.h"

struct gw_fleet_answer {
    const struct gw_node *node;
    char *text;       /* what the reader wrote; NULL: no answer in time, not a complete one, or none that can be read */
    size_t malformed; /* how many pieces of the answer were refused; without a text: 1 if it was refused as a whole */
};

/* Writes what is usable of another gateway's answer again, with known members and checked values (gw_fleet_answer.h). A
 * piece that can't be is left out, and counted. CMX_EFORMAT: this is no answer. */
typedef cmx_err (*gw_fleet_reader)(const char *text, FILE *out, size_t *malformed);

struct gw_fleet_answers {
    struct gw_nodes nodes; /* own NULL: there are no other gateways */
    struct gw_fleet_answer list[GW_NODES_MAX];
    size_t n;
};

/* A socket that is being connected to another gateway; -1: it can't be made. Needs root. */
int gw_fleet_connect(const struct gw_nodes *nodes, const struct gw_node *node);

/* Sends the question to each other gateway, and waits for answers that end with `end`. What another gateway's process
 * sends is foreign: it is bounded, and only what the reader makes of it gets into the answers. Needs root. */
void gw_fleet_ask(struct gw *g, const char *question, const char *end, gw_fleet_reader reader,
                  struct gw_fleet_answers *out);
/* Warns of each gateway whose answer is missing or malformed; what: what it would list, such as "sessions". */
void gw_fleet_warn(const struct gw_fleet_answers *a, const char *what);
void gw_fleet_free(struct gw_fleet_answers *a);

#endif
