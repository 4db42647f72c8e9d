#include "gateway/render/gw_nft.h"

#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"
#include "gateway/registry/node.h"
#include "gateway/registry/party.h"
#include "gateway/render/gw_nft_nodes.h"

/* Plus the unit's number in the registry. A packet gets its mark from the rules of one moment, and its source from
 * those of a later one, so a mark must never mean another unit. */
#define UNIT_MARK 0x434d0000u

/* Parts of one rule: where the first lookup finds nothing, the second must not see a mark that the sender set. */
#define USER_MARK "meta mark set meta skuid map @user_marks "
#define GROUP_MARK "meta mark set meta skgid map @group_marks "
#define SERVICE_BY_MARK "meta mark . ip6 daddr . tcp dport "

struct nft_job {
    FILE *f;
    struct gw *g;
    const struct gw_allowed_list *allowed;
    unsigned elements;
    struct cmx_why *e;
};

static void put_element(struct nft_job *job, const char *text)
{
    fprintf(job->f, "%s%s", job->elements ? ",\n            " : "        elements = { ", text);
    job->elements++;
}

static void end_set(struct nft_job *job)
{
    fprintf(job->f, "%s    }\n", job->elements ? " }\n" : "");
    job->elements = 0;
}

static void put_header(FILE *f, const char *table)
{
    fprintf(f,
            "# Written from the registry by 'cmxsafe gateway'; loading it replaces the table in one step.\n"
            "table inet %s\ndelete table inet %s\ntable inet %s {\n",
            table, table, table);
}

/* The id of the sockets of the user or group that a is for; -1: there are none. */
static long socket_id(const struct nft_job *job, const struct gw_allowed *a, bool by_group)
{
    if (by_group)
        return a->gid;
    if (!job->g->user || a->uid < 0)
        return a->uid;
    return a->uid == (long)getuid() ? 0 : -1; /* only the gateway's owner exists inside, as 0 */
}

/* Local users or groups by the ids of their sockets: "MARK . TARGET . PORT", and ": IDENTITY" in the host's table. nft
 * looks each uid and gid that it loads up in the user database, so each is loaded once, and the many elements have a
 * mark of the same number. */
static void put_by_id(struct nft_job *job, bool by_group, bool identities)
{
    const char *name = by_group ? "group" : "user";
    long last = -1;

    fprintf(job->f, "    map %s_marks {\n        type %s : mark\n", name, by_group ? "gid" : "uid");
    for (size_t i = 0; i < job->allowed->n; i++) {
        long id = socket_id(job, &job->allowed->entries[i], by_group);
        char text[48];

        if (id < 0 || id == last)
            continue;
        last = id;
        snprintf(text, sizeof text, "%ld : %ld", id, id);
        put_element(job, text);
    }
    end_set(job);
    fprintf(job->f, "    %s by_%s {\n        type mark . ipv6_addr . inet_service%s\n", identities ? "map" : "set",
            name, identities ? " : ipv6_addr" : "");
    for (size_t i = 0; i < job->allowed->n; i++) {
        const struct gw_allowed *a = &job->allowed->entries[i];
        long id = socket_id(job, a, by_group);
        char text[2 * GW_ADDRESS_MAX + 48];

        if (id < 0)
            continue;
        snprintf(text, sizeof text, "%ld . %s . %u%s%s", id, a->target, a->port, identities ? " : " : "",
                 identities ? a->source : "");
        put_element(job, text);
    }
    end_set(job);
}

/* ---- --user mode ---- */

static void fleet_of_user(struct nft_job *job)
{
    struct gw *g = job->g;

    put_header(job->f, GW_NFT_TABLE);
    put_by_id(job, false, false);
    put_by_id(job, true, false);
    fprintf(job->f,
            "    chain output {\n"
            "        type filter hook output priority filter; policy accept;\n"
            "        meta nfproto ipv4 accept\n"
            "        ip6 daddr != %s accept\n"
            "        meta skgid %ld accept comment \"sshd: each key's permitopen decides\"\n"
            "        tcp flags & (syn | ack) != syn accept comment \"only first packets are judged\"\n"
            "        " USER_MARK SERVICE_BY_MARK "@by_user accept\n"
            "        " GROUP_MARK SERVICE_BY_MARK "@by_group accept\n"
            "        meta l4proto tcp counter reject with tcp reset\n"
            "        counter reject with icmpv6 admin-prohibited\n"
            "    }\n"
            "    chain input {\n"
            "        type filter hook input priority filter; policy drop;\n"
            "        iifname \"lo\" accept\n"
            "    }\n"
            "    chain forward {\n"
            "        type filter hook forward priority filter; policy drop;\n"
            "    }\n"
            "}\n",
            g->fleet_text, gw_account_gid(g));
}

/* ---- system mode, the namespace ---- */

static void put_allowed(struct nft_job *job)
{
    for (size_t i = 0; i < job->allowed->n; i++) {
        const struct gw_allowed *a = &job->allowed->entries[i];
        char text[2 * GW_ADDRESS_MAX + 48];
        int len = snprintf(text, sizeof text, "%s . %s . %u", a->source, a->target, a->port);

        /* The kernel closes it in time even if no process loads new rules. */
        if (a->ends_in > 0)
            snprintf(text + len, sizeof text - (size_t)len, " timeout %llds", (long long)a->ends_in);
        put_element(job, text);
    }
    end_set(job);
}

/* The parties that connect from the host. */
static bool is_local(const struct gw_party *p)
{
    return strcmp(p->kind, "user") == 0 || strcmp(p->kind, "group") == 0 || strcmp(p->kind, "cgroup") == 0;
}

/* A group's members are included even if the group no longer has a grant: the resets of their last connections need the
 * way back. */
static cmx_err put_local_party(void *arg, const struct gw_party *p)
{
    struct nft_job *job = arg;
    const struct group *gr = strcmp(p->kind, "group") == 0 ? getgrnam(p->name) : NULL;
    struct gw_consumer user = {.kind = "user"};
    char address[GW_ADDRESS_MAX];
    cmx_err err = CMX_OK;

    if (is_local(p))
        put_element(job, p->address);
    for (char **member = gr ? gr->gr_mem : NULL; !err && member && *member; member++) {
        snprintf(user.name, sizeof user.name, "%.190s", *member);
        err = gw_party_identity(&job->g->registry, &job->g->fleet, &user, address, job->e);
        if (!err)
            put_element(job, address);
    }
    return err;
}

static cmx_err put_judge_sets(struct nft_job *job)
{
    struct gw *g = job->g;
    cmx_err err;

    fprintf(job->f, "    # Who may open a connection to whom: source, destination, port.\n"
                    "    set grants {\n        typeof ip6 saddr . ip6 daddr . tcp dport\n        flags timeout\n");
    put_allowed(job);
    fprintf(job->f, "    # Who may come through the link from the host.\n"
                    "    set locals {\n        type ipv6_addr\n");
    err = gw_party_each(&g->registry, &g->fleet, put_local_party, job, job->e);
    if (err)
        return err;
    for (size_t i = 0; i < job->allowed->n; i++) {
        const struct gw_allowed *a = &job->allowed->entries[i];
        if (a->uid >= 0 || a->gid >= 0 || a->cgroup[0])
            put_element(job, a->source);
    }
    end_set(job);
    fprintf(job->f, "    # What was refused lately: filled by the kernel, read for the access log.\n"
                    "    set denied {\n"
                    "        typeof ip6 saddr . ip6 daddr . tcp dport\n"
                    "        size 4096\n"
                    "        flags dynamic,timeout\n"
                    "        timeout 1m\n"
                    "    }\n"
                    "    # Connections of the gateway's operators: filled by the kernel, so that the answers pass.\n"
                    "    set operators {\n"
                    "        typeof ip6 saddr . tcp sport . ip6 daddr . tcp dport\n"
                    "        size 65535\n"
                    "        flags dynamic,timeout\n"
                    "        timeout 10m\n"
                    "    }\n");
    put_by_id(job, false, false);
    put_by_id(job, true, false);
    return CMX_OK;
}

/* A local user or unit is at this node, or at the one from which its connection came. An operator's socket is in here.
 */
static void put_pass(FILE *f, bool several)
{
    fprintf(f, "    # A packet that is allowed gets the mark of the way to its destination.\n"
               "    chain pass {\n");
    if (several)
        fprintf(f,
                "        ip6 daddr @locals meta mark and %#x == %#x meta mark set meta mark or %#x accept\n"
                "        ip6 daddr @locals iifname \"cmxlink*\" socket wildcard 0 meta mark set " GW_NFT_MARK
                " accept\n",
                GW_NFT_NODE_MASK, GW_NFT_FROM_NODE_MARK, GW_NFT_TO_NODE_BIT);
    fprintf(f, "        ip6 daddr @locals meta mark set " GW_NFT_LOCALS_MARK " accept\n"
               "        meta mark set " GW_NFT_MARK " accept\n"
               "    }\n");
}

static void put_judge(FILE *f, const char *gateway)
{
    fprintf(
        f,
        "    # Decides about every packet, without connection tracking: removing an element cuts its connections. A\n"
        "    # reset carries no data and ends what it belongs to, so it may pass.\n"
        "    chain judge {\n"
        "        exthdr rt exists counter drop\n"
        "        tcp flags & rst == rst goto pass\n"
        "        ip6 saddr . ip6 daddr . tcp dport @grants goto pass\n"
        "        tcp flags & (syn | ack) != syn ip6 daddr . ip6 saddr . tcp sport @grants goto pass\n"
        "        ip6 saddr %s goto pass comment \"the gateway's own probes\"\n"
        "        tcp flags & (syn | ack) != syn ip6 daddr %s goto pass\n"
        "    }\n"
        "    chain deny {\n"
        "        tcp flags & (syn | ack) == syn update @denied { ip6 saddr . ip6 daddr . tcp dport counter }\n"
        "        counter reject with tcp reset\n"
        "    }\n",
        gateway, gateway);
}

static void put_exec(FILE *f)
{
    fputs("    # Programs that root starts in here ('cmxsafe gateway exec') have no identity, and the user decides "
          "about\n"
          "    # new connections.\n"
          "    chain exec {\n"
          "        tcp flags & (syn | ack) != syn meta mark set " GW_NFT_MARK " accept\n"
          "        " USER_MARK SERVICE_BY_MARK "@by_user meta mark set " GW_NFT_MARK " accept\n"
          "        " GROUP_MARK SERVICE_BY_MARK "@by_group meta mark set " GW_NFT_MARK " accept\n"
          "        counter reject with tcp reset\n"
          "    }\n",
          f);
}

/* Identities are for sessions (the account), root, and the worker's checks of evidence (nobody, as the gateway). */
static void put_operators(FILE *f, const struct gw *g, const char *gateway)
{
    fprintf(
        f,
        "    # 'cmxsafe gateway attest' and 'update' connect from the operator's identity, and need no grant.\n"
        "    # No other program that root starts in here may choose an identity.\n"
        "    chain operators {\n"
        "        meta skgid != { 0, %ld, %u } counter drop\n"
        "        meta skgid %u ip6 saddr != %s counter drop\n"
        "        meta skuid 0 meta skgid %ld update @operators { ip6 saddr . tcp sport . ip6 daddr . tcp dport } meta "
        "mark set " GW_NFT_MARK " accept\n"
        "        # The last packets of a socket that its program has closed have no user.\n"
        "        tcp flags & (syn | ack) != syn ip6 saddr . tcp sport . ip6 daddr . tcp dport @operators meta mark "
        "set " GW_NFT_MARK " accept\n"
        "        tcp flags & (syn | ack) != syn ip6 daddr . tcp dport . ip6 saddr . tcp sport @operators meta mark "
        "set " GW_NFT_MARK " accept\n"
        "    }\n",
        gw_account_gid(g), GW_NOBODY, GW_NOBODY, gateway, gw_account_gid(g));
}

static void put_fleet_chains(FILE *f, const struct gw *g, const struct gw_link *l, const struct gw_nodes *nodes)
{
    static const char icmp[] =
        "        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, destination-unreachable, "
        "packet-too-big, time-exceeded, parameter-problem } accept\n";
    static const char to_forward[] =
        "        iifname \"cmxsafe1\" oifname \"cmxlink*\" ip6 saddr @locals meta mark " GW_NFT_MARK " accept\n"
        "        iifname \"cmxlink*\" oifname \"cmxsafe1\" ip6 daddr @locals meta mark " GW_NFT_LOCALS_MARK " accept\n";
    char to_nodes[3 * GW_ADDRESS_MAX + 64] = "";

    if (nodes->own)
        snprintf(to_nodes, sizeof to_nodes,
                 "        oifname \"cmxlink*\" ip6 saddr %s ip6 daddr %s goto between_nodes\n", nodes->own->link,
                 nodes->prefix);

    fprintf(f,
            "    chain output {\n"
            "        type route hook output priority mangle; policy drop;\n"
            "        meta nfproto ipv4 oifname \"lo\" accept\n"
            "        ip6 daddr ::1 accept\n"
            "%s"
            "%s"
            "        meta l4proto != tcp counter drop\n"
            "        ip6 daddr %s ip6 saddr != %s jump exec\n"
            "        ip6 saddr %s jump operators\n"
            "        tcp flags & (syn | ack) != syn ip6 saddr %s ip6 daddr %s accept\n"
            "        jump judge\n"
            "        # A reset here would reach the sender alone. The sweep ends the socket, which resets both ends.\n"
            "        tcp flags & (syn | ack) != syn counter drop\n"
            "        jump deny\n"
            "    }\n",
            to_nodes, icmp, g->fleet_text, g->fleet_text, g->fleet_text, g->fleet_text, l->inside);
    fprintf(f,
            "    chain prerouting {\n"
            "        type filter hook prerouting priority mangle; policy drop;\n"
            "        iifname \"lo\" accept comment \"judged when it was sent\"\n"
            "%s"
            "        iifname != \"cmxsafe1\" drop\n"
            "%s"
            "        meta nfproto != ipv6 drop\n"
            "        meta l4proto != tcp counter drop\n"
            "        ip6 saddr %s ip6 saddr != @locals counter drop\n"
            "        jump judge\n"
            "        jump deny\n"
            "    }\n"
            "    # A listener on all addresses would take what is meant for a device.\n"
            "    chain input {\n"
            "        type filter hook input priority filter; policy accept;\n"
            "        ip6 daddr %s tcp flags & (syn | ack) == syn socket wildcard 1 counter drop\n",
            nodes->own ? "        iifname \"cmxlink*\" goto from_node\n" : "", icmp, g->fleet_text, g->fleet_text);
    if (nodes->own)
        gw_nft_nodes_marks(f, nodes);
    fprintf(f,
            "    }\n"
            "    chain forward {\n"
            "        type filter hook forward priority filter; policy drop;\n"
            "%s"
            "    }\n"
            "}\n",
            nodes->own ? to_forward : "");
}

cmx_err gw_nft_fleet(FILE *f, struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e)
{
    struct nft_job job = {.f = f, .g = g, .allowed = allowed, .e = e};
    struct gw_link link;
    struct gw_nodes nodes;
    char gateway[GW_ADDRESS_MAX];
    cmx_err err;

    if (g->user) {
        fleet_of_user(&job);
        return CMX_OK;
    }
    err = gw_link_get(g, &link, e);
    if (!err)
        err = gw_nodes_read(&g->registry, &g->fleet, &nodes, e);
    if (!err)
        err = gw_party_gateway_identity(&g->fleet, gateway, e);
    if (err)
        return err;
    put_header(f, GW_NFT_TABLE);
    err = put_judge_sets(&job);
    put_pass(f, nodes.own != NULL);
    put_judge(f, gateway);
    put_exec(f);
    put_operators(f, g, gateway);
    if (nodes.own)
        gw_nft_nodes_chains(f, &nodes);
    put_fleet_chains(f, g, &link, &nodes);
    return err;
}

/* ---- system mode, the host ---- */

/* A user without a grant for this destination gets an identity all the same: the access log then names the user. */
static cmx_err put_user_fallback(void *arg, const struct gw_party *p)
{
    struct nft_job *job = arg;
    struct gw_consumer user = {.kind = "user"};
    struct gw_consumer spellings[GW_SPELLINGS];
    char text[GW_ADDRESS_MAX + 40];
    uint64_t uid;
    size_t n;

    if (strcmp(p->kind, "user") != 0)
        return CMX_OK;
    snprintf(user.name, sizeof user.name, "%s", p->name);
    n = gw_party_spellings(&user, spellings);
    if (cmx_text_u64(spellings[n - 1].name, 0, 0xfffffffe, &uid))
        return CMX_OK; /* the machine has no such user */
    snprintf(text, sizeof text, "%llu : %s", (unsigned long long)uid, p->address);
    put_element(job, text);
    return CMX_OK;
}

/* The path "a/b/c" is level 3. The registry's check leaves nothing in it that could end the quotes. The socket is known
 * where the packet is sent, and the source is translated later, so that a mark carries the unit's number there. */
static void put_cgroup_mark(struct nft_job *job, const struct gw_allowed *a)
{
    unsigned level = 1;
    char path[GW_CONSUMER_MAX + 32];

    /* nft finds a cgroup by its path when it loads the rule, so the cgroup must exist. */
    snprintf(path, sizeof path, "%s/%s", gw_cgroup_root(), a->cgroup);
    if (access(path, F_OK) != 0) {
        fprintf(job->f, "        # %s port %u: the cgroup %s does not exist\n", a->target, a->port, a->cgroup);
        return;
    }
    for (const char *s = a->cgroup; *s; s++)
        level += *s == '/' && s[1];
    fprintf(job->f, "        socket cgroupv2 level %u \"%s\" ip6 daddr %s tcp dport %u ct mark set %#x\n", level,
            a->cgroup, a->target, a->port, UNIT_MARK + a->unit);
}

static void put_cgroup_marks(struct nft_job *job)
{
    for (size_t i = 0; i < job->allowed->n; i++)
        if (job->allowed->entries[i].unit)
            put_cgroup_mark(job, &job->allowed->entries[i]);
}

/* Once for each unit: the entries are sorted by source. */
static void put_cgroup_sources(struct nft_job *job)
{
    uint32_t last = 0;

    for (size_t i = 0; i < job->allowed->n; i++) {
        const struct gw_allowed *a = &job->allowed->entries[i];

        if (a->unit && a->unit != last)
            fprintf(job->f, "        ct mark %#x snat ip6 to %s\n", UNIT_MARK + a->unit, a->source);
        last = a->unit;
    }
}

static cmx_err put_sources(struct nft_job *job)
{
    struct gw *g = job->g;
    cmx_err err;

    put_by_id(job, false, true);
    put_by_id(job, true, true);
    fprintf(job->f, "    map users {\n        type uid : ipv6_addr\n");
    err = gw_party_each(&g->registry, &g->fleet, put_user_fallback, job, job->e);
    if (err)
        return err;
    end_set(job);
    fprintf(job->f,
            "    # The identity of a local connection: the unit's, the user's or the group's that has the grant. The\n"
            "    # namespace decides what it may reach.\n"
            "    chain postrouting {\n"
            "        type nat hook postrouting priority srcnat; policy accept;\n"
            "        oifname != \"cmxsafe0\" return\n");
    put_cgroup_sources(job);
    fprintf(job->f, "        " USER_MARK "snat ip6 to " SERVICE_BY_MARK "map @by_user\n"
                    "        " GROUP_MARK "snat ip6 to " SERVICE_BY_MARK "map @by_group\n"
                    "        snat ip6 to meta skuid map @users\n"
                    "    }\n");
    return CMX_OK;
}

static cmx_err put_direct(void *arg, const struct gw_device *d)
{
    struct nft_job *job = arg;
    char gateway[GW_HOST_MAX];

    snprintf(gateway, sizeof gateway, "gateway.%s", job->g->domain);
    for (size_t i = 0; !d->revoked && i < d->n_directs; i++)
        if (strcmp(d->directs[i].host, gateway) == 0 || strcmp(d->directs[i].host, "gateway.cmx") == 0)
            fprintf(job->f, "        iifname \"cmxsafe0\" ip6 saddr %s tcp dport %u accept comment \"%s\"\n",
                    d->address, d->directs[i].port, d->name);
    return CMX_OK;
}

cmx_err gw_nft_host(FILE *f, struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e)
{
    struct nft_job job = {.f = f, .g = g, .allowed = allowed, .e = e};
    struct gw_link link;
    cmx_err err = gw_link_get(g, &link, e);

    if (err)
        return err;
    put_header(f, GW_NFT_HOST_TABLE);
    err = put_sources(&job);
    if (err)
        return err;
    /* The account's sockets in the host's network are the connections that devices opened; it opens none itself. */
    fprintf(f,
            "    chain output {\n"
            "        type filter hook output priority filter; policy accept;\n"
            "        meta skgid %ld meta skuid != 0 tcp flags & (syn | ack) == syn counter reject with tcp reset\n"
            "        oifname != \"cmxsafe0\" accept\n"
            "        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
            "        ip6 saddr != %s counter drop comment \"a forged source\"\n"
            "        meta l4proto != tcp counter reject with icmpv6 admin-prohibited\n",
            gw_account_gid(g), link.host);
    put_cgroup_marks(&job);
    fprintf(f, "    }\n"
               "    chain input {\n"
               "        type filter hook input priority filter; policy accept;\n"
               "        iifname != \"cmxsafe0\" accept\n"
               "        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
               "        tcp flags & (syn | ack) != syn accept\n");
    err = gw_device_each(&g->registry, NULL, put_direct, &job, e);
    fprintf(f, "        counter drop\n"
               "    }\n"
               "    chain forward {\n"
               "        type filter hook forward priority filter; policy accept;\n"
               "        iifname \"cmxsafe0\" counter drop\n"
               "        oifname \"cmxsafe0\" counter drop\n"
               "    }\n"
               "}\n");
    return err;
}
