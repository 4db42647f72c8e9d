#include "gateway/registry/meta.h"

cmx_err gw_meta_get(struct gw_registry *r, const char *key, char *out, size_t cap)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, NULL, "SELECT value FROM meta WHERE key = ?", "t", key);

    out[0] = '\0';
    if (!err && !gw_sql_copy(stmt, 0, out, cap))
        err = CMX_ENOSPC;
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_meta_set(struct gw_registry *r, const char *key, const char *value, struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      "INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                      "tt", key, value);
}
