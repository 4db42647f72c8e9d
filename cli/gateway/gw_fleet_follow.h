/* gw_fleet_follow.h - follows the access logs of the other gateways of the fleet (gw_report.h). A gateway that does not
 * answer is asked again and again, and then sends what was missed. */
#ifndef CLI_GW_FLEET_FOLLOW_H
#define CLI_GW_FLEET_FOLLOW_H

#include "gateway/registry/node.h"
#include "gateway/server/gw_access_read.h"

struct gw_fleet_followed {
    const struct gw_node *node; /* NULL: this gateway itself */
    int fd;                     /* -1: not connected */
    bool asked;
    bool caught_up;   /* what the log had at the beginning has come */
    bool warned;      /* that it does not answer */
    bool malformed;   /* it sent malformed records, and the operator was warned of it */
    int64_t at_ms;    /* of the last line */
    size_t n;         /* lines with that time */
    size_t skip;      /* those of them that come again after a new connection */
    uint64_t next_ms; /* connected: when it is dead unless it sends; otherwise: when to connect */
    char line[GW_ACCESS_LINE_MAX];
    size_t len;
};

struct gw_fleet_follow {
    const struct gw_nodes *nodes;
    struct gw_fleet_followed list[GW_NODES_MAX];
};

/* nodes stays in use. Lines from since_ms (Unix) on are read. Needs root. */
void gw_fleet_follow_begin(struct gw_fleet_follow *f, const struct gw_nodes *nodes, int64_t since_ms);

/* Calls fn for each line that has come; waits for nothing. Warns of a gateway that does not answer. */
typedef void (*gw_fleet_line_fn)(void *arg, const struct gw_node *node, char *line);
void gw_fleet_follow_step(struct gw_fleet_follow *f, gw_fleet_line_fn fn, void *arg);

/* Each gateway has sent what its log had at the beginning, or does not answer. */
bool gw_fleet_follow_caught_up(const struct gw_fleet_follow *f);

#endif
