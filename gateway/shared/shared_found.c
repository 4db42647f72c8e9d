#include <string.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/port/crypto.h"
#include "gateway/shared/pg_link.h"
#include "gateway/shared/pg_pull.h"
#include "gateway/shared/shared_state.h"

#define ID_BYTES 16
#define ID_LEN ((size_t)2 * ID_BYTES) /* hex digits */
#define FOUNDING "founding_id"        /* key in table meta of the id that gw_shared_found_prepare stored */
/* If the shared registry was lost and is founded again from a copy, its revision is the copy's revision plus this
 * number. No other copy is expected to be further ahead than that. */
#define LOST_CHANGES_MAX 1000000

static cmx_err read_exists(void *arg, const PGresult *rows, struct cmx_why *e)
{
    bool *exists = arg;

    (void)e;
    if (PQresultStatus(rows) == PGRES_TUPLES_OK && PQntuples(rows) == 1)
        *exists = PQgetvalue(rows, 0, 0)[0] == 't';
    return CMX_OK;
}

static cmx_err new_id(char out[GW_SHARED_ID_MAX], struct cmx_why *e)
{
    uint8_t raw[ID_BYTES];

    if (cmx_crypto_random(raw, sizeof raw))
        return cmx_why_fail(e, CMX_EIO, "the kernel returned no random bytes");
    cmx_text_hex_encode(out, raw, sizeof raw);
    return CMX_OK;
}

static cmx_err send_all(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    struct gw_pg_writer w;
    cmx_err err = CMX_OK;
    cmx_err sent;

    gw_pg_writer_begin(&w, s->c, s->head.revision + 1);
    for (size_t i = 0; !err && i < s->tables.n; i++)
        err = gw_shared_send_rows(&w, r, &s->tables.tables[i], false, 0, e);
    s->dirty = true;
    sent = gw_pg_writer_end(&w, e);
    return err ? err : sent;
}

/* Inserts the row of table registry. If r is a copy of a registry that was lost, the new registry gets the same id, and
 * a revision so high that every other copy is compared completely. */
static cmx_err add_head(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    char sql[320];
    bool lost = gw_meta_get(r, "registry_id", s->head.id, sizeof s->head.id) == CMX_OK &&
                strspn(s->head.id, "0123456789abcdef") == ID_LEN && !s->head.id[ID_LEN];
    cmx_err err =
        lost || gw_meta_get(r, FOUNDING, s->head.id, sizeof s->head.id) == CMX_OK ? CMX_OK : new_id(s->head.id, e);

    s->head.schema = GW_SCHEMA_VERSION;
    s->head.revision = lost ? gw_shared_revision(r) + LOST_CHANGES_MAX : 0;
    snprintf(sql, sizeof sql,
             "INSERT INTO registry(id, schema, compatible, revision) VALUES('%s', %d, %d, %lld);"
             "INSERT INTO meta(key, value, revision) VALUES('pruned', '%lld', %lld)",
             s->head.id, GW_SCHEMA_VERSION, GW_SHARED_COMPATIBLE, (long long)s->head.revision,
             (long long)s->head.revision, (long long)s->head.revision);
    return err ? err : gw_pg_run(s->c, sql, NULL, NULL, e);
}

/* True if an earlier gw_shared_found of this gateway created the registry, and no gateway has changed it since. */
static bool is_unfinished(const struct gw_shared_head *h, struct gw_registry *r)
{
    char id[GW_SHARED_ID_MAX];

    return h->revision == 1 && gw_meta_get(r, FOUNDING, id, sizeof id) == CMX_OK && strcmp(id, h->id) == 0;
}

static cmx_err clear_tables(struct gw_shared *s, struct cmx_why *e)
{
    cmx_err err = gw_pg_run(s->c, "DELETE FROM registry", NULL, NULL, e);

    for (size_t i = 0; !err && i < s->tables.n; i++) {
        char sql[GW_COPY_NAME_MAX + 32];

        snprintf(sql, sizeof sql, "DELETE FROM \"%s\"", s->tables.tables[i].name);
        err = gw_pg_run(s->c, sql, NULL, NULL, e);
    }
    return err;
}

/* Creates the tables, and the registry's row if there is none. The lock serialises two gateways that do this at the
 * same time. */
static cmx_err found_there(struct gw_shared *s, struct gw_registry *r, bool *exists, struct cmx_why *e)
{
    cmx_err err = gw_pg_run(s->c,
                            "BEGIN; SELECT pg_advisory_xact_lock(1129142344);"
                            "SELECT to_regclass('cmxsafe.registry') IS NOT NULL",
                            read_exists, exists, e);

    s->locked = true;
    if (!err && *exists)
        err = gw_pg_run(s->c, GW_SHARED_HEAD_SQL " FOR UPDATE", gw_shared_read_head, &s->head, e);
    if (!err && *exists && is_unfinished(&s->head, r)) {
        *exists = false;
        err = clear_tables(s, e);
    }
    if (err || *exists)
        return err;
    memset(&s->head, 0, sizeof s->head);
    err = gw_pg_run(s->c, "CREATE SCHEMA IF NOT EXISTS cmxsafe", NULL, NULL, e);
    if (!err)
        err = gw_shared_run_schema(s, e);
    return err ? err : add_head(s, r, e);
}

static cmx_err fill_either(struct gw_shared *s, struct gw_registry *r, bool exists, struct cmx_why *e)
{
    struct gw_copy_changes pulled = {0};
    cmx_err err;

    if (!exists)
        return send_all(s, r, e);
    err = gw_shared_upgrade_schema(s, e);
    if (!err)
        err = gw_pg_pull_all(s->c, r, &s->tables, &pulled, e);
    return err ? err : gw_pg_pull_end(r, true, &pulled, e);
}

cmx_err gw_shared_found_prepare(struct gw_registry *r, struct cmx_why *e)
{
    char id[GW_SHARED_ID_MAX];
    cmx_err err;

    if (gw_meta_get(r, FOUNDING, id, sizeof id) == CMX_OK)
        return CMX_OK;
    err = new_id(id, e);
    if (!err)
        err = gw_registry_begin_own(r, e);
    if (!err)
        err = gw_meta_set(r, FOUNDING, id, e);
    return gw_registry_end(r, err, e);
}

cmx_err gw_shared_found(struct gw_registry *r, const char *url, bool adopt, struct cmx_why *e)
{
    struct gw_shared *s;
    bool exists = false;
    cmx_err err = gw_shared_attach(r, url, e);

    if (err)
        return err;
    s = r->shared;
    if (!s->c)
        err = gw_shared_connect(s, r, e);
    if (!err)
        err = gw_shared_tables(s, r, e);
    if (!err)
        err = found_there(s, r, &exists, e);
    if (!err && exists)
        err = gw_shared_check_head(&s->head, r, e);
    if (!err && exists && !adopt)
        err = cmx_why_fail(e, CMX_EEXIST,
                           "the PostgreSQL database already holds a fleet's registry; give another database, or set up "
                           "a new gateway of that fleet with 'cmxsafe gateway init --registry'");
    if (!err)
        err = gw_registry_begin_own(r, e);
    if (!err)
        err = gw_sql_run(r, e, "PRAGMA defer_foreign_keys = ON", "");
    if (!err)
        err = fill_either(s, r, exists, e);
    if (!err)
        err = gw_meta_set(r, "registry", url, e);
    if (!err)
        err = gw_meta_set(r, "registry_id", s->head.id, e);
    if (!err)
        err = gw_sql_run(r, e, "DELETE FROM meta WHERE key = '" FOUNDING "'", "");
    if (!err)
        err = gw_shared_set_revision(s, r, s->head.revision, e);
    if (!err)
        err = gw_shared_record(s, r, e);
    if (err)
        gw_registry_rollback(r);
    return err;
}
