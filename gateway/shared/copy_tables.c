#include "gateway/shared/copy_tables.h"

#include <string.h>

#include "cmxsafe/port/crypto.h"

#define DIGEST_BITS 60 /* bits of each row's SHA-256 that are summed */
#define SEPARATOR 0x1f

static const char *const shared_meta[] = {"fleet", "domain", "update_keys"};
static const char meta_filter[] = "key IN ('fleet','domain','update_keys')";

/* Tables whose rows are observations that a gateway records, rather than decisions of operators. */
static const struct {
    const char *table, *newest, *time;
} observations[] = {{"seen", "at", "at"},
                    {"evidence", "given", "given"},
                    {"attestation", "at", "at"},
                    {"claim", "sequence", "since"},
                    {"node_state", "seen", "seen"}};

bool gw_copy_meta_is_shared(const char *key)
{
    for (size_t i = 0; i < sizeof shared_meta / sizeof shared_meta[0]; i++)
        if (strcmp(key, shared_meta[i]) == 0)
            return true;
    return false;
}

static cmx_err read_columns(struct gw_registry *r, struct gw_copy_table *t, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e,
                             "SELECT name, type = 'INTEGER', pk > 0 OR \"notnull\", coalesce(dflt_value, ''), pk > 0"
                             " FROM pragma_table_info(?) ORDER BY cid",
                             "t", t->name);

    for (; !err; err = gw_sql_step(r, stmt, e)) {
        struct gw_copy_column *c = &t->columns[t->n];

        if (t->n == GW_COPY_COLUMNS_MAX) {
            err = cmx_why_fail(e, CMX_ENOSPC, "the table %s has too many columns", t->name);
            break;
        }
        t->n++;
        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(c->name), GW_SQL_FLAG(&c->integer), GW_SQL_FLAG(&c->not_null),
                                            GW_SQL_ID(c->fallback), GW_SQL_FLAG(&c->key)));
        c->rule = gw_copy_rule_of(t->name, c->name);
    }
    return gw_sql_end(stmt, err);
}

static void describe(struct gw_copy_table *t)
{
    bool meta = strcmp(t->name, "meta") == 0;

    t->filter = meta ? meta_filter : "true";
    t->newest = NULL;
    for (size_t i = 0; i < sizeof observations / sizeof observations[0]; i++)
        if (strcmp(t->name, observations[i].table) == 0) {
            t->newest = observations[i].newest;
            t->time = observations[i].time;
        }
    t->restricts =
        meta || strncmp(t->name, "policy", 6) == 0 || strcmp(t->name, "krl") == 0 || strcmp(t->name, "tombstone") == 0;
    t->rights = strcmp(t->name, "event") != 0 && strncmp(t->name, "campaign", 8) != 0 && !t->newest;
}

cmx_err gw_copy_tables_read(struct gw_registry *r, struct gw_copy_tables *out, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(
        r, &stmt, e,
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name", "");

    memset(out, 0, sizeof *out);
    while (!err) {
        struct gw_copy_table *t = &out->tables[out->n];

        if (out->n == GW_COPY_TABLES_MAX) {
            err = cmx_why_fail(e, CMX_ENOSPC, "the registry has too many tables");
            break;
        }
        out->n++;
        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(t->name)));
        describe(t);
        err = gw_sql_next(r, stmt, read_columns(r, t, e), e);
    }
    return gw_sql_end(stmt, err);
}

const struct gw_copy_table *gw_copy_table_find(const struct gw_copy_tables *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->tables[i].name, name) == 0)
            return &t->tables[i];
    return NULL;
}

void gw_copy_names(sqlite3_str *sql, const struct gw_copy_table *t, bool keys_only)
{
    const char *separator = "";

    for (size_t i = 0; i < t->n; i++)
        if (!keys_only || t->columns[i].key) {
            sqlite3_str_appendf(sql, "%s\"%s\"", separator, t->columns[i].name);
            separator = ",";
        }
}

/* The digested text of a row has "-" for each column that is NULL, and "=" with the column's text for the others. */
void gw_copy_digest_sql(sqlite3_str *sql, const struct gw_copy_table *t)
{
    sqlite3_str_appendf(sql, "SELECT mod(coalesce(sum(('x'||substr(encode(sha256(convert_to(concat_ws(chr(%d)",
                        SEPARATOR);
    for (size_t i = 0; i < t->n; i++)
        sqlite3_str_appendf(sql, ",coalesce('='||\"%s\"::text,'-')", t->columns[i].name);
    sqlite3_str_appendf(
        sql,
        "),'UTF8')),'hex'),1,%d))::bit(%d)::bigint),0),1::numeric*%llu)::text FROM \"%s\" WHERE NOT removed AND"
        " (%s);",
        DIGEST_BITS / 4, DIGEST_BITS, 1ULL << DIGEST_BITS, t->name, t->filter);
}

static bool has_good_addresses(sqlite3_stmt *stmt, const struct gw_copy_table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const char *text = (const char *)sqlite3_column_text(stmt, (int)i);

        if (text && gw_copy_rule_is_address(&t->columns[i].rule) && !gw_copy_text_is_clean(text, &t->columns[i].rule))
            return false;
    }
    return true;
}

/* Computes the digest of a row from the text in the given column. */
static cmx_err row_digest(sqlite3_stmt *stmt, int column, uint64_t *out)
{
    const char *text = gw_sql_text(stmt, column);
    uint8_t raw[CMX_SHA256_LEN] = {0};
    cmx_err err = cmx_sha256_of(text, strlen(text), raw);

    *out = 0;
    for (size_t i = 0; i < 8; i++)
        *out = *out << 8 | raw[i];
    *out >>= 64 - DIGEST_BITS;
    return err;
}

cmx_err gw_copy_digest(struct gw_registry *r, const struct gw_copy_table *t, uint64_t *out, struct cmx_why *e)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);
    sqlite3_stmt *stmt;
    uint64_t row;
    cmx_err err;

    *out = 0;
    sqlite3_str_appendall(sql, "SELECT ");
    gw_copy_names(sql, t, false);
    sqlite3_str_appendall(sql, ",substr(''");
    for (size_t i = 0; i < t->n; i++)
        sqlite3_str_appendf(sql, "||char(%d)||coalesce('='||\"%s\",'-')", SEPARATOR, t->columns[i].name);
    sqlite3_str_appendf(sql, ",2) FROM main.\"%s\" WHERE %s", t->name, t->filter);
    err = gw_sql_prepare_made(r, &stmt, sql, e);
    if (!err)
        err = gw_sql_step(r, stmt, e);
    while (!err) {
        if (has_good_addresses(stmt, t)) {
            err = row_digest(stmt, (int)t->n, &row);
            *out += row;
        }
        err = gw_sql_next(r, stmt, err, e);
    }
    *out &= (1ULL << DIGEST_BITS) - 1;
    return gw_sql_end(stmt, err);
}
