/* gw_hold.h - the identities that have sessions on this gateway, if the fleet has several gateways. This gateway claims
 * each of these identities: it announces the identity's route to the other gateways (gw_claims.h) and publishes the
 * claim in the registry. If another gateway later announces or publishes a newer claim, this gateway ends the
 * identity's sessions. */
#pragma once

#include "gateway/registry/node.h"
#include "gateway/server/gw_claims.h"
#include "gateway/server/gw_server.h"

/* One identity, on this or another gateway. It stays in the list after its last session has ended, because its sequence
 * is still needed. An identity that another gateway announces has an entry, too; each gateway's announcements can add
 * at most GW_NODE_CLAIMS_MAX entries. */
struct gw_hold {
    struct gw_hold *next;
    uint8_t address[CMX_IPV6_LEN];
    char text[GW_ADDRESS_MAX];
    unsigned sessions;
    int64_t sequence; /* 0: never claimed */
    bool announced;   /* this gateway has added the route that announces its claim */
    unsigned seen;    /* newest metric that another gateway has announced since this server started; 0: none */
    int64_t since;
    uint64_t changed; /* number of the last change; see gw_hold_json */
};

/* Starts watching the other gateways' routes. False: they can't be watched. */
bool gw_hold_open(struct gw_server *s);
void gw_hold_close(struct gw_server *s);
/* Call this when a session has logged in and has its identity. False: end the session, because another gateway has a
 * live session that holds ports of this identity (gw_peer.h). */
bool gw_hold_begin(struct gw_server *s, struct gw_session *x);
/* Call this when a session has ended. */
void gw_hold_end(struct gw_server *s, const struct gw_session *x);
/* Call this when the registry may have changed. Reads the nodes. Marks the sessions whose identity another node has
 * claimed after their login; the server's loop then ends the marked sessions. */
void gw_hold_recheck(struct gw_server *s, struct gw_registry *r);
/* Call this when other gateways' routes have changed, or routes of this gateway were removed. */
void gw_hold_routes(struct gw_server *s);
/* Call this about every second. A few seconds after routes of this gateway were removed, sets all its routes again. */
void gw_hold_tick(struct gw_server *s);
/* Adds three members to the open JSON object. next: the value of `from` for the next request. sessions: the number of
 * sessions that have logged in. claims: the claims whose last change has the number `from` or a higher one. The member
 * "node" of a claim is "" if this gateway has released it. */
void gw_hold_json(struct cmx_json *j, struct gw_server *s, uint64_t from);
