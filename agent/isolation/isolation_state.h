/* isolation_state.h - the state that the files of agent/isolation share. */
#pragma once

#include "agent/isolation/nft_guard.h"
#include "agent/isolation/nft_ruleset.h"
#include "agent/isolation/resolvers.h"
#include "cmxsafe/port/port.h"

#define ISOLATION_TAG "isolation"

typedef enum {
    ISOLATION_IN_FORCE,
    ISOLATION_CHANGED, /* another program changed the rules; the next turn of the loop installs them again */
    ISOLATION_BROKEN,  /* installing the rules again failed; the loop tries again at each turn */
    ISOLATION_RELEASED /* isolation is not enabled; rules that it installed before stay, but are not checked */
} isolation_state;

/* An address of a gateway that is configured by name. Sessions use the address now. */
struct live_gateway {
    struct cmx_end end;
    unsigned sessions;
};

struct isolation {
    struct nft_guard *guard;
    struct cmx_mutex lock;       /* guards all members: session tasks and HTTP threads use them too */
    isolation_state state;       /* set only by set_state */
    int wake;                    /* eventfd of the agent's loop */
    struct cmx_nft_config rules; /* the rules in force, without the addresses in `live` */
    unsigned resolving;          /* look-ups of gateways' names in progress */
    struct live_gateway live[CMX_NFT_LIVE_MAX];
    struct resolvers_stamp stamp;
    unsigned long long repairs; /* number of repairs since the start */
};

/* Call with the lock held. Checks the rules. If another program changed them, sets ISOLATION_CHANGED and wakes the
 * loop.
 */
void isolation_observe(struct isolation *s);
