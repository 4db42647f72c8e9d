#include "gateway/render/gw_nft.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "gateway/registry/node.h"
#include "gateway/registry/nss.h"
#include "gateway/registry/party.h"
#include "gateway/render/gw_template.h"

/* A unit's mark is UNIT_MARK plus the unit's number in the registry. The number never changes, because a mark must keep
 * its meaning when the rules are replaced. A packet may get its mark from the former rules, and its source from the new
 * ones. If the mark then belonged to another unit, the packet would get that unit's identity. */
#define UNIT_MARK 0x434d0000u

/* nft sends all rules in one message. Without privileges it can't enlarge the socket's buffer, which by default
 * (net.core.wmem_default) has room for 5,800 elements. */
#define USER_ALLOWED_MAX 5000

/* Templates of gateway/render/templates. */
extern const char gw_template_fleet[];
extern const char gw_template_fleet_user[];
extern const char gw_template_host[];

struct nft_job {
    FILE *f;
    struct gw *g;
    const struct gw_allowed_list *allowed;
    struct gw_nodes nodes;
    unsigned elements;
    struct cmx_why *e;
};

/* Writes one element of a set. */
static void put_element(struct nft_job *job, const char *fmt, ...) CMX_PRINTF(2, 3);
static void put_element(struct nft_job *job, const char *fmt, ...)
{
    va_list ap;

    fputs(job->elements ? ",\n            " : "        elements = { ", job->f);
    va_start(ap, fmt);
    vfprintf(job->f, fmt, ap);
    va_end(ap);
    job->elements++;
}

static cmx_err end_elements(struct nft_job *job, cmx_err err)
{
    if (job->elements)
        fputs(" }\n", job->f);
    job->elements = 0;
    return err;
}

/* Flags for the elements of a set or map. An element has a uid or, with BY_GROUP, a gid. With IDENTITIES it also has
 * the identity of this user or group. */
#define BY_GROUP 1u
#define IDENTITIES 2u

/* Returns the uid of entry *a as it is seen in the gateway's namespace. With BY_GROUP, returns the gid instead. -1: the
 * entry has no such id. */
static long socket_id(const struct nft_job *job, const struct gw_allowed *a, uint64_t what)
{
    if (what & BY_GROUP)
        return a->gid;
    if (!job->g->user || a->uid < 0)
        return a->uid;
    if (a->uid == (long)getuid())
        return 0; /* in the user namespace the gateway's owner has uid 0, and the host's other users do not exist */
    return a->by_number ? a->uid : -1;
}

/* Without the '+', nft would first look for a user or group whose name is this number. No name begins with '+'. */
#define NFT_ID "\"+%ld\""

/* Writes the elements "ID : MARK"; the mark equals the id. Writes each id only once, because nft queries the user
 * database for each uid and gid that it loads. */
static cmx_err put_id_marks(void *arg, uint64_t what)
{
    struct nft_job *job = arg;
    long last = -1;

    for (size_t i = 0; i < job->allowed->n; i++) {
        long id = socket_id(job, &job->allowed->entries[i], what);

        if (id >= 0 && id != last)
            put_element(job, NFT_ID " : %ld", id, id);
        last = id < 0 ? last : id;
    }
    return end_elements(job, CMX_OK);
}

/* Writes the elements "MARK . TARGET . PORT" or, with IDENTITIES, "MARK . TARGET . PORT : SOURCE". */
static cmx_err put_by_id(void *arg, uint64_t what)
{
    struct nft_job *job = arg;

    for (size_t i = 0; i < job->allowed->n; i++) {
        const struct gw_allowed *a = &job->allowed->entries[i];
        long id = socket_id(job, a, what);

        if (id >= 0)
            put_element(job, "%ld . %s . %u%s%s", id, a->target, a->port, what & IDENTITIES ? " : " : "",
                        what & IDENTITIES ? a->source : "");
    }
    return end_elements(job, CMX_OK);
}

/* ---- system mode, the namespace ---- */

/* Writes the elements "SOURCE . TARGET . PORT". An element whose grant has an end gets a timeout, so that the kernel
 * removes it even if no process loads new rules. */
static cmx_err put_grant_elements(void *arg, uint64_t number)
{
    struct nft_job *job = arg;

    (void)number;
    for (size_t i = 0; i < job->allowed->n; i++) {
        const struct gw_allowed *a = &job->allowed->entries[i];

        put_element(job, "%s . %s . %u", a->source, a->target, a->port);
        if (a->ends_in > 0)
            fprintf(job->f, " timeout %llds", (long long)a->ends_in);
    }
    return end_elements(job, CMX_OK);
}

/* True for a party that connects from the host. */
static bool is_local(const struct gw_party *p)
{
    return strcmp(p->kind, "user") == 0 || strcmp(p->kind, "group") == 0 || strcmp(p->kind, "cgroup") == 0;
}

static void put_local(struct nft_job *job, const char *address)
{
    if (!gw_party_is_device(&job->g->registry, address))
        put_element(job, "%s", address);
}

/* Writes the identity of a local party and, for a group, also the identities of its members. Whether the group still
 * has a grant does not matter: TCP resets for its last connections must still be routed to the members. */
static cmx_err put_local_party(void *arg, const struct gw_party *p)
{
    struct nft_job *job = arg;
    const char *member = strcmp(p->kind, "group") == 0 ? gw_nss_find(GW_NSS_GROUP, p->name)->members : "";
    struct gw_consumer user = {.kind = "user"};
    char address[GW_ADDRESS_MAX];
    cmx_err err = CMX_OK;

    if (is_local(p))
        put_local(job, p->address);
    for (; !err && *member; member = gw_nss_next(member)) {
        snprintf(user.name, sizeof user.name, "%.190s", member);
        err = gw_party_identity(&job->g->registry, &job->g->fleet, &user, address, job->e);
        if (!err)
            put_local(job, address);
    }
    return err;
}

static cmx_err put_local_elements(void *arg, uint64_t number)
{
    struct nft_job *job = arg;
    cmx_err err = gw_party_each(&job->g->registry, &job->g->fleet, put_local_party, job, job->e);

    (void)number;
    for (size_t i = 0; !err && i < job->allowed->n; i++) {
        const struct gw_allowed *a = &job->allowed->entries[i];
        if (a->uid >= 0 || a->gid >= 0 || a->cgroup[0])
            put_element(job, "%s", a->source);
    }
    return end_elements(job, err);
}

/* Writes, for each other gateway, one rule that marks the packets from that gateway. only_locals: if true, the rule
 * marks only packets from users and units of that gateway's host. */
static cmx_err put_node_marks(void *arg, uint64_t only_locals)
{
    const struct nft_job *job = arg;

    for (size_t i = 0; i < job->nodes.n; i++)
        if (&job->nodes.list[i] != job->nodes.own)
            fprintf(job->f, "        iifname \"cmxlink%u\" %smeta mark set %#x\n", job->nodes.list[i].number,
                    only_locals ? "ip6 saddr @locals " : "", GW_NFT_FROM_NODE_MARK | job->nodes.list[i].number);
    return CMX_OK;
}

cmx_err gw_nft_fleet(FILE *f, struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e)
{
    struct nft_job job = {.f = f, .g = g, .allowed = allowed, .e = e};
    struct gw_link link = {0};
    char gateway[GW_ADDRESS_MAX] = "";
    cmx_err err = CMX_OK;

    if (g->user && allowed->n > USER_ALLOWED_MAX)
        return cmx_why_fail(e, CMX_ENOSPC,
                            "the grants permit %zu connections, and the kernel accepts at most %u from a gateway in "
                            "--user mode; remove grants, or set up a system gateway",
                            allowed->n, USER_ALLOWED_MAX);
    if (!g->user) {
        err = gw_link_get(g, &link, e);
        if (!err)
            err = gw_nodes_read(&g->registry, &g->fleet, &job.nodes, e);
        if (!err)
            err = gw_party_gateway_identity(&g->fleet, gateway, e);
    }
    if (err)
        return err;
    const struct gw_template_value values[] = {
        {"table", .text = GW_NFT_TABLE},
        {"fleet", .text = g->fleet_text},
        {"gateway", .text = gateway},
        {"inside", .text = link.inside},
        {"account", .number = (uint64_t)gw_account_gid(g)},
        {"nobody", .number = GW_NOBODY},
        {"mark", .text = GW_NFT_MARK},
        {"locals_mark", .text = GW_NFT_LOCALS_MARK},
        {"node_mask", .number = GW_NFT_NODE_MASK, .hex = true},
        {"from_node", .number = GW_NFT_FROM_NODE_MARK, .hex = true},
        {"to_node_bit", .number = GW_NFT_TO_NODE_BIT, .hex = true},
        {"node_port", .number = GW_NFT_NODE_PORT},
        {"nodes", .text = job.nodes.own ? "1" : ""},
        {"own_link", .text = job.nodes.own ? job.nodes.own->link : ""},
        {"node_prefix", .text = job.nodes.prefix},
        {"grant_elements", .lines = put_grant_elements},
        {"local_elements", .lines = put_local_elements},
        {"user_marks", .lines = put_id_marks},
        {"group_marks", .lines = put_id_marks, .number = BY_GROUP},
        {"user_elements", .lines = put_by_id},
        {"group_elements", .lines = put_by_id, .number = BY_GROUP},
        {"node_marks", .lines = put_node_marks},
        {"locals_node_marks", .lines = put_node_marks, .number = true},
        {0},
    };
    return gw_template_write(f, g->user ? gw_template_fleet_user : gw_template_fleet, values, &job, e);
}

/* ---- system mode, the host ---- */

/* A user without a grant for this destination also gets an identity, so that the access log names the user. */
static cmx_err put_user_fallback(void *arg, const struct gw_party *p)
{
    struct nft_job *job = arg;
    struct gw_consumer user = {.kind = "user"};
    long uid;

    if (strcmp(p->kind, "user") != 0)
        return CMX_OK;
    snprintf(user.name, sizeof user.name, "%s", p->name);
    uid = gw_party_local_id(&user);
    if (uid >= 0 && !gw_party_is_device(&job->g->registry, p->address))
        put_element(job, NFT_ID " : %s", uid, p->address);
    return CMX_OK;
}

static cmx_err put_user_fallbacks(void *arg, uint64_t number)
{
    struct nft_job *job = arg;

    (void)number;
    return end_elements(job, gw_party_each(&job->g->registry, &job->g->fleet, put_user_fallback, job, job->e));
}

/* Writes the rule that marks a unit's packets. The socket's cgroup is only known in the chain output, but the source is
 * translated in postrouting, so the mark carries the unit's number from one chain to the other. The path "a/b/c" has
 * level 3. The path needs no escaping, because the registry refuses characters that could end the quotes. */
static void put_cgroup_mark(struct nft_job *job, const struct gw_allowed *a)
{
    unsigned level = 1;
    char path[GW_CONSUMER_MAX + 32];

    /* nft looks up the cgroup when it loads the rule and fails if the cgroup does not exist. */
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

static cmx_err put_unit_marks(void *arg, uint64_t number)
{
    struct nft_job *job = arg;

    (void)number;
    for (size_t i = 0; i < job->allowed->n; i++)
        if (job->allowed->entries[i].unit)
            put_cgroup_mark(job, &job->allowed->entries[i]);
    return CMX_OK;
}

/* Writes one rule for each unit. The entries are sorted by source, so the entries of a unit are adjacent. */
static cmx_err put_unit_sources(void *arg, uint64_t number)
{
    struct nft_job *job = arg;
    uint32_t last = 0;

    (void)number;
    for (size_t i = 0; i < job->allowed->n; i++) {
        const struct gw_allowed *a = &job->allowed->entries[i];

        if (a->unit && a->unit != last)
            fprintf(job->f, "        ct mark %#x snat ip6 to %s\n", UNIT_MARK + a->unit, a->source);
        last = a->unit;
    }
    return CMX_OK;
}

static cmx_err put_direct(void *arg, const struct gw_device *d)
{
    struct nft_job *job = arg;

    for (size_t i = 0; !d->revoked && d->address[0] && i < d->n_directs; i++)
        if (gw_device_host_is_gateway(d->directs[i].host, job->g->domain))
            fprintf(job->f, "        iifname \"cmxsafe0\" ip6 saddr %s tcp dport %u accept comment \"%s\"\n",
                    d->address, d->directs[i].port, d->name);
    return CMX_OK;
}

static cmx_err put_device_directs(void *arg, uint64_t number)
{
    struct nft_job *job = arg;

    (void)number;
    return gw_device_each(&job->g->registry, NULL, put_direct, job, job->e);
}

cmx_err gw_nft_host(FILE *f, struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e)
{
    struct nft_job job = {.f = f, .g = g, .allowed = allowed, .e = e};
    struct gw_link link;
    cmx_err err = gw_link_get(g, &link, e);

    if (err)
        return err;
    const struct gw_template_value values[] = {
        {"table", .text = GW_NFT_HOST_TABLE},
        {"host", .text = link.host},
        {"account", .number = (uint64_t)gw_account_gid(g)},
        {"user_marks", .lines = put_id_marks},
        {"group_marks", .lines = put_id_marks, .number = BY_GROUP},
        {"user_sources", .lines = put_by_id, .number = IDENTITIES},
        {"group_sources", .lines = put_by_id, .number = BY_GROUP | IDENTITIES},
        {"user_fallbacks", .lines = put_user_fallbacks},
        {"unit_sources", .lines = put_unit_sources},
        {"unit_marks", .lines = put_unit_marks},
        {"device_directs", .lines = put_device_directs},
        {0},
    };
    return gw_template_write(f, gw_template_host, values, &job, e);
}
