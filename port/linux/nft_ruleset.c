#include "nft_ruleset.h"

#include <arpa/inet.h>
#include <string.h>

#define TABLE "inet cmxsafe"

#define HOUR_S 3600
#define DAY_S 86400
#define SESSIONS_MAX 4096 /* connections within idle_s; one that can't be opened counts as well */
/* Whom a router would tell, and what it would quote: addresses and ports as they stand in our packet's headers. */
#define QUOTED4 "ip saddr . @nh,96,96"
#define QUOTED6 "ip6 saddr . @nh,64,288"

/* Writes on, unless something failed before: the text is checked once, at the end. */
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

static void line(struct text *t, const char *s)
{
    put(t, "\t\t");
    put(t, s);
    put(t, "\n");
}

/* A name in a comment is a string of nft's: only what can't end it. */
static void put_word(struct text *t, const char *s)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    for (; s && *s; s++) {
        const char c[2] = {*s, 0};

        if (strchr(fine, *s))
            put(t, c);
    }
}

/* ---- sets ---- */

static void open_set(struct text *t, const char *name, const char *suffix, const char *type)
{
    put(t, "\tset ");
    put(t, name);
    put(t, suffix);
    put(t, " {\n");
    line(t, type);
}

static void element(struct text *t, bool *first, const struct cmx_ip *ip, unsigned port)
{
    put(t, *first ? "\t\telements = { " : ", ");
    *first = false;
    put_ip(t, ip);
    if (port) {
        put(t, " . ");
        put_number(t, port);
    }
}

static void close_set(struct text *t, bool empty)
{
    put(t, empty ? "\t}\n" : " }\n\t}\n");
}

static const char *const suffixes[2] = {"4", "6"};

/* Two sets, for both families, of addresses alone. */
static void address_sets(struct text *t, const char *name, const struct cmx_ip *ips, size_t n)
{
    static const char *const types[2] = {"type ipv4_addr", "type ipv6_addr"};

    for (unsigned family = 0; family < 2; family++) {
        bool first = true;

        open_set(t, name, suffixes[family], types[family]);
        for (size_t i = 0; i < n; i++)
            if (cmx_ip_is_v4(&ips[i]) == (family == 0))
                element(t, &first, &ips[i], 0);
        close_set(t, first);
    }
}

static const char *const pair_types[2] = {"type ipv4_addr . inet_service", "type ipv6_addr . inet_service"};

static void gateway_sets(struct text *t, const struct cmx_nft_config *c)
{
    for (unsigned family = 0; family < 2; family++) {
        bool first = true;

        open_set(t, "gateways", suffixes[family], pair_types[family]);
        line(t, "flags timeout"); /* an address that is no longer used leaves by itself */
        for (size_t i = 0; i < c->policy.n_gateways + c->n_live; i++) {
            const struct cmx_ip *ip =
                i < c->policy.n_gateways ? &c->policy.gateways[i] : &c->live[i - c->policy.n_gateways];

            if (cmx_ip_is_v4(ip) == (family == 0))
                element(t, &first, ip, c->policy.gateway_port);
        }
        close_set(t, first);
    }
}

static struct cmx_ip place_of(const struct cmx_iso_context *x)
{
    static const uint8_t localhost[4] = {127, 0, 0, 1};
    struct cmx_ip ip = x->local;

    if (cmx_ip_is_any(&ip))
        cmx_ip4(&ip, localhost);
    return ip;
}

static void service_sets(struct text *t, const struct cmx_nft_config *c)
{
    for (unsigned family = 0; family < 2; family++) {
        bool first = true;

        open_set(t, "services", suffixes[family], pair_types[family]);
        for (size_t i = 0; i < c->policy.n_contexts; i++) {
            const struct cmx_ip ip = place_of(&c->policy.contexts[i]);

            if (!c->policy.contexts[i].direct && cmx_ip_is_v4(&ip) == (family == 0))
                element(t, &first, &ip, c->policy.contexts[i].port);
        }
        close_set(t, first);
    }
}

/* A set that packets fill and time empties. elements: what it begins with, or NULL. */
static void dynamic_set(struct text *t, const char *name, const char *suffix, const char *type, unsigned size,
                        unsigned timeout_s, const char *elements)
{
    open_set(t, name, suffix, type);
    put(t, "\t\tsize ");
    put_number(t, size);
    put(t, "\n\t\tflags dynamic,timeout\n\t\ttimeout ");
    put_number(t, timeout_s);
    put(t, "s\n");
    if (elements) {
        put(t, "\t\telements = {");
        put(t, elements);
        put(t, "}\n");
    }
    put(t, "\t}\n");
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

/* A dynamic set with what the ruleset before this one had learned. */
static void memory(struct text *t, const struct cmx_nft_config *c, enum cmx_nft_memory which, const char *type,
                   unsigned size, unsigned timeout_s)
{
    dynamic_set(t, strrchr(memories[which], ' ') + 1, "", type, size, timeout_s, c->kept[which]);
}

/* The connections that the agent's own segments made known: our address and port, the gateway's. quoted: the same as an
 * ICMP error quotes it. */
static void session_sets(struct text *t, const struct cmx_nft_config *c)
{
    memory(t, c, CMX_NFT_SESSIONS4, "type ipv4_addr . inet_service . ipv4_addr . inet_service", SESSIONS_MAX,
           c->idle_s);
    memory(t, c, CMX_NFT_SESSIONS6, "type ipv6_addr . inet_service . ipv6_addr . inet_service", SESSIONS_MAX,
           c->idle_s);
    for (unsigned family = 0; family < 2; family++)
        dynamic_set(t, "quoted", suffixes[family], family ? "typeof " QUOTED6 : "typeof " QUOTED4, SESSIONS_MAX,
                    c->idle_s, NULL);
}

/* Questions that wait for their answer: our address and port, whom. */
static void question_sets(struct text *t, const char *name)
{
    static const char *const types[2] = {"type ipv4_addr . inet_service . ipv4_addr",
                                         "type ipv6_addr . inet_service . ipv6_addr"};

    for (unsigned family = 0; family < 2; family++)
        dynamic_set(t, name, suffixes[family], types[family], 256, 10, NULL);
}

/* Filled by our own requests, emptied by time. */
static void memory_sets(struct text *t, const struct cmx_nft_config *c)
{
    dynamic_set(t, "dhcp_asked", "", "typeof @th,96,32", 16, 30, NULL);
    dynamic_set(t, "dhcp6_asked", "", "typeof @th,72,24", 16, 30, NULL);
    dynamic_set(t, "dhcp6_links", "", "type iface_index", 16, 5, NULL);
    dynamic_set(t, "nd_asked", "", "typeof @th,64,128", 64, 5, NULL);
    memory(t, c, CMX_NFT_ND_PEERS, "type ether_addr", 64, DAY_S);
    memory(t, c, CMX_NFT_ROUTERS, "type ipv6_addr . ether_addr", 1, HOUR_S);
}

static void resolving_set(struct text *t, const struct cmx_nft_config *c)
{
    put(t, "\tset resolving {\n\t\ttype uid\n\t\tflags timeout\n");
    if (!c->follow) {
        put(t, "\t\telements = { ");
        put_number(t, c->agent_uid);
        put(t, " }\n");
    }
    put(t, "\t}\n");
}

/* ---- rules ---- */

static const char *const family_words[2] = {"ip", "ip6"};

/* In format, '%' stands for the family's word, '#' for the set's suffix and '$' for what an error would quote.
 */
static void put_for(struct text *t, unsigned family, const char *format)
{
    for (; *format; format++) {
        const char c[2] = {*format, 0};

        put(t, *format == '%'   ? family_words[family]
               : *format == '#' ? suffixes[family]
               : *format == '$' ? (family ? QUOTED6 : QUOTED4)
                                : c);
    }
    put(t, "\n");
}

static void both(struct text *t, const char *format)
{
    for (unsigned f = 0; f < 2; f++) {
        put(t, "\t\t");
        put_for(t, f, format);
    }
}

/* What input and output, or the link and loopback, have in common. */
#define SESSION_IN "% daddr . tcp dport . % saddr . tcp sport @sessions#"
#define DNS_IN "udp sport 53 % daddr . udp dport . % saddr @dns_asked# counter name dns accept"
#define DNS_OUT                                                                                                        \
    "meta skuid @resolving % daddr @resolvers# udp dport 53 update @dns_asked# { % saddr . udp sport . % daddr } "     \
    "counter name dns accept"

/* Before the kernel puts fragments together (priority -400), so that a tiny or overlapping one is never looked into. */
static void raw_chain(struct text *t)
{
    put(t, "\tchain raw6 {\n");
    line(t, "ip6 saddr { ::1, ff00::/8 } counter name martian drop");
    line(t, "exthdr frag exists counter name fragment drop");
    line(t, "exthdr rt exists counter name ip_option drop");
    line(t, "exthdr dst exists counter name ip_option drop");
    line(t, "exthdr hbh exists meta l4proto != ipv6-icmp counter name ip_option drop");
    line(t, "exthdr hbh exists icmpv6 type != mld-listener-query counter name ip_option drop");
    put(t, "\t}\n\tchain raw {\n");
    line(t, "type filter hook prerouting priority -450; policy accept;");
    line(t, "iif \"lo\" accept");
    line(t, "meta nfproto ipv6 goto raw6");
    line(t, "ip saddr { 127.0.0.0/8, 224.0.0.0/3 } counter name martian drop");
    line(t, "ip daddr 127.0.0.0/8 counter name martian drop");
    line(t, "ip frag-off & 0x3fff != 0 counter name fragment drop");
    line(t, "ip hdrlength > 5 counter name ip_option drop");
    put(t, "\t}\n");
}

static void discovery_in(struct text *t)
{
    line(t,
         "icmpv6 type nd-neighbor-advert icmpv6 code 0 ip6 hoplimit 255 @th,32,8 & 0x40 == 0x40 @th,64,128 @nd_asked "
         "update @nd_peers { ether saddr } counter name nd accept");
    line(t, "icmpv6 type nd-neighbor-solicit icmpv6 code 0 ip6 hoplimit 255 ip6 saddr :: counter name nd accept");
    line(t,
         "icmpv6 type nd-neighbor-solicit icmpv6 code 0 ip6 hoplimit 255 ether saddr @nd_peers counter name nd accept");
    line(t, "icmpv6 type nd-router-advert icmpv6 code 0 ip6 hoplimit 255 ip6 saddr fe80::/10 "
            "update @routers { ip6 saddr . ether saddr } update @nd_peers { ether saddr } counter name nd accept");
    line(t, "icmpv6 type mld-listener-query ip6 hoplimit 1 ip6 saddr . ether saddr @routers counter name nd accept");
}

static void input_chain(struct text *t, const struct cmx_nft_config *c)
{
    put(t, "\tchain input {\n");
    line(t, "type filter hook input priority filter - 10; policy drop;");
    line(t, "iif \"lo\" accept comment \"passed the chain loopback when it was sent\"");
    both(t, SESSION_IN " tcp flags & (syn | ack) != syn counter name session accept");
    both(t, SESSION_IN " counter name tcp_state drop");
    both(t, DNS_IN);
    both(t, "udp sport 123 % daddr . udp dport . % saddr @sntp_asked# counter name sntp accept");
    /* What is quoted: a header without options, TCP, one of our sessions. */
    line(t, "icmp type { destination-unreachable, time-exceeded, parameter-problem } @th,64,8 0x45 @th,136,8 6 "
            "ip daddr . @th,160,96 @quoted4 counter name icmp_error accept");
    if (c->policy.ipv6) {
        line(t, "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } "
                "@th,64,4 6 @th,112,8 6 ip6 daddr . @th,128,288 @quoted6 counter name icmp_error accept");
        discovery_in(t);
    }
    if (c->policy.dhcp4)
        line(t, "meta nfproto ipv4 udp sport 67 udp dport 68 @th,96,32 @dhcp_asked counter name dhcp accept");
    /* The server has to ask for us before it can answer. */
    if (c->policy.dhcp6 && c->policy.ipv6)
        line(t, "icmpv6 type nd-neighbor-solicit icmpv6 code 0 ip6 hoplimit 255 ip6 saddr fe80::/10 iif @dhcp6_links "
                "update @nd_peers { ether saddr } counter name nd accept");
    if (c->policy.dhcp6 && c->policy.ipv6)
        line(t, "ip6 saddr fe80::/10 udp sport 547 udp dport 546 @th,72,24 @dhcp6_asked counter name dhcp6 accept");
    line(t, "counter name denied_in");
    line(t, "limit rate 1/second burst 10 packets log prefix \"cmxsafe drop in: \"");
    put(t, "\t}\n");
}

static void agent_rule(struct text *t, unsigned long uid, const char *format)
{
    for (unsigned f = 0; f < 2; f++) {
        put(t, "\t\tmeta skuid ");
        put_number(t, uid);
        put_for(t, f, format);
    }
}

/* Each segment of the agent's keeps its connection known. */
static void session_out(struct text *t, const struct cmx_nft_config *c)
{
    agent_rule(t, c->agent_uid,
               " % daddr . tcp dport @gateways# update @sessions# { % saddr . tcp sport . % daddr . tcp dport } "
               "update @quoted# { $ } counter name session accept");
    /* The kernel's own acknowledgements and resets belong to no user. They carry no data. */
    both(t, "% saddr . tcp sport . % daddr . tcp dport @sessions# meta length <= 80 tcp flags & (syn | psh) == 0 "
            "counter name session accept");
}

static void output_chain(struct text *t, const struct cmx_nft_config *c)
{
    put(t, "\tchain output {\n");
    line(t, "type filter hook output priority filter - 10; policy drop;");
    line(t, "oif \"lo\" goto loopback");
    session_out(t, c);
    both(t, DNS_OUT);
    both(t, "% daddr @time_servers# udp dport 123 update @sntp_asked# { % saddr . udp sport . % daddr } counter name "
            "sntp accept");
    if (c->policy.dhcp4)
        line(t,
             "meta nfproto ipv4 udp sport 68 udp dport 67 update @dhcp_asked { @th,96,32 } counter name dhcp accept");
    if (c->policy.dhcp6 && c->policy.ipv6)
        line(t, "ip6 daddr ff02::1:2 udp sport 546 udp dport 547 update @dhcp6_asked { @th,72,24 } "
                "update @dhcp6_links { oif } counter name dhcp6 "
                "accept");
    if (c->policy.ipv6) {
        line(t,
             "icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 update @nd_asked { @th,64,128 } counter name nd accept");
        line(t, "icmpv6 type { nd-router-solicit, nd-neighbor-advert } ip6 hoplimit 255 counter name nd accept");
        line(t, "icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } ip6 hoplimit 1 "
                "counter name nd accept");
    }
    line(t, "counter name denied_out");
    line(t, "limit rate 1/second burst 10 packets log prefix \"cmxsafe drop out: \"");
    put(t, "\t}\n");
}

/* A direct context's listener: for the users it is declared for, or for all. */
static void listener(struct text *t, const struct cmx_iso_context *x, const struct cmx_nft_context *n)
{
    const struct cmx_ip ip = place_of(x);
    const char *family = family_words[!cmx_ip_is_v4(&ip)];

    for (unsigned back = 0; back < 2; back++) {
        put(t, "\t\t");
        put(t, family);
        put(t, back ? " saddr " : " daddr ");
        put_ip(t, &ip);
        put(t, back ? " tcp sport " : " tcp dport ");
        put_number(t, x->port);
        if (back)
            put(t, " tcp flags & (syn | ack) != syn");
        for (size_t i = 0; i < n->n_users && !back; i++) {
            put(t, i ? ", " : " meta skuid { ");
            put_number(t, n->users[i]);
        }
        put(t, n->n_users && !back ? " }" : "");
        put(t, " counter name direct accept comment \"context ");
        put_word(t, n->name);
        put(t, "\"\n");
    }
}

/* TCP of the machine with itself: only its own sockets send there, and each packet's sender is known. A service answers
 * and opens nothing: what it sends is no bare SYN. */
static void loopback_tcp_chain(struct text *t, const struct cmx_nft_config *c)
{
    put(t, "\tchain loopback_tcp {\n");
    both(t, "% saddr . tcp sport @services# tcp flags & (syn | ack) != syn counter name relay accept");
    agent_rule(t, c->agent_uid, " % daddr . tcp dport @services# counter name relay accept");
    both(t, "% daddr . tcp dport @services# meta length <= 80 tcp flags & (syn | psh) == 0 counter name relay accept");
    for (size_t i = 0; i < c->policy.n_contexts; i++)
        if (c->policy.contexts[i].direct)
            listener(t, &c->policy.contexts[i], &c->contexts[i]);
    line(t, "counter name denied_loopback drop");
    put(t, "\t}\n");
}

/* Each packet on lo passes here when it is sent; traffic to the machine's own addresses does, too. */
static void loopback_chain(struct text *t, const struct cmx_nft_config *c)
{
    loopback_tcp_chain(t, c);
    put(t, "\tchain loopback {\n");
    line(t, "meta l4proto tcp goto loopback_tcp");
    both(t, DNS_OUT);
    both(t, DNS_IN);
    line(t, "counter name denied_loopback drop");
    put(t, "\t}\n");
}

static void forward_chain(struct text *t)
{
    put(t, "\tchain forward {\n");
    line(t, "type filter hook forward priority filter - 10; policy drop;");
    line(t, "counter name denied_forward");
    put(t, "\t}\n");
}

/* An answer passes to a question of ours; a question, from who has answered one before. RFC 5227 probes are defended.
 */
static void arp_table(struct text *t, const struct cmx_nft_config *c)
{
    put(t, "table arp cmxsafe {\n\tcounter link_arp {\n\t}\n\tcounter denied_arp {\n\t}\n");
    dynamic_set(t, "asked", "", "type ipv4_addr", 64, 5, NULL);
    memory(t, c, CMX_NFT_ARP_PEERS, "type ipv4_addr . ether_addr", 64, DAY_S);
    put(t, "\tchain input {\n");
    line(t, "type filter hook input priority filter - 10; policy drop;");
    line(t, "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation reply arp saddr ip @asked "
            "update @peers { arp saddr ip . arp saddr ether } counter name link_arp accept");
    line(t,
         "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation request arp saddr ip . arp saddr ether @peers "
         "counter name link_arp accept");
    line(t, "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation request arp saddr ip 0.0.0.0 "
            "counter name link_arp accept");
    line(t, "counter name denied_arp");
    put(t, "\t}\n\tchain output {\n");
    line(t, "type filter hook output priority filter - 10; policy drop;");
    line(t, "arp operation request update @asked { arp daddr ip } counter name link_arp accept");
    line(t, "arp operation reply counter name link_arp accept");
    put(t, "\t}\n}\n");
}

static void counters(struct text *t)
{
    static const char *const names[] = {
        "session",    "relay",           "direct",        "dns",       "sntp",      "icmp_error", "nd",
        "dhcp",       "dhcp6",           "fragment",      "ip_option", "tcp_state", "martian",    "denied_in",
        "denied_out", "denied_loopback", "denied_forward"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        put(t, "\tcounter ");
        put(t, names[i]);
        put(t, " {\n\t}\n");
    }
}

cmx_err cmx_nft_removal(struct cmx_buf *out)
{
    /* Adding first makes deleting what is not there no error; the kernel does both in one transaction. */
    return cmx_buf_put_str(out,
                           "table " TABLE "\ndelete table " TABLE "\ntable arp cmxsafe\ndelete table arp cmxsafe\n");
}

cmx_err cmx_nft_ruleset(const struct cmx_nft_config *c, struct cmx_buf *out)
{
    struct text t = {.out = out};
    const struct cmx_iso_config *p = &c->policy;

    if (p->n_gateways > CMX_ISO_ADDRESSES_MAX || p->n_resolvers > CMX_ISO_ADDRESSES_MAX ||
        p->n_time_servers > CMX_ISO_ADDRESSES_MAX || p->n_contexts > CMX_ISO_CONTEXTS_MAX ||
        c->n_live > CMX_NFT_LIVE_MAX || !p->gateway_port || !c->idle_s)
        return CMX_EINVAL;
    put(&t, "# Written by cmxsafed: default deny. A change by hand is lost at the next start or reload.\n");
    if (!t.err)
        t.err = cmx_nft_removal(out);
    put(&t, "table " TABLE " {\n");
    counters(&t);
    gateway_sets(&t, c);
    address_sets(&t, "resolvers", p->resolvers, p->n_resolvers);
    address_sets(&t, "time_servers", p->time_servers, p->n_time_servers);
    service_sets(&t, c);
    session_sets(&t, c);
    question_sets(&t, "dns_asked");
    question_sets(&t, "sntp_asked");
    memory_sets(&t, c);
    resolving_set(&t, c);
    raw_chain(&t);
    input_chain(&t, c);
    loopback_chain(&t, c);
    output_chain(&t, c);
    forward_chain(&t);
    put(&t, "}\n");
    arp_table(&t, c);
    return t.err;
}

cmx_err cmx_nft_gateway(struct cmx_buf *out, const struct cmx_ip *gateway, uint16_t port, bool begins)
{
    struct text t = {.out = out};
    const char *set = cmx_ip_is_v4(gateway) ? " " TABLE " gateways4 { " : " " TABLE " gateways6 { ";

    /* An element keeps its timeout when it is added again: so out with the old one first, which must then be there. */
    for (unsigned step = 0; step < 3; step++) {
        put(&t, step == 1 ? "delete element" : "add element");
        put(&t, set);
        put_ip(&t, gateway);
        put(&t, " . ");
        put_number(&t, port);
        put(&t, step == 2 && !begins ? " timeout 30s }\n" : " }\n");
    }
    return t.err;
}

cmx_err cmx_nft_resolving(struct cmx_buf *out, uint32_t uid, bool begins)
{
    cmx_err err = cmx_buf_printf(out, "add element " TABLE " resolving { %lu timeout 60s }\n", (unsigned long)uid);

    if (err || begins)
        return err;
    return cmx_buf_printf(out, "delete element " TABLE " resolving { %lu }\n", (unsigned long)uid);
}
