/* gw_fleet_follow.h - follows the access logs of the other gateways of the fleet (gw_report.h). If a gateway does not
 * answer, the request is repeated until it does; its answer then begins where the last one ended. */
#pragma once

#include "gateway/registry/node.h"
#include "gateway/server/gw_access_read.h"

struct gw_fleet_followed {
    const struct gw_node *node; /* NULL: this gateway itself */
    int fd;                     /* -1: not connected */
    bool asked;
    bool answered;    /* this connection has brought at least one byte */
    bool caught_up;   /* all lines that the log had at the beginning have arrived */
    bool warned;      /* the operator was warned that this gateway does not answer */
    bool refused;     /* the operator was warned that this gateway closes connections without an answer */
    bool malformed;   /* the operator was warned that this gateway sends malformed records */
    int64_t at_ms;    /* time of the last line */
    size_t n;         /* lines with that time */
    size_t skip;      /* how many of those lines a new connection sends again */
    uint64_t next_ms; /* connected: when the connection counts as dead unless something arrives; otherwise: when to
                       * connect */
    char line[GW_ACCESS_LINE_MAX];
    size_t len;
};

struct gw_fleet_follow {
    const struct gw_nodes *nodes;
    struct gw_fleet_followed list[GW_NODES_MAX];
};

/* Borrows nodes for as long as f is used. Lines from since_ms (Unix) on are read. Needs root. */
void gw_fleet_follow_begin(struct gw_fleet_follow *f, const struct gw_nodes *nodes, int64_t since_ms);

/* Calls fn for each line that has arrived, without waiting. Prints a warning if a gateway does not answer. */
typedef void (*gw_fleet_line_fn)(void *arg, const struct gw_node *node, char *line);
void gw_fleet_follow_step(struct gw_fleet_follow *f, gw_fleet_line_fn fn, void *arg);

/* True once each gateway has sent the lines that its log had at the beginning, or does not answer. */
bool gw_fleet_follow_caught_up(const struct gw_fleet_follow *f);
