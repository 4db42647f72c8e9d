/* gw_hold.h - the identities whose sessions are at this gateway, when it is one of several. Each is claimed: its route
 * is announced to the others (gw_claims.h) and the claim is published in the registry. A newer claim of another
 * gateway ends the sessions here. */
#pragma once

#include "gateway/registry/node.h"
#include "gateway/server/gw_claims.h"
#include "gateway/server/gw_server.h"

/* One identity, here or at another gateway. It stays in the list after its last session, since its sequence is still
 * needed; the registry bounds how many there are. */
struct gw_hold {
    struct gw_hold *next;
    uint8_t address[16];
    char text[GW_ADDRESS_MAX];
    unsigned sessions;
    int64_t sequence; /* 0: never claimed */
    bool announced;   /* the route that announces the claim is set */
    unsigned seen;    /* the newest metric of another gateway's route since the start; 0: none */
    int64_t since;
    uint64_t changed; /* number of its last change */
};

/* Watches the other gateways' routes. False: the watch failed. */
bool gw_hold_open(struct gw_server *s);
void gw_hold_close(struct gw_server *s);
/* Call when a session has logged in and has its identity. False: another gateway has a live session of this identity
 * (gw_peer.h). */
bool gw_hold_begin(struct gw_server *s, struct gw_session *x);
/* Call when a session has ended. */
void gw_hold_end(struct gw_server *s, const struct gw_session *x);
/* Call when the registry may have changed: reads the nodes, and ends sessions whose identity another node has claimed
 * since. */
void gw_hold_recheck(struct gw_server *s, struct gw_registry *r);
/* Call when the routes have changed. */
void gw_hold_routes(struct gw_server *s);
/* Adds "next", "sessions" and "claims" to the object that is open. claims: those that changed since number `from`; a
 * released claim has no node. */
void gw_hold_json(struct cmx_json *j, const struct gw_server *s, uint64_t from);
