/* resolvers.h - finds the name servers that the agent may query: those in [isolation] resolvers or, if none are given
 * there, those in /etc/resolv.conf. The latter file can change while the agent runs (DHCP, another network).
 *
 * A name server on this machine (systemd-resolved's stub, dnsmasq) sends queries of its own, as another user. This
 * module finds the user and the upstream servers of systemd-resolved. The user and the upstream servers of any other
 * forwarder must be configured. */
#pragma once

#include <stdint.h>

#include "agent/config/agent_config.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/isolation/policy.h"

struct resolvers {
    struct cmx_ip ip[CMX_ISO_ADDRESSES_MAX];
    size_t n;
    uint32_t forwarder_uid; /* user of the local name server that forwards queries; 0: none or not known */
    bool stuck;             /* all name servers are on this machine, and forwarder_uid is 0 */
};

/* Finds the name servers. CMX_EINVAL: an address or user in the configuration is wrong; why names it. */
CMX_MUST_USE cmx_err resolvers_find(const struct agent_config *c, struct resolvers *out, struct cmx_why *why);

/* The state of /etc/resolv.conf and of systemd-resolved's resolv.conf. */
struct resolvers_stamp {
    uint64_t file[2][4];
};
/* True if these files have changed since the last call with this stamp. With a zeroed stamp: true if one of the files
 * exists. */
bool resolvers_changed(struct resolvers_stamp *s);

/* Helpers that read parts of the configuration; isolation_compile.c uses them too. */
CMX_MUST_USE cmx_err isolation_addresses(const char *key, const char *text, struct cmx_ip *out, size_t *n,
                                         struct cmx_why *why);
/* Copies the next word of a list separated by commas or blanks, and sets *at to the text after the word. CMX_ENOENT:
 * there is no further word; CMX_ENOSPC: the word is too long. */
#define ISOLATION_WORD_MAX 64
CMX_MUST_USE cmx_err isolation_word(const char **at, char word[ISOLATION_WORD_MAX]);
/* Finds the uid of a user, given by name or number. CMX_ENOENT: there is no such user. */
CMX_MUST_USE cmx_err isolation_uid(const char *user, uint32_t *uid);

/* Advice for an error about name servers: one sentence. */
extern const char resolvers_advice[];
