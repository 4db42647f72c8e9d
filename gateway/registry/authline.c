#include "gateway/registry/authline.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gateway/registry/registry_device.h"

/* If a key's line names no listener, sshd permits every listener; if it names no destination, sshd permits every
 * destination. So the line of a key without listeners or destinations names a host that never resolves (RFC 6761
 * section 6.4). */
#define NOWHERE "none.invalid:1"

struct owner {
    int64_t device;
    int64_t consumer;
    char name[GW_NAME_MAX];
    char type[GW_KEY_TYPE_MAX];
    char blob[GW_KEY_BLOB_MAX];
};

static cmx_err find_owner(struct gw_registry *r, const char *fingerprint, struct owner *o, struct cmx_why *e)
{
    cmx_err err = gw_sql_get(r, e,
                             GW_SQL_COLUMNS(GW_SQL_NUMBER(&o->device), GW_SQL_NUMBER(&o->consumer), GW_SQL_ID(o->name),
                                            GW_SQL_ID(o->type), GW_SQL_ID(o->blob)),
                             "SELECT coalesce(k.device, 0), coalesce(k.consumer, 0), coalesce(d.name, c.name), k.type,"
                             " k.blob FROM key k LEFT JOIN device d ON d.id = k.device LEFT JOIN consumer c ON"
                             " c.id = k.consumer WHERE k.fingerprint = ? AND k.retired IS NULL AND d.revoked IS NULL",
                             "t", fingerprint);

    if (err == CMX_ENOENT)
        cmx_why_set(e, "no device or platform has the key %s", fingerprint);
    return err;
}

/* Appends option="HOST:PORT" for each row (host, port) of the query. If the query has no row, appends the option once,
 * with NOWHERE. */
static cmx_err put_each(struct gw_registry *r, struct cmx_buf *out, const char *option, const char *sql, int64_t id,
                        struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, sql, "i", id);

    if (err == CMX_ENOENT) {
        sqlite3_finalize(stmt);
        return cmx_buf_printf(out, ",%s=\"" NOWHERE "\"", option);
    }
    while (!err) {
        const char *host = gw_sql_text(stmt, 0);
        int port = sqlite3_column_int(stmt, 1);

        /* In a small deployment, host is "": with "GatewayPorts no", sshd listens only on the loopback. */
        err = !gw_sql_is_id(host) ? CMX_EFORMAT
              : host[0] == '\0'   ? cmx_buf_printf(out, ",%s=\"%d\"", option, port)
              : strchr(host, ':') ? cmx_buf_printf(out, ",%s=\"[%s]:%d\"", option, host, port)
                                  : cmx_buf_printf(out, ",%s=\"%s:%d\"", option, host, port);
        err = gw_sql_next(r, stmt, err, e);
    }
    if (err == CMX_EFORMAT)
        cmx_why_set(e, "the registry has a malformed host; restore another backup");
    if (err == CMX_ENOSPC)
        cmx_why_set(e, "the permissions of this key do not fit in %d bytes; split them among several platforms",
                    GW_AUTHLINE_MAX);
    return gw_sql_end(stmt, err);
}

/* The hosts on which a small deployment's services listen. */
#define LOOPBACK "(SELECT 'localhost' AS host UNION ALL SELECT '127.0.0.1')"

/* Selects the services that a device's direct contexts may use, and the device's own listeners. The
 * listeners are included because the agent (probe_interval) checks them end to end. */
static const char device_opens[] = "SELECT host, port FROM direct WHERE device = ?1 UNION ALL"
                                   " SELECT address, port FROM port WHERE device = ?1 AND address <> '' UNION ALL"
                                   " SELECT host, port FROM port JOIN " LOOPBACK " WHERE device = ?1 AND address = ''";

/* Selects the services that the platform's grants permit. Each service has two rows: their hosts are the device's
 * address and name; in a small deployment, the two hosts of LOOPBACK. */
#define PLATFORMS_DEVICES                                                                                              \
    "active_grants p JOIN device d ON d.id = p.device AND d.revoked IS NULL WHERE p.consumer = ?1 AND d.address IS "
static const char platform_opens[] =
    "SELECT DISTINCT d.address, p.port FROM " PLATFORMS_DEVICES "NOT NULL UNION ALL"
    " SELECT DISTINCT d.name || '.' || coalesce((SELECT value FROM meta WHERE key = 'domain'), 'cmx'), p.port FROM"
    " " PLATFORMS_DEVICES "NOT NULL UNION ALL"
    " SELECT DISTINCT host, p.port FROM " LOOPBACK " JOIN " PLATFORMS_DEVICES "NULL";

static cmx_err put_device(struct gw_registry *r, struct cmx_buf *out, int64_t id, struct cmx_why *e)
{
    cmx_err err =
        put_each(r, out, "permitlisten", "SELECT address, port FROM port WHERE device = ? ORDER BY port", id, e);

    return err ? err : put_each(r, out, "permitopen", device_opens, id, e);
}

static cmx_err put_platform(struct gw_registry *r, struct cmx_buf *out, int64_t id, struct cmx_why *e)
{
    cmx_err err = gw_registry_need_views(r, e);

    if (!err)
        err = cmx_buf_put_str(out, ",permitlisten=\"" NOWHERE "\"");
    return err ? err : put_each(r, out, "permitopen", platform_opens, id, e);
}

static cmx_err check_fresh(const struct gw_registry *r, struct cmx_why *e)
{
    return r->stale ? cmx_why_fail(e, CMX_EPERM,
                                   "PostgreSQL has not confirmed this gateway's copy of the registry in time; see why "
                                   "with 'cmxsafe gateway status', and make PostgreSQL reachable")
                    : CMX_OK;
}

cmx_err gw_authline(struct gw_registry *r, const char *fingerprint, struct cmx_buf *out, char *name, struct cmx_why *e)
{
    struct owner o = {0};
    cmx_err err = check_fresh(r, e);

    if (!err)
        err = find_owner(r, fingerprint, &o, e);
    if (err)
        return err;
    if (name)
        snprintf(name, GW_NAME_MAX, "%s", o.name);
    err = cmx_buf_put_str(out, "restrict,port-forwarding");
    if (!err)
        err = o.device ? put_device(r, out, o.device, e) : put_platform(r, out, o.consumer, e);
    return err ? err : cmx_buf_printf(out, " %s %s %s\n", o.type, o.blob, o.name);
}

/* A certificate does not make a revoked key valid again. */
static cmx_err check_key(struct gw_registry *r, const struct gw_certificate *c, struct cmx_why *e)
{
    cmx_err err = gw_device_find_retired_key(r, c->fingerprint, e);

    if (!err)
        return cmx_why_fail(e, CMX_EAUTH, "the key of the certificate '%s', %s, was revoked or replaced", c->id,
                            c->fingerprint);
    return err == CMX_ENOENT ? CMX_OK : err;
}

/* sshd also checks the CA, the signature, the validity and the principal. It permits only what both this line and the
 * certificate permit (auth_check_authkey_line in OpenSSH's auth2-pubkeyfile.c). */
cmx_err gw_authline_certificate(struct gw_registry *r, const struct gw_certificate *c, struct cmx_buf *out, char *name,
                                struct cmx_why *e)
{
    struct gw_authority a;
    struct gw_consumer who;
    int64_t id = 0;
    cmx_err err = check_fresh(r, e);

    if (!err)
        err = gw_registry_need_views(r, e);
    if (!err)
        err = gw_authority_accept(r, c, (int64_t)time(NULL), &a, &who, e);
    if (!err)
        err = check_key(r, c, e);
    if (!err)
        err = gw_consumer_id(r, &who, &id, e);
    if (err)
        return err;
    if (name)
        snprintf(name, GW_NAME_MAX, "%.63s", who.name);
    err = cmx_buf_printf(out, "cert-authority,principals=\"%.*s\",restrict,port-forwarding",
                         (int)(strrchr(who.name, '@') - who.name), who.name);
    if (!err)
        err = put_platform(r, out, id, e);
    return err ? err : cmx_buf_printf(out, " %s %s %s\n", a.type, a.blob, who.name);
}

/* FNV-1a */
uint64_t gw_authline_digest(uint64_t before, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        before = (before ^ p[i]) * 0x100000001b3u;
    return before;
}
