/* Tombstones: removed rows that are kept so that other gateways delete them too. Once a day, tombstones older than a
 * day are deleted. A tombstone's age is computed from its revision: table meta stores the registry's revision at a
 * known time. */
#include <stdlib.h>

#include "gateway/shared/pg_link.h"
#include "gateway/shared/shared_state.h"

#define KEEP_S (24 * 3600)

struct prune_mark {
    int64_t revision, age_s;
};

static cmx_err read_mark(void *arg, const PGresult *rows, struct cmx_why *e)
{
    struct prune_mark *m = arg;

    if (PQntuples(rows) != 1 || PQnfields(rows) != 2)
        return cmx_why_fail(e, CMX_EPROTO, "PostgreSQL's answer about tombstones can't be read");
    m->revision = strtoll(PQgetvalue(rows, 0, 0), NULL, 10);
    m->age_s = strtoll(PQgetvalue(rows, 0, 1), NULL, 10);
    return CMX_OK;
}

static void put_setting(sqlite3_str *sql, const char *key, const char *value, int64_t revision)
{
    sqlite3_str_appendf(
        sql,
        "INSERT INTO meta(key, value, revision) VALUES('%s', (%s)::text, %lld) ON CONFLICT(key) DO UPDATE SET"
        " value = excluded.value, revision = excluded.revision, removed = false;",
        key, value, (long long)revision);
}

/* Deletes the tombstones up to revision `mark`, stores the next mark, and commits the open transaction. Uses
 * PostgreSQL's clock. */
static cmx_err prune_before(struct gw_shared *s, int64_t mark, struct cmx_why *e)
{
    char number[24];
    sqlite3_str *sql = sqlite3_str_new(NULL);
    cmx_err err;

    for (size_t i = 0; i < s->tables.n; i++)
        sqlite3_str_appendf(sql, "DELETE FROM \"%s\" WHERE removed AND revision <= %lld;", s->tables.tables[i].name,
                            (long long)mark);
    snprintf(number, sizeof number, "%lld", (long long)mark);
    put_setting(sql, "pruned", number, s->head.revision);
    snprintf(number, sizeof number, "%lld", (long long)s->head.revision);
    put_setting(sql, "prune_mark", number, s->head.revision);
    put_setting(sql, "prune_time", "extract(epoch FROM now())::bigint", s->head.revision);
    err = gw_pg_run_made(s->c, sql, NULL, NULL, e);
    return err ? err : gw_pg_run(s->c, "COMMIT", NULL, NULL, e);
}

cmx_err gw_shared_prune(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    struct prune_mark mark = {0};
    struct cmx_why ignored = {0};
    cmx_err err = gw_pg_run(s->c,
                            "SELECT coalesce(max(value) FILTER (WHERE key = 'prune_mark'), '0'),"
                            " extract(epoch FROM now())::bigint -"
                            " coalesce(max(value) FILTER (WHERE key = 'prune_time'), '0')::bigint FROM meta",
                            read_mark, &mark, e);

    if (err || mark.age_s < KEEP_S)
        return err;
    err = gw_shared_lock(s, r, e);
    if (!err)
        err = prune_before(s, mark.revision, e);
    if (err && err != CMX_ECLOSED)
        (void)!gw_pg_run(s->c, "ROLLBACK", NULL, NULL, &ignored); /* only the first failure is reported */
    s->locked = s->dirty = false;
    return err;
}
