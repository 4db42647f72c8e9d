#include "agent/isolation/nft_ruleset.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/ip.h"

#define IDLE "@idle@"     /* placeholder in isolation.nft: timeout of idle sessions, in seconds */
#define IDLE_WITHOUT_S 60 /* value of IDLE in the ruleset that denies everything */
#define COMMENT_MAX 64
/* Without the '+', nft would first look for a user whose name is this number. No user name begins with '+'. */
#define NFT_UID "\"+%lu\""

extern const char cmx_isolation_nft[];

/* Writes isolation.nft, with its placeholder replaced. */
static void put_rules(struct cmx_buf *out, unsigned idle_s)
{
    const char *from = cmx_isolation_nft, *to;

    for (; (to = strstr(from, IDLE)) != NULL; from = to + strlen(IDLE)) {
        cmx_buf_put(out, from, (size_t)(to - from));
        cmx_buf_printf(out, "%u", idle_s);
    }
    cmx_buf_put_str(out, from);
}

/* ---- elements: one command each ---- */

/* Returns the last character of a set's name. Each set of addresses exists twice, once for each family: for example,
 * gateways4 and gateways6. */
static char family(const struct cmx_ip *ip)
{
    return cmx_ip_is_v4(ip) ? '4' : '6';
}

static void add_ips(struct cmx_buf *out, const char *set, const struct cmx_ip *ips, size_t n)
{
    char address[CMX_IP_TEXT_MAX];

    for (size_t i = 0; i < n; i++) {
        cmx_ip_text(&ips[i], address);
        cmx_buf_printf(out, "add element inet cmxsafe %s%c { %s }\n", set, family(&ips[i]), address);
    }
}

static void put_gateway(struct cmx_buf *out, const char *verb, const struct cmx_ip *ip, unsigned port,
                        const char *timeout)
{
    char address[CMX_IP_TEXT_MAX];

    cmx_ip_text(ip, address);
    cmx_buf_printf(out, "%s element inet cmxsafe gateways%c { %s . %u%s }\n", verb, family(ip), address, port, timeout);
}

static void add_gateways(struct cmx_buf *out, const struct cmx_nft_config *c)
{
    for (size_t i = 0; i < c->policy.n_gateways; i++)
        if (!cmx_ip_is_any(&c->policy.gateways[i].ip))
            put_gateway(out, "add", &c->policy.gateways[i].ip, c->policy.gateways[i].port, "");
    for (size_t i = 0; i < c->n_live; i++)
        put_gateway(out, "add", &c->live[i].ip, c->live[i].port, "");
}

/* Copies a context's name for a quoted nft comment. Leaves out characters that could end the string. */
static void clean_name(const char *name, char out[COMMENT_MAX])
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = 0;

    for (; name && *name && n + 1 < COMMENT_MAX; name++)
        if (strchr(fine, *name))
            out[n++] = *name;
    out[n] = '\0';
}

/* Adds an address and port to a set. user: the start of the element, "" or "UID . ". */
static void add_place(struct cmx_buf *out, const char *set, const char *user, const struct cmx_iso_context *x,
                      const char *name)
{
    static const uint8_t localhost[4] = {127, 0, 0, 1};
    struct cmx_ip ip = x->local;
    char address[CMX_IP_TEXT_MAX], comment[COMMENT_MAX];

    if (cmx_ip_is_any(&ip))
        cmx_ip_v4(&ip, localhost);
    cmx_ip_text(&ip, address);
    clean_name(name, comment);
    cmx_buf_printf(out, "add element inet cmxsafe %s%c { %s%s . %u comment \"context %s\" }\n", set, family(&ip), user,
                   address, x->port, comment);
}

static void add_listener(struct cmx_buf *out, const struct cmx_iso_context *x, const struct cmx_nft_context *n)
{
    char user[20];

    add_place(out, "listeners", "", x, n->name);
    if (n->open)
        add_place(out, "open_listeners", "", x, n->name);
    for (size_t i = 0; i < n->n_users; i++) {
        snprintf(user, sizeof user, NFT_UID " . ", (unsigned long)n->users[i]);
        add_place(out, "listener_users", user, x, n->name);
    }
}

static void add_contexts(struct cmx_buf *out, const struct cmx_nft_config *c)
{
    for (size_t i = 0; i < c->policy.n_contexts; i++) {
        const struct cmx_iso_context *x = &c->policy.contexts[i];

        if (x->direct)
            add_listener(out, x, &c->contexts[i]);
        else
            add_place(out, "services", "", x, c->contexts[i].name);
    }
}

/* timeout: "" or " timeout 60s". */
static void put_uid(struct cmx_buf *out, const char *verb, const char *set, uint32_t uid, const char *timeout)
{
    cmx_buf_printf(out, "%s element inet cmxsafe %s { " NFT_UID "%s }\n", verb, set, (unsigned long)uid, timeout);
}

/* Writes the elements that permit DHCP and IPv6 neighbour discovery, as the configuration says. */
static void add_link(struct cmx_buf *out, const struct cmx_iso_config *p)
{
    if (p->dhcp4)
        cmx_buf_printf(out, "add element inet cmxsafe dhcp_ports { 68 . 67 }\n");
    if (p->dhcp6 && p->ipv6)
        cmx_buf_printf(out, "add element inet cmxsafe dhcp_ports { 546 . 547 }\n");
    if (p->ipv6)
        cmx_buf_printf(out, "add element inet cmxsafe link_families { ipv6 }\n");
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

static void add_memories(struct cmx_buf *out, const struct cmx_nft_config *c)
{
    for (size_t i = 0; i < CMX_NFT_MEMORIES; i++)
        if (c->kept[i])
            cmx_buf_printf(out, "add element %s {%s}\n", memories[i], c->kept[i]);
}

/* ---- whole texts ---- */

cmx_err cmx_nft_ruleset(const struct cmx_nft_config *c, struct cmx_buf *out)
{
    const struct cmx_iso_config *p = &c->policy;

    if (p->n_gateways > CMX_ISO_GATEWAYS_MAX || p->n_resolvers > CMX_ISO_ADDRESSES_MAX ||
        p->n_time_servers > CMX_ISO_ADDRESSES_MAX || p->n_contexts > CMX_ISO_CONTEXTS_MAX ||
        c->n_live > CMX_NFT_LIVE_MAX || !c->idle_s)
        return CMX_EINVAL;
    put_rules(out, c->idle_s);
    put_uid(out, "add", "agent", c->agent_uid, "");
    add_gateways(out, c);
    add_ips(out, "resolvers", p->resolvers, p->n_resolvers);
    if (!c->follow)
        put_uid(out, "add", "resolving", c->agent_uid, "");
    if (!c->follow && c->forwarder_uid)
        put_uid(out, "add", "resolving", c->forwarder_uid, "");
    add_ips(out, "time_servers", p->time_servers, p->n_time_servers);
    add_contexts(out, c);
    add_link(out, p);
    add_memories(out, c);
    return cmx_buf_error(out);
}

cmx_err cmx_nft_deny(struct cmx_buf *out)
{
    put_rules(out, IDLE_WITHOUT_S);
    return cmx_buf_error(out);
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
    /* Adding an existing element does not change its timeout, so the element is deleted and added again. Before that,
     * an add makes sure that there is an element to delete. */
    put_gateway(out, "add", &gateway->ip, gateway->port, "");
    put_gateway(out, "delete", &gateway->ip, gateway->port, "");
    put_gateway(out, "add", &gateway->ip, gateway->port, begins ? "" : " timeout 30s");
    return cmx_buf_error(out);
}

static void put_resolving(struct cmx_buf *out, uint32_t uid, bool begins)
{
    put_uid(out, "add", "resolving", uid, " timeout 60s");
    if (!begins)
        put_uid(out, "delete", "resolving", uid, "");
}

cmx_err cmx_nft_resolving(struct cmx_buf *out, const struct cmx_nft_config *c, bool begins)
{
    put_resolving(out, c->agent_uid, begins);
    if (c->forwarder_uid)
        put_resolving(out, c->forwarder_uid, begins);
    return cmx_buf_error(out);
}

cmx_err cmx_nft_resolvers(struct cmx_buf *out, const struct cmx_ip *ips, size_t n)
{
    cmx_buf_printf(out, "flush set inet cmxsafe resolvers4\nflush set inet cmxsafe resolvers6\n");
    add_ips(out, "resolvers", ips, n);
    return cmx_buf_error(out);
}
