/* nft_ruleset.h - the isolation policy as an nftables ruleset: text, no I/O. The rules are isolation.nft, which is
 * embedded; this file writes the elements of its sets. nft(8) describes the language.
 *
 * The ruleset owns two tables, `inet cmxsafe` and `arp cmxsafe`, and replaces them in one transaction. It names no
 * other table. docs/ISOLATION.md lists where the rules differ from the policy of src/cmxsafe/isolation. */
#pragma once

#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/isolation/policy.h"

#define CMX_NFT_USERS_MAX 8
#define CMX_NFT_LIVE_MAX 32
/* Maximum length of a ruleset in bytes, learned elements included. */
#define CMX_NFT_TEXT_MAX (96 * 1024 + CMX_ISO_CONTEXTS_MAX * 512)
#define CMX_NFT_KEPT_MAX (8 * 1024) /* maximum length of the list of one set's learned elements, in bytes */

struct cmx_nft_context {
    /* The context's name, for comments in the rules; characters other than letters, digits and "._-" are left out. */
    const char *name;
    bool open;                         /* direct contexts: any local user may connect */
    uint32_t users[CMX_NFT_USERS_MAX]; /* direct contexts that are not open: users that may connect */
    size_t n_users;
};

/* Sets whose learned elements a new ruleset takes over: the sessions' connections, neighbours that answered us, the
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
    /* These members of policy are not used: the names of contexts and gateways, control_ports and contexts[].tasks. On
     * Linux the rules distinguish users, not tasks. */
    struct cmx_iso_config policy;
    struct cmx_nft_context contexts[CMX_ISO_CONTEXTS_MAX]; /* parallel to policy.contexts */
    uint32_t agent_uid;     /* user that may connect to gateways and contexts' services */
    uint32_t forwarder_uid; /* user of a local name server that queries the resolvers for the agent; 0: none */
    /* Addresses of gateways that are configured by name: those that current sessions use or, for the command `cmxsafed
     * isolation`, those to which the names resolve now. */
    struct cmx_end live[CMX_NFT_LIVE_MAX];
    size_t n_live;
    /* Inbound packets of a session are dropped once the agent has sent nothing on it for idle_s seconds; the agent's
     * next segment lets them in again. */
    unsigned idle_s;
    /* Learned elements as nft lists them between the braces; NULL: none. Borrowed. */
    const char *kept[CMX_NFT_MEMORIES];
    /* True: the agent fills the sets `resolving`, gateways4 and gateways6 while it runs. False: look-ups are always
     * permitted. */
    bool follow;
};

/* Writes the whole ruleset. CMX_ENOSPC: out is too small; CMX_EINVAL: a count is out of range. */
CMX_MUST_USE cmx_err cmx_nft_ruleset(const struct cmx_nft_config *c, struct cmx_buf *out);

/* Writes the ruleset without any configuration: only ARP passes. CMX_ENOSPC: out is too small. */
CMX_MUST_USE cmx_err cmx_nft_deny(struct cmx_buf *out);

/* Writes the commands that delete both tables, whether or not the tables exist. CMX_ENOSPC: out is too small. */
CMX_MUST_USE cmx_err cmx_nft_removal(struct cmx_buf *out);

/* Returns the name of a set with learned elements, as nft commands write it: family, table and set. */
const char *cmx_nft_memory(enum cmx_nft_memory which);

/* Writes the change for a session to gateway. begins true: permits the gateway's address. False: lets this permission
 * expire after 30 s. CMX_ENOSPC: out is too small. */
CMX_MUST_USE cmx_err cmx_nft_gateway(struct cmx_buf *out, const struct cmx_end *gateway, bool begins);

/* Writes the change for a look-up. begins true: permits its queries for at most a minute. False: withdraws this
 * permission. CMX_ENOSPC: out is too small. */
CMX_MUST_USE cmx_err cmx_nft_resolving(struct cmx_buf *out, const struct cmx_nft_config *c, bool begins);

/* Writes the change that replaces the resolvers. CMX_ENOSPC: out is too small. */
CMX_MUST_USE cmx_err cmx_nft_resolvers(struct cmx_buf *out, const struct cmx_ip *ips, size_t n);
