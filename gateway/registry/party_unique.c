#include "gateway/registry/party_unique.h"

#include <stdio.h>
#include <string.h>

#include "gateway/registry/nss.h"

struct unique_check {
    struct gw_registry *r;
    struct cmx_why *e;
};

static cmx_err check_unique(void *arg, const struct gw_party *p)
{
    const struct unique_check *job = arg;
    char name[GW_NAME_MAX];
    cmx_err err;

    if (strcmp(p->kind, "device") == 0)
        return CMX_OK;
    err = gw_sql_get(job->r, job->e, GW_SQL_COLUMNS(GW_SQL_ID(name)), "SELECT name FROM device WHERE address = ?", "t",
                     p->address);
    if (err)
        return err == CMX_ENOENT ? CMX_OK : err;
    return cmx_why_fail(job->e, CMX_EEXIST,
                        "the address %s of %s is the identity of %s:%.80s; give the device another address", p->address,
                        name, p->kind, p->name);
}

static cmx_err check_consumer(struct unique_check *job, const struct gw_fleet *f, const struct gw_consumer *c)
{
    struct gw_party p = {.revoked = false};
    cmx_err err = gw_party_identity(job->r, f, c, p.address, job->e);

    snprintf(p.kind, sizeof p.kind, "%s", c->kind);
    snprintf(p.name, sizeof p.name, "%s", c->name);
    return err ? err : check_unique(job, &p);
}

static cmx_err check_local_users(struct unique_check *job, const struct gw_fleet *f)
{
    struct gw_party p = {.kind = "user"};
    cmx_err err = CMX_OK;

    for (const char *user = gw_nss_users()->members; !err && *user; user = gw_nss_next(user)) {
        snprintf(p.name, sizeof p.name, "%.190s", user);
        err = gw_party_user_identity(f, p.name, p.address, job->e);
        if (!err)
            err = check_unique(job, &p);
    }
    return err;
}

cmx_err gw_party_unique_check(struct gw_registry *r, const struct gw_fleet *f, const struct gw_consumer *c,
                              struct cmx_why *e)
{
    struct unique_check job = {r, e};
    cmx_err err;

    if (c)
        return check_consumer(&job, f, c);
    err = gw_party_each(r, f, check_unique, &job, e);
    return err ? err : check_local_users(&job, f);
}
