/* nft_ruleset.h - the isolation policy as an nftables ruleset: text, nothing else. Two tables of our own, `inet
 * cmxsafe` and `arp cmxsafe`, are replaced in one transaction; no other table is named. nft(8) is the language.
 *
 * What lwIP's attachment asks of the pure policy packet by packet, the kernel's connection tracking and a few sets that
 * our own requests fill answer here; docs/ISOLATION.md says where the two differ. */
#ifndef CMX_LINUX_NFT_RULESET_H
#define CMX_LINUX_NFT_RULESET_H

#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/isolation/policy.h"

#define CMX_NFT_USERS_MAX 8
#define CMX_NFT_LIVE_MAX 32
#define CMX_NFT_TEXT_MAX (32 * 1024) /* the longest ruleset */

struct cmx_nft_context {
    const char *name;                  /* for the comment: letters, digits, '.', '_', '-'; others are left out */
    uint32_t users[CMX_NFT_USERS_MAX]; /* direct: who may connect */
    size_t n_users;                    /* 0: any local user */
};

struct cmx_nft_config {
    /* names, control_ports and contexts[].tasks are not looked at: a user takes their place. */
    struct cmx_iso_config policy;
    struct cmx_nft_context contexts[CMX_ISO_CONTEXTS_MAX]; /* beside policy.contexts */
    uint32_t agent_uid;                                    /* who may reach the gateway and the contexts' services */
    /* Gateways that sessions lead to now, of a gateway configured by name. */
    struct cmx_ip live[CMX_NFT_LIVE_MAX];
    size_t n_live;
    bool follow; /* the agent fills `resolving` and the gateways as it goes; else look-ups are open to its user all the
                    time */
};

/* Writes the whole ruleset. CMX_ENOSPC; CMX_EINVAL: counts out of range. */
CMX_MUST_USE cmx_err cmx_nft_ruleset(const struct cmx_nft_config *c, struct cmx_buf *out);

/* Deletes both tables, whether they are there or not. */
CMX_MUST_USE cmx_err cmx_nft_removal(struct cmx_buf *out);

/* A session to gateway begins (its address is let through) or ends (in half a minute it no longer is). */
CMX_MUST_USE cmx_err cmx_nft_gateway(struct cmx_buf *out, const struct cmx_ip *gateway, uint16_t port, bool begins);

/* The agent's look-ups are let through for at most a minute, or no longer. */
CMX_MUST_USE cmx_err cmx_nft_resolving(struct cmx_buf *out, uint32_t uid, bool begins);

#endif
