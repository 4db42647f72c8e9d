#include "gateway/registry/event.h"

#include <time.h>

cmx_err gw_event(struct gw_registry *r, const char *what, const char *who, const char *detail, struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      "INSERT INTO event(id, at, what, who, detail) SELECT max(coalesce(max(id), 0), ?) + 1, ?, ?, ?, ?"
                      " FROM event",
                      "iittt", r->detached ? GW_EVENT_UNSENT : (int64_t)0, (int64_t)time(NULL), what, who, detail);
}

cmx_err gw_event_number(struct gw_registry *r, struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      "UPDATE event SET id = (SELECT coalesce(max(id), 0) FROM event WHERE id < ?1) + id - ?1"
                      " WHERE id > ?1",
                      "i", GW_EVENT_UNSENT);
}

cmx_err gw_event_each(struct gw_registry *r, const char *name, uint64_t n, gw_event_fn fn, void *arg, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(
        r, &stmt, e,
        "SELECT at, what, who, detail FROM (SELECT * FROM event WHERE ?1 = '' OR who = ?1 COLLATE NOCASE OR"
        " substr(who, -length(?1) - 1) = ':' || ?1 COLLATE NOCASE OR detail = ?1 COLLATE NOCASE OR"
        " substr(detail, 1, length(?1) + 1) COLLATE NOCASE IN (?1 || ':', ?1 || ' ') ORDER BY id DESC LIMIT ?2)"
        " ORDER BY id",
        "ti", name ? name : "", n ? (int64_t)n : (int64_t)-1);

    while (!err) {
        err = fn(arg, sqlite3_column_int64(stmt, 0), gw_sql_text(stmt, 1), gw_sql_text(stmt, 2), gw_sql_text(stmt, 3));
        err = gw_sql_next(r, stmt, err, e);
    }
    return gw_sql_end(stmt, err);
}
