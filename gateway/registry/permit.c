#include "gateway/registry/permit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmxsafe/core/text.h"

static const char name_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@/";

cmx_err gw_consumer_parse(struct gw_consumer *c, const char *text, struct gw_error *e)
{
    static const char *const kinds[] = {"user", "group", "cgroup", "platform"};
    const char *colon = strchr(text, ':');
    const char *name = colon ? colon + 1 : text;
    size_t kind_len = colon ? (size_t)(colon - text) : 0;

    snprintf(c->kind, sizeof c->kind, "%s", "platform");
    for (size_t i = 0; colon; i++) {
        if (i == sizeof kinds / sizeof kinds[0])
            return gw_error_set(e, CMX_EINVAL, "use user:NAME, group:NAME, cgroup:PATH or platform:NAME",
                                "'%.80s' is no kind of consumer", text);
        if (strlen(kinds[i]) == kind_len && strncmp(kinds[i], text, kind_len) == 0) {
            snprintf(c->kind, sizeof c->kind, "%s", kinds[i]);
            break;
        }
    }
    if (name[0] == '\0' || name[0] == '-' || strspn(name, name_chars) != strlen(name) ||
        cmx_text_copy(c->name, sizeof c->name, name))
        return gw_error_set(e, CMX_EINVAL, "use letters, digits and . _ - @ /", "'%.80s' is not a consumer's name",
                            name);
    return CMX_OK;
}

static cmx_err consumer_id(struct gw_registry *r, const struct gw_consumer *c, int64_t *id, struct gw_error *e)
{
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_prepare(r, &stmt, e, "SELECT id FROM consumer WHERE kind = ? AND name = ?", "tt", c->kind, c->name);

    if (err)
        return err;
    err = gw_sql_step(r, stmt, e);
    if (!err)
        *id = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return err;
}

static cmx_err consumer_add(struct gw_registry *r, const struct gw_consumer *c, int64_t *id, struct gw_error *e)
{
    cmx_err err = gw_sql_run(r, e, "INSERT INTO consumer(kind, name) VALUES(?, ?)", "tt", c->kind, c->name);

    if (!err)
        *id = sqlite3_last_insert_rowid(r->db);
    return err;
}

static bool has_key(struct gw_registry *r, int64_t consumer, const char *fingerprint)
{
    sqlite3_stmt *stmt;
    bool found;

    if (gw_sql_prepare(r, &stmt, NULL, "SELECT 1 FROM key WHERE consumer = ? AND fingerprint = ? AND retired IS NULL",
                       "it", consumer, fingerprint))
        return false;
    found = gw_sql_step(r, stmt, NULL) == CMX_OK;
    sqlite3_finalize(stmt);
    return found;
}

static cmx_err retire_keys(struct gw_registry *r, int64_t consumer, struct gw_error *e)
{
    return gw_sql_run(r, e, "UPDATE key SET retired = ? WHERE consumer = ? AND retired IS NULL", "ii",
                      (int64_t)time(NULL), consumer);
}

cmx_err gw_platform_set(struct gw_registry *r, const char *name, const struct gw_key *k, gw_outcome *out,
                        struct gw_error *e)
{
    struct gw_consumer c = {.kind = "platform"};
    int64_t id = 0;
    cmx_err err = gw_name_check(name, e);

    if (err)
        return err;
    snprintf(c.name, sizeof c.name, "%s", name);
    err = consumer_id(r, &c, &id, e);
    *out = err == CMX_ENOENT ? GW_ADDED : GW_CHANGED;
    if (err == CMX_ENOENT)
        err = consumer_add(r, &c, &id, e);
    if (err)
        return err;
    if (has_key(r, id, k->fingerprint)) {
        *out = GW_UNCHANGED;
        return CMX_OK;
    }
    err = gw_key_is_free(r, k, e);
    if (!err)
        err = retire_keys(r, id, e);
    if (!err)
        err = gw_sql_run(r, e, "INSERT INTO key(fingerprint, consumer, type, blob, added) VALUES(?, ?, ?, ?, ?)",
                         "titti", k->fingerprint, id, k->type, k->blob, (int64_t)time(NULL));
    return err ? err : gw_event(r, "platform", name, k->fingerprint, e);
}

cmx_err gw_platform_revoke(struct gw_registry *r, const char *name, gw_outcome *out, struct gw_error *e)
{
    struct gw_consumer c = {.kind = "platform"};
    int64_t id = 0;
    int changed;
    cmx_err err;

    if (cmx_text_copy(c.name, sizeof c.name, name))
        return gw_error_set(e, CMX_EINVAL, NULL, "the name is too long");
    err = consumer_id(r, &c, &id, e);
    if (err == CMX_ENOENT)
        return gw_error_set(e, err, NULL, "no platform '%.80s'", name);
    if (!err)
        err = retire_keys(r, id, e);
    changed = sqlite3_changes(r->db);
    if (!err)
        err = gw_sql_run(r, e, "DELETE FROM permit WHERE consumer = ?", "i", id);
    *out = changed ? GW_CHANGED : GW_UNCHANGED;
    return err || !changed ? err : gw_event(r, "revoke-platform", name, "", e);
}

static cmx_err check_port(const struct gw_device *d, uint16_t port, struct gw_error *e)
{
    if (d->revoked)
        return gw_error_set(e, CMX_EINVAL, NULL, "%s is revoked", d->name);
    if (port == 0)
        return CMX_OK;
    for (size_t i = 0; i < d->n_ports; i++)
        if (d->ports[i] == port)
            return CMX_OK;
    return gw_error_set(e, CMX_ENOENT, "see 'cmxsafe gateway show'", "%s has no port %u", d->name, port);
}

static cmx_err find_consumer(struct gw_registry *r, const struct gw_consumer *c, bool add, int64_t *id,
                             struct gw_error *e)
{
    cmx_err err = consumer_id(r, c, id, e);

    if (err != CMX_ENOENT)
        return err;
    if (strcmp(c->kind, "platform") == 0)
        return gw_error_set(e, err, "give it a key with 'cmxsafe gateway platform'; a local user is 'user:NAME'",
                            "no platform '%.80s'", c->name);
    return add ? consumer_add(r, c, id, e) : CMX_ENOENT;
}

/* "user:alice" and "cam-17:81"; without a port all of the device's were meant. */
static cmx_err grant_event(struct gw_registry *r, const char *what, const struct gw_consumer *c, const char *device,
                           uint16_t port, struct gw_error *e)
{
    char who[sizeof c->kind + sizeof c->name + 1];
    char target[GW_NAME_MAX + 8];

    snprintf(who, sizeof who, "%s:%s", c->kind, c->name);
    snprintf(target, sizeof target, port ? "%s:%u" : "%s", device, port);
    return gw_event(r, what, who, target, e);
}

cmx_err gw_permit_set(struct gw_registry *r, const struct gw_consumer *c, const char *device, uint16_t port,
                      gw_outcome *out, struct gw_error *e)
{
    struct gw_device d;
    int64_t id = 0;
    int changed = 0;
    cmx_err err = gw_device_get(r, device, &d, e);

    if (!err)
        err = check_port(&d, port, e);
    if (!err)
        err = find_consumer(r, c, true, &id, e);
    for (size_t i = 0; !err && i < d.n_ports; i++) {
        if (port && d.ports[i] != port)
            continue;
        err = gw_sql_run(r, e, "INSERT OR IGNORE INTO permit(consumer, device, port) VALUES(?, ?, ?)", "iii", id, d.id,
                         (int64_t)d.ports[i]);
        changed += sqlite3_changes(r->db);
    }
    *out = changed ? GW_CHANGED : GW_UNCHANGED;
    return err || !changed ? err : grant_event(r, "grant", c, device, port, e);
}

cmx_err gw_permit_remove(struct gw_registry *r, const struct gw_consumer *c, const char *device, uint16_t port,
                         gw_outcome *out, struct gw_error *e)
{
    struct gw_device d = {0};
    int64_t id = 0;
    cmx_err err = gw_device_get(r, device, &d, e);

    *out = GW_UNCHANGED;
    if (!err)
        err = find_consumer(r, c, false, &id, e);
    if (err == CMX_ENOENT && d.id && strcmp(c->kind, "platform") != 0)
        return CMX_OK;
    if (!err)
        err = gw_sql_run(r, e, "DELETE FROM permit WHERE consumer = ?1 AND device = ?2 AND (?3 = 0 OR port = ?3)",
                         "iii", id, d.id, (int64_t)port);
    if (err || sqlite3_changes(r->db) == 0)
        return err;
    *out = GW_CHANGED;
    return grant_event(r, "ungrant", c, device, port, e);
}

cmx_err gw_permit_each(struct gw_registry *r, const char *kind, gw_permit_fn fn, void *arg, struct gw_error *e)
{
    struct gw_permit p;
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_prepare(r, &stmt, e,
                       "SELECT c.kind, c.name, d.name, coalesce(d.address, ''), p.port FROM permit p JOIN consumer c"
                       " ON c.id = p.consumer JOIN device d ON d.id = p.device WHERE d.revoked IS NULL AND"
                       " (?1 = '' OR c.kind = ?1) ORDER BY c.kind, c.name, d.name, p.port",
                       "t", kind ? kind : "");
    if (err)
        return err;
    while (!(err = gw_sql_step(r, stmt, e))) {
        snprintf(p.consumer.kind, sizeof p.consumer.kind, "%s", gw_sql_text(stmt, 0));
        snprintf(p.consumer.name, sizeof p.consumer.name, "%s", gw_sql_text(stmt, 1));
        snprintf(p.device, sizeof p.device, "%s", gw_sql_text(stmt, 2));
        snprintf(p.address, sizeof p.address, "%s", gw_sql_text(stmt, 3));
        p.port = (uint16_t)sqlite3_column_int(stmt, 4);
        err = fn(arg, &p);
        if (err)
            break;
    }
    sqlite3_finalize(stmt);
    return err == CMX_ENOENT ? CMX_OK : err;
}
