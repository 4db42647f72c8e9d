#include "gateway/registry/device.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmxsafe/core/text.h"

cmx_err gw_name_check(const char *name, struct gw_error *e)
{
    size_t len = strlen(name);

    if (len == 0 || len >= GW_NAME_MAX || name[0] == '-' || name[len - 1] == '-' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        return gw_error_set(e, CMX_EINVAL,
                            "use lower-case letters, digits and '-', at most 63 (it becomes a host name)",
                            "'%.80s' is not a name", name);
    return CMX_OK;
}

/* The next comma-separated piece into out; false at the end. An oversized piece is cut, which its parser then refuses.
 */
static bool next_piece(const char **text, char *out, size_t cap)
{
    size_t len;

    if (**text == '\0')
        return false;
    len = strcspn(*text, ",");
    snprintf(out, cap, "%.*s", (int)len, *text);
    *text += len;
    if (**text == ',')
        (*text)++;
    return true;
}

cmx_err gw_ports_parse(struct gw_device *d, const char *text, struct gw_error *e)
{
    char piece[16];
    uint64_t port;

    d->n_ports = 0;
    while (next_piece(&text, piece, sizeof piece)) {
        if (cmx_text_u64(piece, 1, 65535, &port))
            return gw_error_set(e, CMX_EINVAL, "give ports such as 81,8989,8888", "'%s' is not a port", piece);
        for (size_t i = 0; i < d->n_ports; i++)
            if (d->ports[i] == port)
                return gw_error_set(e, CMX_EINVAL, NULL, "port %s is given twice", piece);
        if (d->n_ports == GW_PORTS_MAX)
            return gw_error_set(e, CMX_EINVAL, NULL, "more than %d ports", GW_PORTS_MAX);
        d->ports[d->n_ports++] = (uint16_t)port;
    }
    return CMX_OK;
}

/* What may stand in permitopen="...": nothing that could end the quotes or begin another option, and no wildcard. */
static bool host_is_plain(const char *host)
{
    return host[0] &&
           strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:_") == strlen(host);
}

static cmx_err parse_direct(struct gw_direct *out, char *piece, struct gw_error *e)
{
    char *colon = strrchr(piece, ':');
    char *host = piece;
    uint64_t port;

    if (!colon || cmx_text_u64(colon + 1, 1, 65535, &port))
        return gw_error_set(e, CMX_EINVAL, "give HOST:PORT", "'%s' has no port", piece);
    *colon = '\0';
    if (host[0] == '[' && colon > host + 1 && colon[-1] == ']') {
        host++;
        colon[-1] = '\0';
    } else if (strchr(host, ':')) {
        return gw_error_set(e, CMX_EINVAL, "write it as [ADDRESS]:PORT", "'%s' is an IPv6 address without brackets",
                            host);
    }
    if (!host_is_plain(host))
        return gw_error_set(e, CMX_EINVAL, NULL, "'%s' is not a host", host);
    out->port = (uint16_t)port;
    return cmx_text_copy(out->host, sizeof out->host, host)
               ? gw_error_set(e, CMX_EINVAL, NULL, "the host name is too long")
               : CMX_OK;
}

cmx_err gw_directs_parse(struct gw_device *d, const char *text, struct gw_error *e)
{
    char piece[GW_HOST_MAX + 16];

    d->n_directs = 0;
    while (next_piece(&text, piece, sizeof piece)) {
        cmx_err err;
        if (d->n_directs == GW_DIRECTS_MAX)
            return gw_error_set(e, CMX_EINVAL, NULL, "more than %d direct services", GW_DIRECTS_MAX);
        err = parse_direct(&d->directs[d->n_directs], piece, e);
        if (err)
            return err;
        d->n_directs++;
    }
    return CMX_OK;
}

static cmx_err read_ports(struct gw_registry *r, struct gw_device *d, struct gw_error *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_prepare(r, &stmt, e, "SELECT port FROM port WHERE device = ? ORDER BY port", "i", d->id);

    if (err)
        return err;
    d->n_ports = 0;
    while (!(err = gw_sql_step(r, stmt, e)) && d->n_ports < GW_PORTS_MAX)
        d->ports[d->n_ports++] = (uint16_t)sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return err == CMX_ENOENT ? CMX_OK : err;
}

static cmx_err read_directs(struct gw_registry *r, struct gw_device *d, struct gw_error *e)
{
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_prepare(r, &stmt, e, "SELECT host, port FROM direct WHERE device = ? ORDER BY host, port", "i", d->id);

    if (err)
        return err;
    d->n_directs = 0;
    while (!(err = gw_sql_step(r, stmt, e)) && d->n_directs < GW_DIRECTS_MAX) {
        struct gw_direct *x = &d->directs[d->n_directs++];
        snprintf(x->host, sizeof x->host, "%s", gw_sql_text(stmt, 0));
        x->port = (uint16_t)sqlite3_column_int(stmt, 1);
    }
    sqlite3_finalize(stmt);
    return err == CMX_ENOENT ? CMX_OK : err;
}

#define DEVICE_COLUMNS                                                                                                 \
    "SELECT d.id, d.name, coalesce(d.address, ''), d.team, coalesce(k.fingerprint, ''), coalesce(k.type, ''), "        \
    "d.enrolled,"                                                                                                      \
    " coalesce(d.revoked, 0) FROM device d LEFT JOIN key k ON k.device = d.id AND k.retired IS NULL "

static cmx_err read_device(struct gw_registry *r, sqlite3_stmt *stmt, struct gw_device *d, struct gw_error *e)
{
    cmx_err err;

    memset(d, 0, sizeof *d);
    d->id = sqlite3_column_int64(stmt, 0);
    snprintf(d->name, sizeof d->name, "%s", gw_sql_text(stmt, 1));
    snprintf(d->address, sizeof d->address, "%s", gw_sql_text(stmt, 2));
    snprintf(d->team, sizeof d->team, "%s", gw_sql_text(stmt, 3));
    snprintf(d->fingerprint, sizeof d->fingerprint, "%s", gw_sql_text(stmt, 4));
    snprintf(d->key_type, sizeof d->key_type, "%s", gw_sql_text(stmt, 5));
    d->enrolled = sqlite3_column_int64(stmt, 6);
    d->revoked = sqlite3_column_int64(stmt, 7);
    err = read_ports(r, d, e);
    return err ? err : read_directs(r, d, e);
}

cmx_err gw_device_get(struct gw_registry *r, const char *name, struct gw_device *d, struct gw_error *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_prepare(r, &stmt, e, DEVICE_COLUMNS "WHERE d.name = ?", "t", name);

    if (err)
        return err;
    err = gw_sql_step(r, stmt, e);
    if (err == CMX_ENOENT)
        gw_error_set(e, err, "see 'cmxsafe gateway list'", "no device '%.80s'", name);
    if (!err)
        err = read_device(r, stmt, d, e);
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_device_each(struct gw_registry *r, const char *team, gw_device_fn fn, void *arg, struct gw_error *e)
{
    struct gw_device d;
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_prepare(r, &stmt, e, DEVICE_COLUMNS "WHERE ?1 = '' OR d.team = ?1 ORDER BY d.name", "t",
                                 team ? team : "");

    if (err)
        return err;
    while (!(err = gw_sql_step(r, stmt, e))) {
        err = read_device(r, stmt, &d, e);
        if (!err)
            err = fn(arg, &d);
        if (err)
            break;
    }
    sqlite3_finalize(stmt);
    return err == CMX_ENOENT ? CMX_OK : err;
}

/* Who has the key now, or had it. CMX_ENOENT: nobody ever. */
static cmx_err key_owner(struct gw_registry *r, const struct gw_key *k, char *name, size_t cap, bool *retired,
                         struct gw_error *e)
{
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_prepare(r, &stmt, e,
                       "SELECT coalesce(d.name, c.name), k.retired IS NOT NULL FROM key k LEFT JOIN device d ON"
                       " d.id = k.device LEFT JOIN consumer c ON c.id = k.consumer WHERE k.fingerprint = ?",
                       "t", k->fingerprint);
    if (err)
        return err;
    err = gw_sql_step(r, stmt, e);
    if (!err) {
        snprintf(name, cap, "%s", gw_sql_text(stmt, 0));
        *retired = sqlite3_column_int(stmt, 1) != 0;
    }
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_key_is_free(struct gw_registry *r, const struct gw_key *k, struct gw_error *e)
{
    char owner[GW_NAME_MAX];
    bool retired = false;
    cmx_err err = key_owner(r, k, owner, sizeof owner, &retired, e);

    if (err == CMX_ENOENT)
        return CMX_OK;
    if (err)
        return err;
    if (retired)
        return gw_error_set(e, CMX_EEXIST, "make a new key; a retired one never comes back",
                            "this key was revoked or replaced (it was %s's)", owner);
    return gw_error_set(e, CMX_EEXIST, "give each device a key of its own", "this key is %s's", owner);
}

static cmx_err add_key(struct gw_registry *r, int64_t device, const struct gw_key *k, struct gw_error *e)
{
    cmx_err err = gw_key_is_free(r, k, e);

    if (err)
        return err;
    return gw_sql_run(r, e, "INSERT INTO key(fingerprint, device, type, blob, added) VALUES(?, ?, ?, ?, ?)", "titti",
                      k->fingerprint, device, k->type, k->blob, (int64_t)time(NULL));
}

static cmx_err write_ports(struct gw_registry *r, const struct gw_device *d, struct gw_error *e)
{
    cmx_err err = gw_sql_run(r, e, "DELETE FROM port WHERE device = ?", "i", d->id);

    for (size_t i = 0; !err && i < d->n_ports; i++) {
        err = gw_sql_run(r, e, "INSERT INTO port(address, port, device) VALUES(?, ?, ?)", "tii", d->address,
                         (int64_t)d->ports[i], d->id);
        if (err == CMX_EEXIST)
            gw_error_set(e, err, "choose another port, or see 'cmxsafe gateway list'", "port %u is another device's",
                         d->ports[i]);
    }
    return err;
}

static cmx_err write_directs(struct gw_registry *r, const struct gw_device *d, struct gw_error *e)
{
    cmx_err err = gw_sql_run(r, e, "DELETE FROM direct WHERE device = ?", "i", d->id);

    for (size_t i = 0; !err && i < d->n_directs; i++)
        err = gw_sql_run(r, e, "INSERT OR IGNORE INTO direct(device, host, port) VALUES(?, ?, ?)", "iti", d->id,
                         d->directs[i].host, (int64_t)d->directs[i].port);
    return err;
}

/* A grant of a port that the device no longer has ends with it: it must not come back by surprise. */
static cmx_err drop_stale_permits(struct gw_registry *r, int64_t device, struct gw_error *e)
{
    return gw_sql_run(r, e,
                      "DELETE FROM permit WHERE device = ?1 AND port NOT IN (SELECT port FROM port WHERE device = ?1)",
                      "i", device);
}

static cmx_err write_services(struct gw_registry *r, const struct gw_device *d, struct gw_error *e)
{
    cmx_err err = write_ports(r, d, e);

    if (!err)
        err = write_directs(r, d, e);
    return err ? err : drop_stale_permits(r, d->id, e);
}

static bool same_services(const struct gw_device *a, const struct gw_device *b)
{
    if (a->n_ports != b->n_ports || a->n_directs != b->n_directs || strcmp(a->team, b->team) != 0)
        return false;
    for (size_t i = 0, k; i < a->n_ports; i++) {
        for (k = 0; k < b->n_ports && b->ports[k] != a->ports[i]; k++)
            ;
        if (k == b->n_ports)
            return false;
    }
    for (size_t i = 0, k; i < a->n_directs; i++) {
        for (k = 0; k < b->n_directs; k++)
            if (b->directs[k].port == a->directs[i].port && strcmp(b->directs[k].host, a->directs[i].host) == 0)
                break;
        if (k == b->n_directs)
            return false;
    }
    return true;
}

static cmx_err enroll_new(struct gw_registry *r, struct gw_device *d, const struct gw_key *k, struct gw_error *e)
{
    cmx_err err = gw_key_is_free(r, k, e);

    if (err)
        return err;
    err = gw_sql_run(r, e, "INSERT INTO device(name, address, team, enrolled) VALUES(?, ?, ?, ?)", "ttti", d->name,
                     d->address[0] ? d->address : NULL, d->team, (int64_t)time(NULL));
    if (err == CMX_EEXIST)
        return gw_error_set(e, err, "see 'cmxsafe gateway list'", "the address %s is another device's", d->address);
    if (err)
        return err;
    d->id = sqlite3_last_insert_rowid(r->db);
    err = add_key(r, d->id, k, e);
    if (!err)
        err = write_services(r, d, e);
    return err ? err : gw_event(r, "enroll", d->name, k->fingerprint, e);
}

/* A revoked name may be used again, with a new key: the device was repaired, or replaced. */
static cmx_err enroll_again(struct gw_registry *r, struct gw_device *d, const struct gw_key *k, struct gw_error *e)
{
    cmx_err err = gw_sql_run(r, e, "UPDATE device SET revoked = NULL, team = ?, enrolled = ?, address = ? WHERE id = ?",
                             "titi", d->team, (int64_t)time(NULL), d->address[0] ? d->address : NULL, d->id);
    if (!err)
        err = add_key(r, d->id, k, e);
    if (!err)
        err = write_services(r, d, e);
    return err ? err : gw_event(r, "enroll", d->name, k->fingerprint, e);
}

static cmx_err enroll_known(struct gw_registry *r, struct gw_device *d, const struct gw_device *old,
                            const struct gw_key *k, gw_outcome *out, struct gw_error *e)
{
    cmx_err err;

    d->id = old->id;
    if (old->revoked) {
        *out = GW_ADDED;
        return enroll_again(r, d, k, e);
    }
    if (strcmp(old->fingerprint, k->fingerprint) != 0)
        return gw_error_set(e, CMX_EEXIST, "use 'cmxsafe gateway rotate' for a new key",
                            "%s is enrolled with another key", d->name);
    if (strcmp(old->address, d->address) != 0)
        return gw_error_set(e, CMX_EEXIST, "revoke it first; consumers know it by its address", "%s has the address %s",
                            d->name, old->address);
    if (same_services(old, d)) {
        *out = GW_UNCHANGED;
        return CMX_OK;
    }
    *out = GW_CHANGED;
    err = gw_sql_run(r, e, "UPDATE device SET team = ? WHERE id = ?", "ti", d->team, d->id);
    if (!err)
        err = write_services(r, d, e);
    return err ? err : gw_event(r, "change", d->name, k->fingerprint, e);
}

cmx_err gw_device_enroll(struct gw_registry *r, struct gw_device *d, const struct gw_key *k, gw_outcome *out,
                         struct gw_error *e)
{
    struct gw_device old;
    cmx_err err = gw_name_check(d->name, e);

    if (err)
        return err;
    if (d->n_ports == 0 && d->n_directs == 0)
        return gw_error_set(e, CMX_EINVAL, "give --ports or --open", "%s would have no service", d->name);
    err = gw_device_get(r, d->name, &old, e);
    if (err == CMX_ENOENT) {
        *out = GW_ADDED;
        return enroll_new(r, d, k, e);
    }
    return err ? err : enroll_known(r, d, &old, k, out, e);
}

static cmx_err retire_keys(struct gw_registry *r, int64_t device, struct gw_error *e)
{
    return gw_sql_run(r, e, "UPDATE key SET retired = ? WHERE device = ? AND retired IS NULL", "ii",
                      (int64_t)time(NULL), device);
}

cmx_err gw_device_revoke(struct gw_registry *r, const char *name, gw_outcome *out, struct gw_error *e)
{
    struct gw_device d;
    cmx_err err = gw_device_get(r, name, &d, e);

    if (err)
        return err;
    *out = d.revoked ? GW_UNCHANGED : GW_CHANGED;
    if (d.revoked)
        return CMX_OK;
    err = gw_sql_run(r, e, "UPDATE device SET revoked = ? WHERE id = ?", "ii", (int64_t)time(NULL), d.id);
    if (!err)
        err = retire_keys(r, d.id, e);
    /* Its ports are free for others (a small deployment), and nobody keeps a grant to it. */
    if (!err)
        err = gw_sql_run(r, e, "DELETE FROM permit WHERE device = ?", "i", d.id);
    if (!err)
        err = gw_sql_run(r, e, "DELETE FROM port WHERE device = ?", "i", d.id);
    return err ? err : gw_event(r, "revoke", d.name, d.fingerprint, e);
}

cmx_err gw_device_rename(struct gw_registry *r, const char *name, const char *to, struct gw_error *e)
{
    struct gw_device d;
    cmx_err err = gw_name_check(to, e);

    if (!err)
        err = gw_device_get(r, name, &d, e);
    if (err || strcmp(d.name, to) == 0)
        return err;
    err = gw_sql_run(r, e, "UPDATE device SET name = ? WHERE id = ?", "ti", to, d.id);
    if (err == CMX_EEXIST)
        return gw_error_set(e, err, NULL, "there is a device '%s' already", to);
    return err ? err : gw_event(r, "rename", name, to, e);
}

cmx_err gw_device_rotate(struct gw_registry *r, const char *name, const struct gw_key *k, gw_outcome *out,
                         struct gw_error *e)
{
    struct gw_device d;
    cmx_err err = gw_device_get(r, name, &d, e);

    if (err)
        return err;
    if (d.revoked)
        return gw_error_set(e, CMX_EINVAL, "enrol it again with a new key", "%s is revoked", name);
    *out = GW_UNCHANGED;
    if (strcmp(d.fingerprint, k->fingerprint) == 0)
        return CMX_OK;
    *out = GW_CHANGED;
    err = gw_key_is_free(r, k, e);
    if (!err)
        err = retire_keys(r, d.id, e);
    if (!err)
        err = add_key(r, d.id, k, e);
    return err ? err : gw_event(r, "rotate", d.name, k->fingerprint, e);
}

cmx_err gw_device_key_line(struct gw_registry *r, int64_t device, char *out, size_t cap, struct gw_error *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_prepare(
        r, &stmt, e, "SELECT type || ' ' || blob FROM key WHERE device = ? AND retired IS NULL", "i", device);

    if (err)
        return err;
    err = gw_sql_step(r, stmt, e);
    if (!err)
        err = cmx_text_copy(out, cap, gw_sql_text(stmt, 0));
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_attestation_set(struct gw_registry *r, int64_t device, const char *verdict, const char *detail,
                           struct gw_error *e)
{
    return gw_sql_run(
        r, e,
        "INSERT INTO attestation(device, at, verdict, detail) VALUES(?, ?, ?, ?) ON CONFLICT(device) DO UPDATE"
        " SET at = excluded.at, verdict = excluded.verdict, detail = excluded.detail",
        "iitt", device, (int64_t)time(NULL), verdict, detail);
}

void gw_attestation_get(struct gw_registry *r, int64_t device, int64_t *at, char *verdict, size_t cap)
{
    sqlite3_stmt *stmt;

    *at = 0;
    verdict[0] = '\0';
    if (gw_sql_prepare(r, &stmt, NULL, "SELECT at, verdict FROM attestation WHERE device = ?", "i", device))
        return;
    if (gw_sql_step(r, stmt, NULL) == CMX_OK) {
        *at = sqlite3_column_int64(stmt, 0);
        snprintf(verdict, cap, "%s", gw_sql_text(stmt, 1));
    }
    sqlite3_finalize(stmt);
}
