#include "gateway/registry/authority.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/crypto.h"
#include "gateway/registry/event.h"

/* ---- CAs ---- */

static void read_authority(sqlite3_stmt *stmt, struct gw_authority *a)
{
    gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(a->name), GW_SQL_ID(a->fingerprint), GW_SQL_ID(a->type),
                                        GW_SQL_ID(a->blob), GW_SQL_NUMBER(&a->added)));
}

/* Finds a CA by its name or its fingerprint. CMX_ENOENT: there is none. */
static cmx_err find_authority(struct gw_registry *r, bool by_name, const char *value, struct gw_authority *a,
                              struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_row(r, &stmt, e,
                   by_name ? "SELECT name, fingerprint, type, blob, added FROM authority WHERE name = ?"
                           : "SELECT name, fingerprint, type, blob, added FROM authority WHERE fingerprint = ?",
                   "t", value);
    if (!err)
        read_authority(stmt, a);
    sqlite3_finalize(stmt);
    return err;
}

static bool is_platform(struct gw_registry *r, const char *name)
{
    return gw_sql_number(r, NULL, NULL, "SELECT 1 FROM consumer WHERE kind = 'platform' AND name = ?", "t", name) ==
           CMX_OK;
}

/* Makes the registry refuse the CA's present key from now on. */
static cmx_err retire_key(struct gw_registry *r, const char *name, struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      "INSERT OR IGNORE INTO tombstone(fingerprint, name, deleted) SELECT fingerprint, name, ?2 FROM"
                      " authority WHERE name = ?1",
                      "ti", name, (int64_t)time(NULL));
}

cmx_err gw_authority_set(struct gw_registry *r, const char *name, const struct gw_key *k, gw_outcome *out,
                         struct cmx_why *e)
{
    struct gw_authority a = {0};
    cmx_err err = gw_registry_name_check(name, e);

    if (err)
        return err;
    err = find_authority(r, true, name, &a, e);
    *out = err == CMX_ENOENT ? GW_ADDED : GW_CHANGED;
    if (err && err != CMX_ENOENT)
        return err;
    if (strcmp(a.fingerprint, k->fingerprint) == 0) {
        *out = GW_UNCHANGED;
        return CMX_OK;
    }
    if (is_platform(r, name))
        return cmx_why_fail(e, CMX_EEXIST, "%s is a platform with a key of its own; give the CA another name", name);
    err = gw_device_key_is_free(r, k, e);
    if (!err)
        err = retire_key(r, name, e);
    if (!err)
        err = gw_sql_run(r, e,
                         "INSERT INTO authority(name, fingerprint, type, blob, added) VALUES(?, ?, ?, ?, ?)"
                         " ON CONFLICT(name) DO UPDATE SET fingerprint = excluded.fingerprint, type = excluded.type,"
                         " blob = excluded.blob, added = excluded.added",
                         "tttti", name, k->fingerprint, k->type, k->blob, (int64_t)time(NULL));
    return err ? err : gw_event(r, "ca", name, k->fingerprint, e);
}

/* Selects the rows whose consumer is a principal of the CA ?1, that is, has a name of the form PRINCIPAL@CA with a
 * PRINCIPAL that is not empty. */
#define ITS_CONSUMERS                                                                                                  \
    " WHERE consumer IN (SELECT id FROM consumer WHERE kind = 'platform' AND length(name) > length(?1) + 1 AND"        \
    " substr(name, -length(?1) - 1) = '@' || ?1)"

cmx_err gw_authority_remove(struct gw_registry *r, const char *name, struct cmx_why *e)
{
    struct gw_authority a;
    cmx_err err = find_authority(r, true, name, &a, e);

    if (err == CMX_ENOENT)
        return cmx_why_fail(e, err, "no CA '%.80s'", name);
    if (!err)
        err = retire_key(r, name, e);
    if (!err)
        err = gw_sql_run(r, e,
                         "DELETE FROM grants" ITS_CONSUMERS "; DELETE FROM group_grants" ITS_CONSUMERS
                         "; DELETE FROM authority WHERE name = ?1",
                         "t", name);
    return err ? err : gw_event(r, "revoke-ca", name, a.fingerprint, e);
}

cmx_err gw_authority_each(struct gw_registry *r, gw_authority_fn fn, void *arg, struct cmx_why *e)
{
    struct gw_authority a;
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_row(r, &stmt, e, "SELECT name, fingerprint, type, blob, added FROM authority ORDER BY name", "");

    while (!err) {
        read_authority(stmt, &a);
        err = gw_sql_next(r, stmt, fn(arg, &a), e);
    }
    return gw_sql_end(stmt, err);
}

/* ---- certificates ---- */

#define TIME_TEXT_MAX 32

static void time_text(uint64_t at, char out[TIME_TEXT_MAX])
{
    time_t t = (time_t)at;
    struct tm tm;

    if (at > INT64_MAX || !gmtime_r(&t, &tm) || strftime(out, TIME_TEXT_MAX, "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
        snprintf(out, TIME_TEXT_MAX, "an invalid time");
}

static cmx_err check_validity(const struct gw_certificate *c, int64_t now, struct cmx_why *e)
{
    char when[TIME_TEXT_MAX];

    if (!c->user)
        return cmx_why_fail(e, CMX_EAUTH,
                            "the certificate '%s' is not a user certificate; sign it with ssh-keygen -s, without -h",
                            c->id);
    if (now < 0 || (uint64_t)now < c->begins) {
        time_text(c->begins, when);
        return cmx_why_fail(e, CMX_EAUTH, "the certificate '%s' is not valid before %s", c->id, when);
    }
    if ((uint64_t)now >= c->ends) {
        time_text(c->ends, when);
        return cmx_why_fail(e, CMX_EAUTH, "the certificate '%s' expired at %s", c->id, when);
    }
    return CMX_OK;
}

/* Checks that the consumer has a grant. CMX_ENOENT: it has none. */
static cmx_err find_grant(struct gw_registry *r, const char *name, struct cmx_why *e)
{
    return gw_sql_number(r, NULL, e,
                         "SELECT 1 FROM consumer c WHERE c.kind = 'platform' AND c.name = ? AND EXISTS (SELECT 1"
                         " FROM given_grants WHERE consumer = c.id)",
                         "t", name);
}

/* Finds the only principal of the certificate that has a grant. CMX_EAUTH: none or several have one. */
static cmx_err find_consumer(struct gw_registry *r, const struct gw_certificate *c, const struct gw_authority *a,
                             struct gw_consumer *who, struct cmx_why *e)
{
    char principal[GW_NAME_MAX];
    char first[GW_NAME_MAX] = "";
    char name[GW_CONSUMER_MAX];
    size_t at = 0;
    cmx_err err;

    who->name[0] = '\0';
    while (gw_certificate_principal(c, &at, principal, sizeof principal)) {
        snprintf(name, sizeof name, "%s@%s", principal, a->name);
        if (!first[0])
            snprintf(first, sizeof first, "%s", principal);
        if (strcmp(name, who->name) == 0)
            continue;
        err = find_grant(r, name, e);
        if (err == CMX_ENOENT)
            continue;
        if (err)
            return err;
        if (who->name[0])
            return cmx_why_fail(e, CMX_EAUTH,
                                "the certificate '%s' is for both %.63s and %.63s; give each a certificate of its own",
                                c->id, who->name, name);
        snprintf(who->name, sizeof who->name, "%s", name);
    }
    if (who->name[0])
        return CMX_OK;
    if (c->principals_len == 0)
        return cmx_why_fail(e, CMX_EAUTH, "the certificate '%s' names no principal; sign it with ssh-keygen -n NAME",
                            c->id);
    return cmx_why_fail(
        e, CMX_EAUTH,
        "no principal of the certificate '%s' has a grant; give one with 'cmxsafe gateway grant %.63s@%s DEVICE'",
        c->id, first, a->name);
}

cmx_err gw_authority_accept(struct gw_registry *r, const struct gw_certificate *c, int64_t now, struct gw_authority *a,
                            struct gw_consumer *who, struct cmx_why *e)
{
    cmx_err err;

    memset(who, 0, sizeof *who);
    snprintf(who->kind, sizeof who->kind, "platform");
    err = find_authority(r, false, c->authority, a, e);
    if (err == CMX_ENOENT)
        return cmx_why_fail(e, CMX_EAUTH, "the certificate '%s' is signed by the CA %s, which is not registered", c->id,
                            c->authority);
    if (!err)
        err = check_validity(c, now, e);
    return err ? err : find_consumer(r, c, a, who, e);
}

/* ---- the KRL ---- */

static cmx_err store_krl(struct gw_registry *r, const uint8_t *bytes, size_t len, const char *digest, struct cmx_why *e)
{
    size_t cap = len / 3 * 4 + 8;
    char *text = cmx_mem_alloc(cap);
    struct cmx_buf b;
    const char *content;
    cmx_err err;

    if (!text)
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    cmx_buf_init(&b, text, cap);
    err = cmx_base64_encode(&b, bytes, len, 0);
    if (!err)
        err = cmx_buf_cstr(&b, &content);
    if (!err)
        err = gw_sql_run(r, e,
                         "INSERT INTO krl(id, digest, content, at) VALUES(1, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET"
                         " digest = excluded.digest, content = excluded.content, at = excluded.at",
                         "tti", digest, content, (int64_t)time(NULL));
    cmx_mem_free(text);
    return err;
}

cmx_err gw_krl_set(struct gw_registry *r, const uint8_t *bytes, size_t len, gw_outcome *out, struct cmx_why *e)
{
    struct gw_krl before;
    uint8_t raw[CMX_SHA256_LEN];
    char digest[65] = "";
    cmx_err err = gw_krl_get(r, false, &before, e);

    if (!err && len > GW_KRL_MAX)
        err = cmx_why_fail(e, CMX_EINVAL, "the KRL is longer than %d bytes; revoke by serial numbers or by CA",
                           GW_KRL_MAX);
    if (!err && len)
        err = cmx_sha256_of(bytes, len, raw);
    if (err)
        return err;
    if (len)
        cmx_text_hex_encode(digest, raw, sizeof raw);
    *out = strcmp(digest, before.digest) == 0 ? GW_UNCHANGED : before.digest[0] ? GW_CHANGED : GW_ADDED;
    if (*out == GW_UNCHANGED)
        return CMX_OK;
    if (!len)
        *out = GW_CHANGED;
    err = len ? store_krl(r, bytes, len, digest, e) : gw_sql_run(r, e, "DELETE FROM krl", "");
    return err ? err : gw_event(r, "krl", len ? digest : "removed", "", e);
}

static cmx_err decode_krl(const char *text, struct gw_krl *out, struct cmx_why *e)
{
    out->bytes = cmx_mem_alloc(GW_KRL_MAX);
    if (!out->bytes)
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    if (cmx_base64_decode(out->bytes, GW_KRL_MAX, text, strlen(text), &out->len)) {
        cmx_mem_free(out->bytes);
        out->bytes = NULL;
        out->len = 0;
        return cmx_why_fail(e, CMX_EFORMAT,
                            "the KRL in the registry is damaged; install it again with 'cmxsafe "
                            "gateway krl FILE'");
    }
    return CMX_OK;
}

cmx_err gw_krl_get(struct gw_registry *r, bool content, struct gw_krl *out, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err;

    memset(out, 0, sizeof *out);
    err = gw_sql_row(r, &stmt, e, "SELECT digest, at, content FROM krl WHERE id = 1", "");
    if (!err) {
        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(out->digest), GW_SQL_NUMBER(&out->at)));
        err = content ? decode_krl(gw_sql_text(stmt, 2), out, e) : CMX_OK;
    } else if (err == CMX_ENOENT) {
        err = CMX_OK;
    }
    sqlite3_finalize(stmt);
    return err;
}
