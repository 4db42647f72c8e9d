/* gw_fleet_ask.h - sends a request to all other gateways of the fleet at the same time, over their links
 * (gw_report.h). */
#pragma once

#include "gateway/folder/gw_folder.h"
#include "gateway/registry/node.h"

struct gw_fleet_answer {
    const struct gw_node *node;
    char *text;       /* the reader's output; NULL: the answer was late, incomplete or malformed as a whole */
    size_t malformed; /* number of refused parts of the answer; 1 if the whole answer was refused */
};

/* Writes the valid parts of another gateway's answer to out (gw_fleet_answer.h). Leaves out and counts malformed parts.
 * CMX_EFORMAT: the text is not an answer. */
typedef cmx_err (*gw_fleet_reader)(const char *text, FILE *out, size_t *malformed);

struct gw_fleet_answers {
    struct gw_nodes nodes; /* nodes.own is NULL if this gateway is not registered in a fleet */
    struct gw_fleet_answer list[GW_NODES_MAX];
    size_t n;
};

/* Creates a socket in the fleet's namespace and starts to connect it. gid: the socket's group; the packet filter
 * decides by it which sources the socket may use. Returns -1 on failure. Needs root. */
int gw_fleet_connect(gid_t gid, const char *source, const char *target, uint16_t port);
/* Starts to connect to another gateway, over the link to it. */
int gw_fleet_connect_node(const struct gw_nodes *nodes, const struct gw_node *node);

/* Sends the request to each other gateway, and waits for complete answers. The other gateways are not
 * trusted: the length of an answer is limited, and `out` contains only what the reader wrote. Needs root. */
void gw_fleet_ask(struct gw *g, const char *question, gw_fleet_reader reader, struct gw_fleet_answers *out);
/* Prints a warning for each gateway whose answer is missing or malformed. what: the content of the answers, such as
 * "sessions". */
void gw_fleet_warn(const struct gw_fleet_answers *a, const char *what);
void gw_fleet_free(struct gw_fleet_answers *a);
