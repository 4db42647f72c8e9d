/* isolation_compile.c - turns [gateway], [context] and [isolation] into the ruleset's input. */
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/isolation/agent_isolation.h"
#include "agent/isolation/resolvers.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/isolation/digest.h"

#define IDLE_S 60

/* Sets the users of a direct context. lenient: leaves out users that do not exist; otherwise they are an error. */
static cmx_err users(const struct context_section *s, bool lenient, struct cmx_nft_context *out, struct cmx_why *why)
{
    const char *text = s->options.tasks;
    char word[ISOLATION_WORD_MAX];
    cmx_err err;

    out->open = !text;
    while (text && (err = isolation_word(&text, word)) != CMX_ENOENT) {
        if (out->n_users == CMX_NFT_USERS_MAX)
            return cmx_why_fail(why, CMX_EINVAL, "[context %s] users: more than %d", s->name, CMX_NFT_USERS_MAX);
        if (!err && isolation_uid(word, &out->users[out->n_users]) == CMX_OK)
            out->n_users++;
        else if (err || !lenient)
            return cmx_why_fail(why, CMX_EINVAL, "[context %s] users: there is no user %.40s", s->name,
                                err ? text : word);
    }
    return CMX_OK;
}

cmx_err isolation_check_users(const struct agent_config *c, struct cmx_why *why)
{
    const char *forwarder = c->isolation.enabled ? c->isolation.forwarder : NULL;
    cmx_err err = CMX_OK;
    uint32_t uid;

    if (forwarder && isolation_uid(forwarder, &uid) != CMX_OK)
        err = cmx_why_fail(why, CMX_EINVAL, "[isolation] forwarder: there is no user %.40s", forwarder);
    for (size_t i = 0; i < c->n_contexts && c->isolation.enabled && !err; i++) {
        struct cmx_nft_context found = {.n_users = 0};

        err = users(&c->contexts[i], false, &found, why);
    }
    return err;
}

static cmx_err context(const struct context_section *s, bool lenient, struct cmx_iso_context *x,
                       struct cmx_nft_context *n, struct cmx_why *why)
{
    const char *host = s->options.local_host;

    x->direct = s->options.direction == CMX_DIRECT;
    x->port = s->options.local_port;
    n->name = s->name;
    if (!cmx_ip_parse(&x->local, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host) || !cmx_ip_is_loopback(&x->local))
        return cmx_why_fail(why, CMX_EINVAL,
                            "[context %s] local_host: %.60s is not a loopback address, and isolation permits no other",
                            s->name, host);
    return users(s, lenient, n, why);
}

static cmx_err peers(const struct agent_config *c, struct cmx_nft_config *out, struct cmx_why *why)
{
    const struct isolation_section *s = &c->isolation;
    struct cmx_iso_config *p = &out->policy;
    struct resolvers r;
    cmx_err err = resolvers_find(c, &r, why);

    if (!err)
        err = isolation_addresses("time_servers", s->time_servers, p->time_servers, &p->n_time_servers, why);
    if (err)
        return err;
    memcpy(p->resolvers, r.ip, sizeof p->resolvers);
    p->n_resolvers = r.n;
    out->forwarder_uid = r.forwarder_uid;
    for (size_t i = 0; i < c->gateways.n; i++) {
        p->gateways[i].port = c->gateways.at[i].port;
        if (!cmx_ip_parse(&p->gateways[i].ip, c->gateways.at[i].host))
            p->gateways[i].name = c->gateways.at[i].host;
    }
    p->n_gateways = c->gateways.n;
    p->dhcp4 = s->dhcp;
    p->dhcp6 = s->dhcp && s->ipv6;
    p->ipv6 = s->ipv6;
    return CMX_OK;
}

cmx_err isolation_compile(const struct agent_config *c, bool follow, struct cmx_nft_config *out, struct cmx_why *why)
{
    const bool released = follow && !c->isolation.enabled;
    cmx_err err;

    memset(out, 0, sizeof *out);
    out->follow = follow;
    out->idle_s = c->gateway.options.keepalive_s + IDLE_S; /* longer than the time between two keepalives */
    out->agent_uid = (uint32_t)geteuid();
    if (c->isolation.agent_user && isolation_uid(c->isolation.agent_user, &out->agent_uid) != CMX_OK)
        return cmx_why_fail(why, CMX_EINVAL, "[isolation] agent_user: there is no user %.40s", c->isolation.agent_user);
    err = peers(c, out, why);
    for (size_t i = 0; i < c->n_contexts && !err; i++) {
        const size_t n = out->policy.n_contexts;

        memset(&out->contexts[n], 0, sizeof out->contexts[n]);
        err = context(&c->contexts[i], follow, &out->policy.contexts[n], &out->contexts[n], why);
        if (!err)
            out->policy.n_contexts++;
        else if (released)
            err = CMX_OK;
    }
    return err;
}

cmx_err isolation_digest(const struct agent_config *c, uint8_t out[CMX_SHA256_LEN])
{
    struct cmx_nft_config *n = cmx_mem_alloc(sizeof *n);
    struct cmx_iso_config *p = n ? &n->policy : NULL;
    cmx_err err = n ? isolation_compile(c, true, n, NULL) : CMX_ENOMEM;

    if (err)
        goto out;
    memset(p->resolvers, 0, sizeof p->resolvers); /* the digest covers only resolvers from the configuration */
    err = isolation_addresses("resolvers", c->isolation.resolvers, p->resolvers, &p->n_resolvers, NULL);
    /* The agent's time servers are addresses. The fields for names of time servers hold the permitted users instead, so
     * that the digest, which microcontrollers compute too, needs no further fields. */
    p->time_names[0] = c->isolation.forwarder;
    p->time_names[1] = c->isolation.agent_user;
    for (size_t i = 0; i < c->n_contexts; i++)
        p->contexts[i].tasks = p->contexts[i].direct ? c->contexts[i].options.tasks : NULL;
    if (!err)
        err = cmx_iso_config_digest(p, out);
out:
    cmx_mem_free(n);
    return err;
}
