#include "gateway/registry/party.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmxsafe/core/label.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"
#include "gateway/registry/list.h"
#include "gateway/registry/nss.h"

static cmx_err derive(const struct gw_fleet *f, const char *label, const void *data, size_t len,
                      char out[GW_ADDRESS_MAX], struct cmx_why *e)
{
    return cmx_fleet_address(f->prefix, f->bits, label, data, len, out) ? cmx_why_fail(e, CMX_EIO, "hashing failed")
                                                                        : CMX_OK;
}

static cmx_err derive_name(const struct gw_fleet *f, const char *label, const char *name, char out[GW_ADDRESS_MAX],
                           struct cmx_why *e)
{
    return derive(f, label, name, strlen(name), out, e);
}

/* A cache of users. There may be thousands of users, and writing the rules looks up each of them several times. Each
 * look-up opens files and may query other services. The cache is direct-mapped. An entry is valid only for a short
 * time, because users are added and removed. */
#define CACHE_ENTRIES 32768
#define CACHE_NAME_MAX 40
#define CACHE_MS 30000

struct cached_user {
    char name[CACHE_NAME_MAX];
    char canonical[CACHE_NAME_MAX];
    long uid;
    uint64_t at_ms; /* 0: free */
};

static struct cached_user cache[CACHE_ENTRIES];

void gw_party_forget_users(void)
{
    memset(cache, 0, sizeof cache);
}

static struct cached_user *cache_entry(const char *name)
{
    uint32_t hash = 2166136261u;

    for (const char *p = name; *p; p++)
        hash = (hash ^ (uint8_t)*p) * 16777619u;
    return &cache[hash % CACHE_ENTRIES];
}

/* Looks up a group by its name or number. Returns its gid, or -1 if the machine does not know the name. Writes the
 * first name of the gid; if the gid has no name or is -1, writes `name` unchanged. */
static long canonical_group(const char *name, char out[GW_CONSUMER_MAX])
{
    const struct gw_nss_entry *x = gw_nss_find(GW_NSS_GROUP, name);

    snprintf(out, GW_CONSUMER_MAX, "%s", x->first);
    return x->id;
}

/* Like canonical_group, for a user; uses the cache. */
static long canonical_user(const char *name, char out[GW_CONSUMER_MAX])
{
    struct cached_user *c = cache_entry(name);
    uint64_t now = cmx_port_now_ms();
    const struct gw_nss_entry *x;

    if (c->at_ms && now - c->at_ms < CACHE_MS && strcmp(c->name, name) == 0) {
        snprintf(out, GW_CONSUMER_MAX, "%s", c->canonical);
        return c->uid;
    }
    x = gw_nss_find(GW_NSS_USER, name);
    snprintf(out, GW_CONSUMER_MAX, "%s", x->first);
    c->at_ms = 0;
    if (cmx_text_copy(c->name, sizeof c->name, name) == CMX_OK &&
        cmx_text_copy(c->canonical, sizeof c->canonical, out) == CMX_OK) { /* longer names are not cached */
        c->uid = x->id;
        c->at_ms = now;
    }
    return x->id;
}

long gw_party_local_id(const struct gw_consumer *c)
{
    char name[GW_CONSUMER_MAX];

    if (strcmp(c->kind, "user") == 0)
        return canonical_user(c->name, name);
    return strcmp(c->kind, "group") == 0 ? canonical_group(c->name, name) : -1;
}

bool gw_party_is_known(const struct gw_consumer *c)
{
    return (strcmp(c->kind, "user") != 0 && strcmp(c->kind, "group") != 0) || gw_party_local_id(c) >= 0;
}

cmx_err gw_party_each_spelling(struct gw_registry *r, const struct gw_consumer *c, gw_spelling_fn fn, void *arg,
                               struct cmx_why *e)
{
    struct gw_consumer other = *c;
    long id = gw_party_local_id(c);
    sqlite3_stmt *stmt;
    cmx_err err;

    if (id < 0)
        return CMX_OK;
    err = gw_sql_row(r, &stmt, e, "SELECT name FROM consumer WHERE kind = ? AND name <> ?", "tt", c->kind, c->name);
    while (!err) {
        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(other.name)));
        err = gw_sql_next(r, stmt, gw_party_local_id(&other) == id ? fn(arg, &other) : CMX_OK, e);
    }
    return gw_sql_end(stmt, err);
}

/* The identity is always derived from the first key, so that a new key does not change it. */
static cmx_err platform_identity(struct gw_registry *r, const struct gw_fleet *f, const char *name,
                                 char out[GW_ADDRESS_MAX], struct cmx_why *e)
{
    struct gw_key k = {0};
    char line[GW_KEY_TYPE_MAX + GW_KEY_BLOB_MAX + 2] = "";
    cmx_err err = gw_sql_get(r, e, GW_SQL_COLUMNS(GW_SQL_ID(line)),
                             "SELECT k.type || ' ' || k.blob FROM key k JOIN consumer c ON c.id = k.consumer WHERE"
                             " c.kind = 'platform' AND c.name = ? ORDER BY k.added, k.fingerprint LIMIT 1",
                             "t", name);

    if (err)
        return err == CMX_ENOENT ? cmx_why_fail(e, err, "no platform '%.80s'; see 'cmxsafe gateway platform'", name)
                                 : err;
    err = gw_key_parse(&k, line, e);
    if (err == CMX_EFORMAT || err == CMX_ENOTSUP)
        return cmx_why_fail(e, CMX_ENOENT, "the key of the platform '%.80s' is malformed", name);
    return err ? err : derive(f, CMX_DOMAIN_PLATFORM_ADDRESS, k.raw, k.raw_len, out, e);
}

cmx_err gw_party_identity(struct gw_registry *r, const struct gw_fleet *f, const struct gw_consumer *c,
                          char out[GW_ADDRESS_MAX], struct cmx_why *e)
{
    char name[GW_CONSUMER_MAX];

    if (gw_consumer_is_principal(c))
        return derive_name(f, CMX_DOMAIN_PRINCIPAL_ADDRESS, c->name, out, e);
    if (strcmp(c->kind, "platform") == 0)
        return platform_identity(r, f, c->name, out, e);
    if (strcmp(c->kind, "cgroup") == 0)
        return derive_name(f, CMX_DOMAIN_UNIT_ADDRESS, c->name, out, e);
    if (strcmp(c->kind, "group") == 0) {
        (void)canonical_group(c->name, name); /* a group that does not exist yet also has an identity */
        return derive_name(f, CMX_DOMAIN_GROUP_ADDRESS, name, out, e);
    }
    (void)canonical_user(c->name, name);
    return gw_party_user_identity(f, name, out, e);
}

cmx_err gw_party_user_identity(const struct gw_fleet *f, const char *name, char out[GW_ADDRESS_MAX], struct cmx_why *e)
{
    return derive_name(f, CMX_DOMAIN_USER_ADDRESS, name, out, e);
}

cmx_err gw_party_gateway_identity(const struct gw_fleet *f, char out[GW_ADDRESS_MAX], struct cmx_why *e)
{
    return derive_name(f, CMX_DOMAIN_GATEWAY_ADDRESS, "gateway", out, e);
}

bool gw_party_is_device(struct gw_registry *r, const char *address)
{
    return gw_sql_number(r, NULL, NULL, "SELECT 1 FROM device WHERE address = ?", "t", address) != CMX_ENOENT;
}

cmx_err gw_party_of_key(struct gw_registry *r, const struct gw_fleet *f, const char *fingerprint, struct gw_device *out,
                        struct cmx_why *e)
{
    char name[GW_NAME_MAX] = "";
    bool device = false;
    cmx_err err = gw_sql_get(r, e, GW_SQL_COLUMNS(GW_SQL_FLAG(&device), GW_SQL_WHOLE_AT(name, sizeof name)),
                             "SELECT d.name IS NOT NULL, coalesce(d.name, c.name) FROM key k LEFT JOIN device d ON"
                             " d.id = k.device LEFT JOIN consumer c ON c.id = k.consumer WHERE k.fingerprint = ? AND"
                             " k.retired IS NULL AND d.revoked IS NULL",
                             "t", fingerprint);

    if (err)
        return err == CMX_ENOENT ? cmx_why_fail(e, err, "no device or platform has the key %s", fingerprint) : err;
    if (device)
        return gw_device_get(r, name, out, e);
    memset(out, 0, sizeof *out);
    memcpy(out->name, name, sizeof name);
    return platform_identity(r, f, name, out->address, e);
}

/* ---- parties ---- */

struct each_party {
    gw_party_fn fn;
    void *arg;
};

static cmx_err party_device(void *arg, const struct gw_device *d)
{
    struct each_party *job = arg;
    struct gw_party p = {.kind = "device", .revoked = d->revoked != 0};

    snprintf(p.name, sizeof p.name, "%s", d->name);
    snprintf(p.address, sizeof p.address, "%s", d->address);
    return p.address[0] ? job->fn(job->arg, &p) : CMX_OK;
}

static cmx_err consumer_parties(struct gw_registry *r, const struct gw_fleet *f, struct each_party *job,
                                struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(
        r, &stmt, e,
        "SELECT c.kind, c.name, c.kind = 'platform' AND instr(c.name, '@') = 0 AND NOT EXISTS"
        " (SELECT 1 FROM key k WHERE k.consumer = c.id AND k.retired IS NULL) FROM consumer c ORDER BY c.kind, c.name",
        "");

    while (!err) {
        struct gw_consumer c = {0};
        struct gw_party p = {.revoked = sqlite3_column_int(stmt, 2) != 0};

        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(c.kind), GW_SQL_ID(c.name)));
        snprintf(p.kind, sizeof p.kind, "%s", c.kind);
        snprintf(p.name, sizeof p.name, "%s", c.name);
        err = gw_party_identity(r, f, &c, p.address, e);
        if (!err)
            err = job->fn(job->arg, &p);
        else if (err == CMX_ENOENT)
            err = CMX_OK; /* a party without an identity is left out */
        err = gw_sql_next(r, stmt, err, e);
    }
    return gw_sql_end(stmt, err);
}

cmx_err gw_party_each(struct gw_registry *r, const struct gw_fleet *f, gw_party_fn fn, void *arg, struct cmx_why *e)
{
    struct each_party job = {fn, arg};
    struct gw_party gateway = {.kind = "gateway", .name = "gateway"};
    cmx_err err = gw_device_each(r, NULL, party_device, &job, e);

    if (!err)
        err = consumer_parties(r, f, &job, e);
    if (!err)
        err = gw_party_gateway_identity(f, gateway.address, e);
    return err ? err : fn(arg, &gateway);
}

struct party_search {
    const char *what;
    struct gw_party *out;
    bool found;
};

static cmx_err match_party(void *arg, const struct gw_party *p)
{
    int (*compare)(const char *, const char *) = strcmp(p->kind, "device") == 0 ? strcasecmp : strcmp;
    struct party_search *s = arg;
    char full[sizeof p->kind + sizeof p->name];

    snprintf(full, sizeof full, "%s:%s", p->kind, p->name);
    /* An active party takes precedence over a revoked one with the same address or name. */
    if ((strcmp(s->what, p->address) == 0 || compare(s->what, full) == 0 || compare(s->what, p->name) == 0) &&
        (!s->found || (s->out->revoked && !p->revoked))) {
        *s->out = *p;
        s->found = true;
    }
    return CMX_OK;
}

/* A local user without any grant also has an identity. */
static cmx_err find_local_user(const struct gw_fleet *f, const char *what, struct gw_party *out, struct cmx_why *e)
{
    struct gw_party p = {.kind = "user"};
    char name[GW_CONSUMER_MAX];
    bool found = false;

    for (const char *user = gw_nss_users()->members; !found && *user; user = gw_nss_next(user)) {
        snprintf(p.name, sizeof p.name, "%.190s", user);
        if (derive_name(f, CMX_DOMAIN_USER_ADDRESS, p.name, p.address, e))
            break;
        found = strcmp(what, p.address) == 0 || strcmp(what, p.name) == 0 ||
                (strncmp(what, "user:", 5) == 0 && strcmp(what + 5, p.name) == 0);
    }
    if (!found)
        return CMX_ENOENT;
    *out = p;
    (void)canonical_user(p.name, name); /* after the loop, because this call invalidates the list of users */
    return derive_name(f, CMX_DOMAIN_USER_ADDRESS, name, out->address, e);
}

cmx_err gw_party_find(struct gw_registry *r, const struct gw_fleet *f, const char *what, struct gw_party *out,
                      struct cmx_why *e)
{
    char canonical[GW_ADDRESS_MAX];
    struct party_search s = {what, out, false};
    struct gw_consumer c;
    uint8_t raw[CMX_IPV6_LEN];
    cmx_err err;

    if (inet_pton(AF_INET6, what, raw) == 1) {
        inet_ntop(AF_INET6, raw, canonical, sizeof canonical);
        s.what = canonical;
    }
    err = gw_party_each(r, f, match_party, &s, e);
    if (err || s.found)
        return err;
    if (find_local_user(f, s.what, out, e) == CMX_OK)
        return CMX_OK;
    if (strchr(what, ':') && inet_pton(AF_INET6, what, raw) != 1 && gw_consumer_parse(&c, what, e) == CMX_OK &&
        strcmp(c.kind, "platform") != 0) {
        *out = (struct gw_party){0};
        snprintf(out->kind, sizeof out->kind, "%s", c.kind);
        snprintf(out->name, sizeof out->name, "%s", c.name);
        return gw_party_identity(r, f, &c, out->address, e);
    }
    return cmx_why_fail(e, CMX_ENOENT, "no party has the name or address '%.80s'", what);
}

/* ---- the allowed connections ---- */

struct each_allowed {
    struct gw_registry *r;
    const struct gw_fleet *f;
    const char *domain;
    const char *host_link;
    struct gw_allowed_list *list;
    struct cmx_why *e;
    struct gw_consumer last; /* consumer of the previous grant; last_address is its identity */
    char last_address[GW_ADDRESS_MAX];
};

static cmx_err allow(struct each_allowed *job, const struct gw_allowed *a)
{
    struct gw_allowed_list *l = job->list;
    cmx_err err = gw_list_add(&l->entries, &l->n, &l->cap, a, sizeof *a);

    return err ? cmx_why_fail(job->e, err, "out of memory") : CMX_OK;
}

/* Adds a connection that a grant allows, unless its source is the address of a device. */
static cmx_err allow_consumer(struct each_allowed *job, const struct gw_allowed *a)
{
    return gw_party_is_device(job->r, a->source) ? CMX_OK : allow(job, a);
}

static cmx_err allow_user(struct each_allowed *job, const char *user, struct gw_allowed *a)
{
    char name[GW_CONSUMER_MAX];
    cmx_err err;

    a->uid = canonical_user(user, name);
    err = derive_name(job->f, CMX_DOMAIN_USER_ADDRESS, name, a->source, job->e);
    return err ? err : allow_consumer(job, a);
}

/* The rules see only the primary group of a socket's creator. So users who have this group as a supplementary
 * group also get entries of their own. */
static cmx_err allow_group(struct each_allowed *job, const char *group, struct gw_allowed *a)
{
    struct gw_allowed member = *a;
    char name[GW_CONSUMER_MAX];
    cmx_err err;

    a->gid = canonical_group(group, name);
    err = derive_name(job->f, CMX_DOMAIN_GROUP_ADDRESS, name, a->source, job->e);
    if (!err)
        err = allow_consumer(job, a);
    /* `name` may be another group with the same gid, but other members */
    for (const char *m = gw_nss_find(GW_NSS_GROUP, group)->members; !err && *m; m = gw_nss_next(m)) {
        char user[GW_CONSUMER_MAX];
        snprintf(user, sizeof user, "%.190s", m); /* a longer name is cut to fit */
        err = allow_user(job, user, &member);
    }
    return err;
}

static cmx_err allow_grant(void *arg, const struct gw_grant *p)
{
    struct each_allowed *job = arg;
    struct gw_allowed a = {.port = p->port, .uid = -1, .gid = -1, .ends_in = p->ends_in};
    uint64_t number;
    cmx_err err = CMX_OK;

    if (!p->address[0])
        return CMX_OK;
    snprintf(a.target, sizeof a.target, "%s", p->address);
    if (strcmp(p->consumer.kind, "user") == 0) {
        a.by_number = gw_nss_is_number(p->consumer.name, &number);
        return allow_user(job, p->consumer.name, &a);
    }
    if (strcmp(p->consumer.kind, "group") == 0)
        return allow_group(job, p->consumer.name, &a);
    if (strcmp(job->last.kind, p->consumer.kind) != 0 || strcmp(job->last.name, p->consumer.name) != 0) {
        job->last = p->consumer;
        err = gw_party_identity(job->r, job->f, &p->consumer, job->last_address, job->e);
        if (err)
            job->last_address[0] = '\0';
    }
    if (!job->last_address[0]) /* a platform whose key is missing or malformed reaches nothing */
        return err == CMX_ENOENT ? CMX_OK : err;
    snprintf(a.source, sizeof a.source, "%s", job->last_address);
    if (strcmp(p->consumer.kind, "cgroup") == 0) {
        snprintf(a.cgroup, sizeof a.cgroup, "%s", p->consumer.name);
        a.unit = (uint32_t)p->consumer_id;
    }
    return allow_consumer(job, &a);
}

/* Writes the address of a direct context's host, if the host is an address inside the fleet's prefix, the name of an
 * active device or the name of the gateway's own host. Otherwise writes "". */
static void direct_target(struct each_allowed *job, const char *host, char out[GW_ADDRESS_MAX])
{
    struct gw_device d;
    size_t len = strlen(host);
    size_t domain = strlen(job->domain);
    uint8_t raw[CMX_IPV6_LEN];
    char name[GW_NAME_MAX];

    out[0] = '\0';
    if (inet_pton(AF_INET6, host, raw) == 1) {
        if (memcmp(raw, job->f->prefix, job->f->bits / 8) == 0)
            inet_ntop(AF_INET6, raw, out, GW_ADDRESS_MAX);
        return;
    }
    if (gw_device_host_is_gateway(host, job->domain)) {
        snprintf(out, GW_ADDRESS_MAX, "%s", job->host_link);
        return;
    }
    if (len <= domain + 1 || strcmp(host + len - domain, job->domain) != 0 || host[len - domain - 1] != '.' ||
        len - domain - 1 >= sizeof name)
        return;
    snprintf(name, sizeof name, "%.*s", (int)(len - domain - 1), host);
    if (gw_device_get(job->r, name, &d, NULL) == CMX_OK && !d.revoked)
        snprintf(out, GW_ADDRESS_MAX, "%s", d.address);
}

static cmx_err allow_directs(void *arg, const struct gw_device *d)
{
    struct each_allowed *job = arg;
    cmx_err err = CMX_OK;

    for (size_t i = 0; !err && !d->revoked && d->address[0] && i < d->n_directs; i++) {
        struct gw_allowed a = {.port = d->directs[i].port, .uid = -1, .gid = -1};

        snprintf(a.source, sizeof a.source, "%s", d->address);
        direct_target(job, d->directs[i].host, a.target);
        if (a.target[0] && !gw_device_is_quarantined(job->r, a.target))
            err = allow(job, &a);
    }
    return err;
}

static int compare_allowed(const void *a, const void *b)
{
    const struct gw_allowed *x = a;
    const struct gw_allowed *y = b;
    int order = strcmp(x->source, y->source);

    if (!order)
        order = strcmp(x->target, y->target);
    return order ? order : (int)x->port - (int)y->port;
}

/* If several entries allow the same connection, such as a user's own grant and the grant to a group, keeps one, with
 * the latest end. */
static void merge_allowed(struct gw_allowed_list *l)
{
    size_t kept = 0;

    if (l->n)
        qsort(l->entries, l->n, sizeof l->entries[0], compare_allowed);
    for (size_t i = 1; i < l->n; i++) {
        struct gw_allowed *last = &l->entries[kept];
        const struct gw_allowed *a = &l->entries[i];

        if (compare_allowed(last, a) != 0) {
            l->entries[++kept] = *a;
            continue;
        }
        last->by_number |= a->by_number;
        if (last->ends_in && (!a->ends_in || a->ends_in > last->ends_in))
            last->ends_in = a->ends_in;
    }
    if (l->n)
        l->n = kept + 1;
}

cmx_err gw_allowed_read(struct gw_registry *r, const struct gw_fleet *f, const char *domain, const char *host_link,
                        struct gw_allowed_list *out, struct cmx_why *e)
{
    struct each_allowed job = {.r = r, .f = f, .domain = domain, .host_link = host_link, .list = out, .e = e};
    cmx_err err;

    *out = (struct gw_allowed_list){0};
    if (r->stale)
        return CMX_OK;
    err = gw_grant_each(r, allow_grant, &job, e);
    if (!err)
        err = gw_device_each(r, NULL, allow_directs, &job, e);
    merge_allowed(out);
    return err;
}

void gw_allowed_free(struct gw_allowed_list *l)
{
    cmx_mem_free(l->entries);
    *l = (struct gw_allowed_list){0};
}
