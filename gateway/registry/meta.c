#include "gateway/registry/meta.h"

cmx_err gw_meta_get(struct gw_registry *r, const char *key, char *out, size_t cap)
{
    out[0] = '\0';
    return gw_sql_get(r, NULL, GW_SQL_COLUMNS(GW_SQL_WHOLE_AT(out, cap)), "SELECT value FROM meta WHERE key = ?", "t",
                      key);
}

cmx_err gw_meta_set(struct gw_registry *r, const char *key, const char *value, struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      "INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                      "tt", key, value);
}
