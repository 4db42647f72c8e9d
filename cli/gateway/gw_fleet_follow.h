/* gw_fleet_follow.h - follows the access logs of the other gateways of the fleet (gw_report.h). If a gateway does not
 * answer or closes the connection, the request is repeated from the time of the last line that arrived. The gateway
 * then sends the lines with that time again; those that had already arrived are skipped. */
#pragma once

#include "gateway/registry/node.h"
#include "gateway/server/gw_access_read.h"

struct gw_fleet_followed {
    const struct gw_node *node; /* NULL: this gateway itself */
    int fd;                     /* -1: not connected */
    bool asked;
    bool answered;    /* at least one byte arrived on this connection */
    bool caught_up;   /* all lines have arrived that were in the log at the start of 'access --follow' */
    bool warned;      /* the operator was warned that the gateway does not answer */
    bool refused;     /* the operator was warned that the gateway closes the connection instead of answering */
    bool malformed;   /* the operator was warned that the gateway sends malformed records */
    int64_t at_ms;    /* time of the last line; since_ms before the first one */
    size_t n;         /* number of lines with the time at_ms that have arrived */
    size_t skip;      /* how many of these n lines the gateway is yet to repeat on this connection */
    uint64_t next_ms; /* while connected, the time at which the connection counts as dead if nothing arrives; otherwise
                         the time of the next attempt to connect */
    size_t received;  /* bytes that have arrived, over all connections */
    char line[GW_ACCESS_LINE_MAX];
    size_t len;
};

struct gw_fleet_follow {
    const struct gw_nodes *nodes;
    uint64_t begun_ms;
    bool live; /* what gw_fleet_follow_caught_up last returned */
    struct gw_fleet_followed list[GW_NODES_MAX];
};

/* Starts to follow. Borrows nodes for as long as f is used. since_ms: Unix time in ms; earlier lines are not read.
 * Needs root. */
void gw_fleet_follow_begin(struct gw_fleet_follow *f, const struct gw_nodes *nodes, int64_t since_ms);

/* Does not wait: calls fn for each line that has arrived. Prints a warning if a gateway does not answer. */
typedef void (*gw_fleet_line_fn)(void *arg, const struct gw_node *node, char *line);
void gw_fleet_follow_step(struct gw_fleet_follow *f, gw_fleet_line_fn fn, void *arg);

/* True once each gateway that answers has caught up. The other gateways are not trusted: if one sends too much, or
 * needs longer than 30 s to catch up, it is disconnected and counts as one that does not answer. */
bool gw_fleet_follow_caught_up(struct gw_fleet_follow *f);
/* Closes the connections. */
void gw_fleet_follow_end(struct gw_fleet_follow *f);
