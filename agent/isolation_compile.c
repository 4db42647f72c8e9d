/* isolation_compile.c - [gateway], [context] and [isolation] as the ruleset's input. */
#include <arpa/inet.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"
#include "isolation.h"

#define WORD_MAX 64
#define IDLE_S 60

static bool numeric(const char *text, struct cmx_ip *ip)
{
    uint8_t b[16];

    if (inet_pton(AF_INET, text, b) == 1)
        return cmx_ip4(ip, b), true;
    if (inet_pton(AF_INET6, text, b) == 1)
        return cmx_ip6(ip, b), true;
    return false;
}

/* The next word of a list separated by commas or blanks. CMX_ENOENT: the end; CMX_ENOSPC: a word too long. */
static cmx_err next_word(const char **at, char word[WORD_MAX])
{
    size_t n;

    *at += strspn(*at, ", \t");
    n = strcspn(*at, ", \t");
    if (!n)
        return CMX_ENOENT;
    if (n >= WORD_MAX)
        return CMX_ENOSPC;
    memcpy(word, *at, n);
    word[n] = 0;
    *at += n;
    return CMX_OK;
}

static cmx_err addresses(const char *key, const char *text, struct cmx_ip *out, size_t *n, char *why, size_t cap)
{
    char word[WORD_MAX];
    cmx_err err;

    *n = 0;
    while (text && (err = next_word(&text, word)) != CMX_ENOENT) {
        if (err || !numeric(word, &out[*n])) {
            snprintf(why, cap, "[isolation] %s: '%.40s' is not an address", key, err ? text : word);
            return CMX_EINVAL;
        }
        if (++*n == CMX_ISO_ADDRESSES_MAX && text[strspn(text, ", \t")]) {
            snprintf(why, cap, "[isolation] %s: more than %d addresses", key, CMX_ISO_ADDRESSES_MAX);
            return CMX_EINVAL;
        }
    }
    return CMX_OK;
}

static cmx_err uid_of(const char *user, uint32_t *uid)
{
    struct passwd *p;
    uint64_t number;

    if (cmx_text_u64(user, 0, UINT32_MAX - 1, &number) == CMX_OK) {
        *uid = (uint32_t)number;
        return CMX_OK;
    }
    p = getpwnam(user);
    if (!p)
        return CMX_ENOENT;
    *uid = p->pw_uid;
    return CMX_OK;
}

static cmx_err users(const struct context_section *s, struct cmx_nft_context *out, char *why, size_t cap)
{
    const char *text = s->users;
    char word[WORD_MAX];
    cmx_err err;

    while (text && (err = next_word(&text, word)) != CMX_ENOENT) {
        if (err || out->n_users == CMX_NFT_USERS_MAX || uid_of(word, &out->users[out->n_users++]) != CMX_OK) {
            snprintf(why, cap, "[context %s] users: %s", s->name,
                     out->n_users == CMX_NFT_USERS_MAX ? "too many" : "no such user");
            return CMX_EINVAL;
        }
    }
    return CMX_OK;
}

static cmx_err context(const struct context_section *s, struct cmx_iso_context *x, struct cmx_nft_context *n, char *why,
                       size_t cap)
{
    x->direct = s->direction == CMX_DIRECT;
    x->port = (uint16_t)s->local_port;
    n->name = s->name;
    if (strcmp(s->local_host, "localhost") == 0)
        (void)numeric("127.0.0.1", &x->local);
    else if (!numeric(s->local_host, &x->local) || !cmx_ip_is_loopback(&x->local)) {
        snprintf(why, cap,
                 "[context %s] local_host: %.60s is not a loopback address, and isolation lets nothing else through",
                 s->name, s->local_host);
        return CMX_EINVAL;
    }
    return users(s, n, why, cap);
}

/* resolv.conf(5)'s name servers, where none are configured. */
static void system_resolvers(struct cmx_iso_config *p)
{
    char line[256], word[64];
    FILE *f = fopen("/etc/resolv.conf", "re");

    while (f && p->n_resolvers < CMX_ISO_ADDRESSES_MAX && fgets(line, sizeof line, f))
        if (sscanf(line, "nameserver %63s", word) == 1 && numeric(word, &p->resolvers[p->n_resolvers]))
            p->n_resolvers++;
    if (f)
        fclose(f);
}

static cmx_err peers(const struct agent_config *c, struct cmx_iso_config *p, char *why, size_t cap)
{
    const struct isolation_section *s = &c->isolation;
    cmx_err err = addresses("resolvers", s->resolvers, p->resolvers, &p->n_resolvers, why, cap);

    if (!err)
        err = addresses("time_servers", s->time_servers, p->time_servers, &p->n_time_servers, why, cap);
    if (err)
        return err;
    p->gateway_port = (uint16_t)c->gateway.port;
    if (numeric(c->gateway.host, &p->gateways[0]))
        p->n_gateways = 1;
    else if (!p->n_resolvers)
        system_resolvers(p);
    p->dhcp4 = s->dhcp;
    p->dhcp6 = s->dhcp && s->ipv6;
    p->ipv6 = s->ipv6;
    return CMX_OK;
}

cmx_err isolation_compile(const struct agent_config *c, bool follow, struct cmx_nft_config *out, char *why, size_t cap)
{
    cmx_err err;

    memset(out, 0, sizeof *out);
    out->follow = follow;
    out->idle_s = (unsigned)(c->gateway.keepalive_ms / 1000) + IDLE_S; /* a keepalive makes a session known again */
    out->agent_uid = (uint32_t)geteuid();
    if (c->isolation.agent_user && uid_of(c->isolation.agent_user, &out->agent_uid) != CMX_OK) {
        snprintf(why, cap, "[isolation] agent_user: there is no user %.40s", c->isolation.agent_user);
        return CMX_EINVAL;
    }
    err = peers(c, &out->policy, why, cap);
    for (size_t i = 0; i < c->n_contexts && !err; i++)
        err = context(&c->contexts[i], &out->policy.contexts[i], &out->contexts[i], why, cap);
    out->policy.n_contexts = c->n_contexts;
    return err;
}
