/* nft_ruleset.h - the isolation policy as an nftables ruleset: text, nothing else. Two tables of our own, `inet
 * cmxsafe` and `arp cmxsafe`, are replaced in one transaction; no other table is named. nft(8) is the language.
 *
 * What lwIP's attachment asks of the pure policy packet by packet, sets that our own packets fill answer here: an
 * answer passes to who was asked. Connection tracking is not used: no packet of a stranger's takes memory, and none of
 * ours waits for it. docs/ISOLATION.md says where the two differ. */
#ifndef CMX_LINUX_NFT_RULESET_H
#define CMX_LINUX_NFT_RULESET_H

#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/isolation/policy.h"

#define CMX_NFT_USERS_MAX 8
#define CMX_NFT_LIVE_MAX 32
#define CMX_NFT_TEXT_MAX (48 * 1024) /* the longest ruleset */
#define CMX_NFT_KEPT_MAX (8 * 1024)  /* the longest text of a memory's elements */

struct cmx_nft_context {
    const char *name;                  /* for the comment: letters, digits, '.', '_', '-'; others are left out */
    uint32_t users[CMX_NFT_USERS_MAX]; /* direct: who may connect */
    size_t n_users;                    /* 0: any local user */
};

/* What a ruleset learns and the next one takes over: the sessions' connections, neighbours that answered us, the
 * router. */
enum cmx_nft_memory {
    CMX_NFT_SESSIONS4,
    CMX_NFT_SESSIONS6,
    CMX_NFT_ND_PEERS,
    CMX_NFT_ROUTERS,
    CMX_NFT_ARP_PEERS,
    CMX_NFT_MEMORIES
};

struct cmx_nft_config {
    /* names, control_ports and contexts[].tasks are not looked at: a user takes their place. */
    struct cmx_iso_config policy;
    struct cmx_nft_context contexts[CMX_ISO_CONTEXTS_MAX]; /* beside policy.contexts */
    uint32_t agent_uid;                                    /* who may reach the gateway and the contexts' services */
    /* Gateways that sessions lead to now, of a gateway configured by name. */
    struct cmx_ip live[CMX_NFT_LIVE_MAX];
    size_t n_live;
    /* A session without a segment of ours for that long is no longer let in; the next segment mends it. */
    unsigned idle_s;
    /* A memory's elements as nft lists them between the braces; NULL: none. Borrowed. */
    const char *kept[CMX_NFT_MEMORIES];
    bool follow; /* the agent fills `resolving` and the gateways as it goes; else look-ups are open to its user all the
                    time */
};

/* Writes the whole ruleset. CMX_ENOSPC; CMX_EINVAL: counts out of range. */
CMX_MUST_USE cmx_err cmx_nft_ruleset(const struct cmx_nft_config *c, struct cmx_buf *out);

/* Deletes both tables, whether they are there or not. */
CMX_MUST_USE cmx_err cmx_nft_removal(struct cmx_buf *out);

/* A memory's name for nft: family, table and set. */
const char *cmx_nft_memory(enum cmx_nft_memory which);

/* A session to gateway begins (its address is let through) or ends (in half a minute it no longer is). */
CMX_MUST_USE cmx_err cmx_nft_gateway(struct cmx_buf *out, const struct cmx_ip *gateway, uint16_t port, bool begins);

/* The agent's look-ups are let through for at most a minute, or no longer. */
CMX_MUST_USE cmx_err cmx_nft_resolving(struct cmx_buf *out, uint32_t uid, bool begins);

#endif
