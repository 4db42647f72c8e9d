/* The packet filter that keeps everybody from the devices' services but those with a grant. New connections alone are
 * judged: without its first packet none comes to be, so no connection tracking is needed.
 *
 * Local consumers are known by the user id of the socket. In --user mode they live inside the fleet's own namespace; in
 * the system mode on the host, whose end of the link is filtered by the same sets. */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/gateway/gw.h"
#include "cmxsafe/core/text.h"

struct nft_job {
    FILE *f;
    struct gw *g;
    unsigned elements;
    struct gw_error *e;
};

/* The uid that the kernel will see in the filter's namespace; false: such a user can't be there. */
static bool user_id(const struct gw *g, const char *name, unsigned long *uid)
{
    uint64_t number;
    const struct passwd *pw;

    if (cmx_text_u64(name, 0, 0xfffffffe, &number) == CMX_OK) {
        *uid = (unsigned long)number;
        return true;
    }
    pw = getpwnam(name);
    if (!pw)
        return false;
    *uid = pw->pw_uid;
    if (!g->user)
        return true;
    *uid = 0; /* only the gateway's owner exists inside, as 0 */
    return pw->pw_uid == getuid();
}

static void put_element(struct nft_job *job, unsigned long id, const struct gw_permit *p)
{
    fprintf(job->f, "%s%lu . %s . %u", job->elements ? ",\n            " : "        elements = { ", id, p->address,
            p->port);
    job->elements++;
}

static cmx_err put_user(void *arg, const struct gw_permit *p)
{
    struct nft_job *job = arg;
    unsigned long uid;

    if (user_id(job->g, p->consumer.name, &uid))
        put_element(job, uid, p);
    return CMX_OK;
}

/* A socket carries its creator's primary group alone, so a group's members are named one by one, too. */
static cmx_err put_group_members(void *arg, const struct gw_permit *p)
{
    struct nft_job *job = arg;
    const struct group *gr = getgrnam(p->consumer.name);
    unsigned long uid;

    for (char **member = gr ? gr->gr_mem : NULL; member && *member; member++)
        if (user_id(job->g, *member, &uid))
            put_element(job, uid, p);
    return CMX_OK;
}

static cmx_err put_group(void *arg, const struct gw_permit *p)
{
    struct nft_job *job = arg;
    const struct group *gr = getgrnam(p->consumer.name);
    uint64_t gid;

    if (cmx_text_u64(p->consumer.name, 0, 0xfffffffe, &gid) == CMX_OK)
        put_element(job, (unsigned long)gid, p);
    else if (gr)
        put_element(job, gr->gr_gid, p);
    return CMX_OK;
}

/* "a/b/c" is level 3. The path was checked to hold nothing that could end the quotes. */
static cmx_err put_cgroup(void *arg, const struct gw_permit *p)
{
    struct nft_job *job = arg;
    unsigned level = 1;
    char path[GW_CONSUMER_MAX + 32];

    /* nft knows a cgroup by its inode, so only one that exists now; units come before 'cmxsafe gateway net up'. */
    snprintf(path, sizeof path, "/sys/fs/cgroup/%s", p->consumer.name);
    if (access(path, F_OK) != 0) {
        fprintf(job->f, "        # %s port %u: the cgroup %s is not there\n", p->address, p->port, p->consumer.name);
        return CMX_OK;
    }
    for (const char *s = p->consumer.name; *s; s++)
        level += *s == '/' && s[1];
    fprintf(job->f, "        socket cgroupv2 level %u \"%s\" ip6 daddr %s tcp dport %u accept\n", level,
            p->consumer.name, p->address, p->port);
    return CMX_OK;
}

static void end_set(struct nft_job *job)
{
    fprintf(job->f, "%s    }\n", job->elements ? " }\n" : "");
    job->elements = 0;
}

static cmx_err put_sets(struct nft_job *job)
{
    struct gw_registry *r = &job->g->registry;
    cmx_err err;

    fprintf(job->f, "    set by_user {\n        typeof meta skuid . ip6 daddr . tcp dport\n");
    err = gw_permit_each(r, "user", put_user, job, job->e);
    if (!err)
        err = gw_permit_each(r, "group", put_group_members, job, job->e);
    if (err)
        return err;
    end_set(job);
    fprintf(job->f, "    set by_group {\n        typeof meta skgid . ip6 daddr . tcp dport\n");
    err = gw_permit_each(r, "group", put_group, job, job->e);
    if (!err)
        end_set(job);
    return err;
}

static void put_header(FILE *f, const char *table)
{
    fprintf(f,
            "# Written from the registry by 'cmxsafe gateway'; loading it replaces the table in one step.\n"
            "table inet %s\ndelete table inet %s\ntable inet %s {\n",
            table, table, table);
}

static cmx_err put_judgement(struct nft_job *job)
{
    cmx_err err;

    fprintf(job->f, "        tcp flags & (syn | ack) != syn accept comment \"only first packets are judged\"\n"
                    "        meta skuid . ip6 daddr . tcp dport @by_user accept\n"
                    "        meta skgid . ip6 daddr . tcp dport @by_group accept\n");
    err = gw_permit_each(&job->g->registry, "cgroup", put_cgroup, job, job->e);
    fprintf(job->f, "        meta l4proto tcp counter reject with tcp reset\n"
                    "        counter reject with icmpv6 admin-prohibited\n");
    return err;
}

long gw_account_gid(const struct gw *g)
{
    const struct passwd *pw = getpwnam(g->account);

    return g->user ? GW_USER_UID : pw ? (long)pw->pw_gid : 0;
}

cmx_err gw_nft_fleet(FILE *f, struct gw *g, struct gw_error *e)
{
    struct nft_job job = {f, g, 0, e};
    cmx_err err;

    put_header(f, "cmxsafe");
    err = put_sets(&job);
    if (err)
        return err;
    fprintf(f,
            "    chain output {\n"
            "        type filter hook output priority filter; policy accept;\n"
            "        meta nfproto ipv4 accept\n"
            "        ip6 daddr != %s accept\n"
            "        meta skgid %ld accept comment \"sshd: each key's permitopen decides\"\n",
            g->fleet_text, gw_account_gid(g));
    err = put_judgement(&job);
    /* From the link comes what the host let through; from nowhere else does anything come. */
    fprintf(f,
            "    }\n"
            "    chain input {\n"
            "        type filter hook input priority filter; policy drop;\n"
            "        iifname \"lo\" accept\n"
            "        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
            "        tcp flags & (syn | ack) != syn accept\n"
            "        iifname \"cmxsafe1\" ip6 daddr %s meta l4proto tcp accept\n"
            "    }\n"
            "    chain forward {\n"
            "        type filter hook forward priority filter; policy drop;\n"
            "    }\n"
            "}\n",
            g->fleet_text);
    return err;
}

static cmx_err put_direct(void *arg, const struct gw_device *d)
{
    struct nft_job *job = arg;
    char gateway[GW_HOST_MAX];

    snprintf(gateway, sizeof gateway, "gateway.%s", job->g->domain);
    for (size_t i = 0; !d->revoked && i < d->n_directs; i++)
        if (strcmp(d->directs[i].host, gateway) == 0)
            fprintf(job->f, "        iifname \"cmxsafe0\" tcp dport %u accept comment \"%s\"\n", d->directs[i].port,
                    d->name);
    return CMX_OK;
}

cmx_err gw_nft_host(FILE *f, struct gw *g, struct gw_error *e)
{
    struct nft_job job = {f, g, 0, e};
    cmx_err err;

    put_header(f, "cmxsafe_host");
    err = put_sets(&job);
    if (err)
        return err;
    fprintf(f, "    chain output {\n"
               "        type filter hook output priority filter; policy accept;\n"
               "        oifname != \"cmxsafe0\" accept\n"
               "        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n");
    err = put_judgement(&job);
    fprintf(f, "    }\n"
               "    chain input {\n"
               "        type filter hook input priority filter; policy accept;\n"
               "        iifname != \"cmxsafe0\" accept\n"
               "        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
               "        tcp flags & (syn | ack) != syn accept\n");
    if (!err)
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
