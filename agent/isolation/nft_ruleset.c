#include "agent/isolation/nft_ruleset.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define IDLE "@idle@"     /* placeholder in isolation.nft */
#define IDLE_WITHOUT_S 60 /* value of IDLE in the ruleset that denies everything */

extern const char cmx_isolation_nft[];

/* Writes until something fails; the caller checks err once, at the end. */
struct text {
    struct cmx_buf *out;
    cmx_err err;
};

static void put(struct text *t, const char *s)
{
    if (!t->err)
        t->err = cmx_buf_put_str(t->out, s);
}

static void put_number(struct text *t, unsigned long n)
{
    if (!t->err)
        t->err = cmx_buf_printf(t->out, "%lu", n);
}

static void put_ip(struct text *t, const struct cmx_ip *ip)
{
    char s[INET6_ADDRSTRLEN] = "";
    size_t len;
    const uint8_t *bytes = cmx_ip_bytes(ip, &len);

    inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, s, sizeof s);
    put(t, s);
}

static void put_ip_port(struct text *t, const struct cmx_ip *ip, unsigned port)
{
    put_ip(t, ip);
    put(t, " . ");
    put_number(t, port);
}

/* Writes isolation.nft, with its placeholder replaced. */
static void put_rules(struct text *t, unsigned idle_s)
{
    const char *from = cmx_isolation_nft, *to;

    for (; (to = strstr(from, IDLE)) != NULL; from = to + strlen(IDLE)) {
        if (!t->err)
            t->err = cmx_buf_put(t->out, from, (size_t)(to - from));
        put_number(t, idle_s);
    }
    put(t, from);
}

/* ---- elements: one command each ---- */

static void open_command(struct text *t, const char *verb, const char *set)
{
    put(t, verb);
    put(t, " element inet cmxsafe ");
    put(t, set);
    put(t, " { ");
}

static void open_element(struct text *t, const char *set)
{
    open_command(t, "add", set);
}

static void close_element(struct text *t)
{
    put(t, " }\n");
}

/* Begins an element of one of two sets, by the address's family: "gateways" means gateways4 or gateways6. */
static void open_element_for(struct text *t, const char *set, const struct cmx_ip *ip)
{
    char name[32];

    snprintf(name, sizeof name, "%s%c", set, cmx_ip_is_v4(ip) ? '4' : '6');
    open_element(t, name);
}

static void add_ips(struct text *t, const char *set, const struct cmx_ip *ips, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        open_element_for(t, set, &ips[i]);
        put_ip(t, &ips[i]);
        close_element(t);
    }
}

static void add_gateway(struct text *t, const struct cmx_ip *ip, unsigned port)
{
    open_element_for(t, "gateways", ip);
    put_ip_port(t, ip, port);
    close_element(t);
}

static void add_gateways(struct text *t, const struct cmx_nft_config *c)
{
    for (size_t i = 0; i < c->policy.n_gateways; i++)
        if (!cmx_ip_is_any(&c->policy.gateways[i].ip))
            add_gateway(t, &c->policy.gateways[i].ip, c->policy.gateways[i].port);
    for (size_t i = 0; i < c->n_live; i++)
        add_gateway(t, &c->live[i].ip, c->live[i].port);
}

/* Writes a name into a quoted string of nft, without the characters that could end the string. */
static void put_comment(struct text *t, const char *name)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    put(t, " comment \"context ");
    for (; name && *name; name++) {
        const char c[2] = {*name, 0};

        if (strchr(fine, *name))
            put(t, c);
    }
    put(t, "\"");
}

static void add_place(struct text *t, const char *set, const struct cmx_iso_context *x, const char *name)
{
    static const uint8_t localhost[4] = {127, 0, 0, 1};
    struct cmx_ip ip = x->local;

    if (cmx_ip_is_any(&ip))
        cmx_ip_v4(&ip, localhost);
    open_element_for(t, set, &ip);
    put_ip_port(t, &ip, x->port);
    put_comment(t, name);
    close_element(t);
}

static void add_listener(struct text *t, const struct cmx_iso_context *x, const struct cmx_nft_context *n)
{
    static const uint8_t localhost[4] = {127, 0, 0, 1};
    struct cmx_ip ip = x->local;

    if (cmx_ip_is_any(&ip))
        cmx_ip_v4(&ip, localhost);
    add_place(t, "listeners", x, n->name);
    if (n->n_users == 0)
        add_place(t, "open_listeners", x, n->name);
    for (size_t i = 0; i < n->n_users; i++) {
        open_element_for(t, "listener_users", &ip);
        put_number(t, n->users[i]);
        put(t, " . ");
        put_ip_port(t, &ip, x->port);
        put_comment(t, n->name);
        close_element(t);
    }
}

static void add_contexts(struct text *t, const struct cmx_nft_config *c)
{
    for (size_t i = 0; i < c->policy.n_contexts; i++) {
        const struct cmx_iso_context *x = &c->policy.contexts[i];

        if (x->direct)
            add_listener(t, x, &c->contexts[i]);
        else
            add_place(t, "services", x, c->contexts[i].name);
    }
}

static void add_uid(struct text *t, const char *set, uint32_t uid)
{
    open_element(t, set);
    put_number(t, uid);
    close_element(t);
}

/* Writes the elements that permit DHCP and IPv6 neighbour discovery, as the configuration says. */
static void add_link(struct text *t, const struct cmx_iso_config *p)
{
    if (p->dhcp4)
        put(t, "add element inet cmxsafe dhcp_ports { 68 . 67 }\n");
    if (p->dhcp6 && p->ipv6)
        put(t, "add element inet cmxsafe dhcp_ports { 546 . 547 }\n");
    if (p->ipv6)
        put(t, "add element inet cmxsafe link_families { ipv6 }\n");
}

static const char *const memories[CMX_NFT_MEMORIES] = {
    [CMX_NFT_SESSIONS4] = "inet cmxsafe sessions4", [CMX_NFT_SESSIONS6] = "inet cmxsafe sessions6",
    [CMX_NFT_ND_PEERS] = "inet cmxsafe nd_peers",   [CMX_NFT_ROUTERS] = "inet cmxsafe routers",
    [CMX_NFT_ARP_PEERS] = "arp cmxsafe peers",
};

const char *cmx_nft_memory(enum cmx_nft_memory which)
{
    return memories[which];
}

static void add_memories(struct text *t, const struct cmx_nft_config *c)
{
    for (size_t i = 0; i < CMX_NFT_MEMORIES; i++) {
        if (!c->kept[i])
            continue;
        put(t, "add element ");
        put(t, memories[i]);
        put(t, " {");
        put(t, c->kept[i]);
        put(t, "}\n");
    }
}

/* ---- whole texts ---- */

cmx_err cmx_nft_ruleset(const struct cmx_nft_config *c, struct cmx_buf *out)
{
    struct text t = {.out = out};
    const struct cmx_iso_config *p = &c->policy;

    if (p->n_gateways > CMX_ISO_GATEWAYS_MAX || p->n_resolvers > CMX_ISO_ADDRESSES_MAX ||
        p->n_time_servers > CMX_ISO_ADDRESSES_MAX || p->n_contexts > CMX_ISO_CONTEXTS_MAX ||
        c->n_live > CMX_NFT_LIVE_MAX || !c->idle_s)
        return CMX_EINVAL;
    put_rules(&t, c->idle_s);
    add_uid(&t, "agent", c->agent_uid);
    add_gateways(&t, c);
    add_ips(&t, "resolvers", p->resolvers, p->n_resolvers);
    if (!c->follow)
        add_uid(&t, "resolving", c->agent_uid);
    if (!c->follow && c->forwarder_uid)
        add_uid(&t, "resolving", c->forwarder_uid);
    add_ips(&t, "time_servers", p->time_servers, p->n_time_servers);
    add_contexts(&t, c);
    add_link(&t, p);
    add_memories(&t, c);
    return t.err;
}

cmx_err cmx_nft_deny(struct cmx_buf *out)
{
    struct text t = {.out = out};

    put_rules(&t, IDLE_WITHOUT_S);
    return t.err;
}

cmx_err cmx_nft_removal(struct cmx_buf *out)
{
    /* "add" comes before "delete", because deleting a missing table would be an error. The kernel does both in one
     * transaction. */
    return cmx_buf_put_str(out, "table inet cmxsafe\ndelete table inet cmxsafe\n"
                                "table arp cmxsafe\ndelete table arp cmxsafe\n");
}

/* ---- changes ---- */

cmx_err cmx_nft_gateway(struct cmx_buf *out, const struct cmx_end *gateway, bool begins)
{
    struct text t = {.out = out};
    const char *set = cmx_ip_is_v4(&gateway->ip) ? "gateways4" : "gateways6";

    /* Adding an existing element does not change its timeout, so the element is deleted and added again. Before that,
     * an add makes sure that there is an element to delete. */
    for (unsigned step = 0; step < 3; step++) {
        open_command(&t, step == 1 ? "delete" : "add", set);
        put_ip_port(&t, &gateway->ip, gateway->port);
        put(&t, step == 2 && !begins ? " timeout 30s }\n" : " }\n");
    }
    return t.err;
}

static void resolving(struct text *t, uint32_t uid, bool begins)
{
    open_element(t, "resolving");
    put_number(t, uid);
    put(t, " timeout 60s }\n");
    if (begins)
        return;
    open_command(t, "delete", "resolving");
    put_number(t, uid);
    close_element(t);
}

cmx_err cmx_nft_resolving(struct cmx_buf *out, const struct cmx_nft_config *c, bool begins)
{
    struct text t = {.out = out};

    resolving(&t, c->agent_uid, begins);
    if (c->forwarder_uid)
        resolving(&t, c->forwarder_uid, begins);
    return t.err;
}

cmx_err cmx_nft_resolvers(struct cmx_buf *out, const struct cmx_ip *ips, size_t n)
{
    struct text t = {.out = out};

    put(&t, "flush set inet cmxsafe resolvers4\nflush set inet cmxsafe resolvers6\n");
    add_ips(&t, "resolvers", ips, n);
    return t.err;
}
