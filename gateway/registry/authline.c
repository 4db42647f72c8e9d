#include "gateway/registry/authline.h"

#include <stdio.h>
#include <string.h>

#include "gateway/registry/device.h"

/* sshd permits every listener (or destination) when a key names none. A name that never resolves (RFC 6761 section 6.4)
 * stands for "none": even if asked for, it can't be bound or reached. */
#define NOWHERE "none.invalid:1"

struct owner {
    int64_t device;
    int64_t consumer;
    char name[GW_NAME_MAX];
    char type[GW_KEY_TYPE_MAX];
    char blob[GW_KEY_BLOB_MAX];
};

static cmx_err find_owner(struct gw_registry *r, const char *fingerprint, struct owner *o, struct gw_error *e)
{
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_prepare(r, &stmt, e,
                       "SELECT coalesce(k.device, 0), coalesce(k.consumer, 0), coalesce(d.name, c.name), k.type,"
                       " k.blob FROM key k LEFT JOIN device d ON d.id = k.device LEFT JOIN consumer c ON"
                       " c.id = k.consumer WHERE k.fingerprint = ? AND k.retired IS NULL AND d.revoked IS NULL",
                       "t", fingerprint);
    if (err)
        return err;
    err = gw_sql_step(r, stmt, e);
    if (!err) {
        o->device = sqlite3_column_int64(stmt, 0);
        o->consumer = sqlite3_column_int64(stmt, 1);
        snprintf(o->name, sizeof o->name, "%s", gw_sql_text(stmt, 2));
        snprintf(o->type, sizeof o->type, "%s", gw_sql_text(stmt, 3));
        snprintf(o->blob, sizeof o->blob, "%s", gw_sql_text(stmt, 4));
    } else if (err == CMX_ENOENT) {
        gw_error_set(e, err, NULL, "no device or platform has the key %s", fingerprint);
    }
    sqlite3_finalize(stmt);
    return err;
}

/* Each row: host text and port; format holds both. Counts rows. */
static cmx_err put_each(struct gw_registry *r, struct cmx_buf *out, const char *option, const char *sql, int64_t id,
                        size_t *n, struct gw_error *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_prepare(r, &stmt, e, sql, "i", id);

    if (err)
        return err;
    while (!(err = gw_sql_step(r, stmt, e))) {
        const char *host = gw_sql_text(stmt, 0);
        int port = sqlite3_column_int(stmt, 1);

        /* No host: a small deployment's port, on the loopback that GatewayPorts no leaves. */
        err = host[0] == '\0'     ? cmx_buf_printf(out, ",%s=\"%d\"", option, port)
              : strchr(host, ':') ? cmx_buf_printf(out, ",%s=\"[%s]:%d\"", option, host, port)
                                  : cmx_buf_printf(out, ",%s=\"%s:%d\"", option, host, port);
        if (err) {
            gw_error_set(e, err, "split it into several platforms", "a key's permissions do not fit %d bytes",
                         GW_AUTHLINE_MAX);
            break;
        }
        (*n)++;
    }
    sqlite3_finalize(stmt);
    return err == CMX_ENOENT ? CMX_OK : err;
}

static cmx_err put_device(struct gw_registry *r, struct cmx_buf *out, int64_t id, struct gw_error *e)
{
    size_t listens = 0;
    size_t opens = 0;
    cmx_err err = put_each(r, out, "permitlisten", "SELECT address, port FROM port WHERE device = ? ORDER BY port", id,
                           &listens, e);
    if (!err && !listens)
        err = cmx_buf_put_str(out, ",permitlisten=\"" NOWHERE "\"");
    if (!err)
        err = put_each(r, out, "permitopen", "SELECT host, port FROM direct WHERE device = ? ORDER BY host, port", id,
                       &opens, e);
    if (!err && !opens)
        err = cmx_buf_put_str(out, ",permitopen=\"" NOWHERE "\"");
    return err;
}

/* By address and by name; a small deployment has neither, so by the loopback's names. */
static const char *const platform_opens[] = {
    "SELECT d.address, p.port FROM permit p JOIN device d ON d.id = p.device WHERE p.consumer = ? AND d.address IS NOT "
    "NULL"
    " AND d.revoked IS NULL ORDER BY d.name, p.port",
    "SELECT d.name || '.' || coalesce((SELECT value FROM meta WHERE key = 'domain'), 'cmx'), p.port FROM permit p JOIN "
    "device d"
    " ON d.id = p.device WHERE p.consumer = ? AND d.address IS NOT NULL AND d.revoked IS NULL ORDER BY d.name, p.port",
    "SELECT 'localhost', p.port FROM permit p JOIN device d ON d.id = p.device WHERE p.consumer = ? AND d.address IS "
    "NULL AND"
    " d.revoked IS NULL ORDER BY p.port",
    "SELECT '127.0.0.1', p.port FROM permit p JOIN device d ON d.id = p.device WHERE p.consumer = ? AND d.address IS "
    "NULL AND"
    " d.revoked IS NULL ORDER BY p.port",
};

static cmx_err put_platform(struct gw_registry *r, struct cmx_buf *out, int64_t id, struct gw_error *e)
{
    size_t opens = 0;
    cmx_err err = cmx_buf_put_str(out, ",permitlisten=\"" NOWHERE "\"");

    for (size_t i = 0; !err && i < sizeof platform_opens / sizeof platform_opens[0]; i++)
        err = put_each(r, out, "permitopen", platform_opens[i], id, &opens, e);
    if (!err && !opens)
        err = cmx_buf_put_str(out, ",permitopen=\"" NOWHERE "\"");
    return err;
}

cmx_err gw_authline(struct gw_registry *r, const char *fingerprint, struct cmx_buf *out, char *name, struct gw_error *e)
{
    struct owner o = {0};
    cmx_err err = find_owner(r, fingerprint, &o, e);

    if (err)
        return err;
    if (name)
        snprintf(name, GW_NAME_MAX, "%s", o.name);
    err = cmx_buf_put_str(out, "restrict,port-forwarding");
    if (!err)
        err = o.device ? put_device(r, out, o.device, e) : put_platform(r, out, o.consumer, e);
    return err ? err : cmx_buf_printf(out, " %s %s %s\n", o.type, o.blob, o.name);
}
