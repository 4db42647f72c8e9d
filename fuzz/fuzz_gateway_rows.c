/* Gives the local copy of the registry any rows as PostgreSQL's answer, since a compromised gateway may have written
 * them. The copy must then hold only texts that follow their columns' rules, integers in the other columns, and
 * references to rows that exist. The description of the first row that the copy left out must be printable. A second
 * pull of the same rows must give the same copy. The input is a list of rows that each end with a NUL:
 * "TABLE|VALUE|...|REMOVED". A value "~" is NULL, and a missing value is "". */
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "fuzz/must.h"
#include "gateway/shared/pg_link.h"
#include "gateway/shared/pg_pull.h"

static struct gw_registry registry;
static struct gw_copy_tables tables;
static char input[8192]; /* the fuzzer's input, with a NUL at its end */
static size_t input_len;

static void run(const char *sql)
{
    must(sqlite3_exec(registry.db, sql, NULL, NULL, NULL) == SQLITE_OK);
}

/* Appends a row. Its last column says whether the row was removed in PostgreSQL. */
static void add_row(PGresult *rows, const struct gw_copy_table *t, const char *values)
{
    const int row = PQntuples(rows);

    for (size_t i = 0; i <= t->n; i++) {
        size_t len = strcspn(values, "|");
        bool null = len == 1 && *values == '~';
        char *value = i == t->n ? (*values == 't' ? "t" : "f") : (char *)(uintptr_t)values;

        must(PQsetvalue(rows, row, (int)i, value, null ? -1 : i == t->n ? 1 : (int)len));
        values += len + (values[len] == '|');
    }
}

/* Returns the rows of a table. In table `meta`, replaces each key that gateways do not share, because PostgreSQL's
 * answer has no such rows. */
static PGresult *rows_of(const struct gw_copy_table *t)
{
    PGresult *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns[GW_COPY_COLUMNS_MAX + 1] = {{0}};
    const size_t len = strlen(t->name);

    for (size_t i = 0; i <= t->n; i++)
        columns[i].name = i < t->n ? (char *)(uintptr_t)t->columns[i].name : "removed";
    must(rows && PQsetResultAttrs(rows, (int)t->n + 1, columns));
    for (const char *row = input; row < input + input_len; row += strlen(row) + 1)
        if (strncmp(row, t->name, len) == 0 && row[len] == '|') {
            add_row(rows, t, row + len + 1);
            if (strcmp(t->name, "meta") == 0 && !gw_copy_meta_is_shared(PQgetvalue(rows, PQntuples(rows) - 1, 0)))
                must(PQsetvalue(rows, PQntuples(rows) - 1, 0, "domain", 6));
        }
    return rows;
}

cmx_err __wrap_gw_pg_run_made(PGconn *c, sqlite3_str *sql, gw_pg_result_fn each, void *arg, struct cmx_why *e);

cmx_err __wrap_gw_pg_run_made(PGconn *c, sqlite3_str *sql, gw_pg_result_fn each, void *arg, struct cmx_why *e)
{
    cmx_err err = CMX_OK;

    (void)c;
    sqlite3_free(sqlite3_str_finish(sql));
    for (size_t i = 0; !err && i < tables.n; i++) {
        PGresult *rows = rows_of(&tables.tables[i]);

        err = each(arg, rows, e);
        PQclear(rows);
    }
    return err;
}

static cmx_err pull(struct gw_copy_changes *out, struct cmx_why *e)
{
    cmx_err err = gw_pg_pull_since(NULL, &registry, &tables, 1, out, e);

    return err ? err : gw_pg_pull_end(&registry, false, out, e);
}

/* Cleaning must not change a text of the copy again. An address in the copy must follow its rule without cleaning. */
static void check_text(const char *text, int type, const struct gw_copy_rule *rule)
{
    char *clean = gw_copy_text_clean(text, rule);

    must(type == SQLITE_TEXT && clean && strcmp(clean, text) == 0);
    must(!gw_copy_rule_is_address(rule) || gw_copy_text_is_clean(text, rule));
    must(rule->form == GW_COPY_LINES || !strpbrk(text, "\n\r\t\x1b"));
    cmx_mem_free(clean);
}

static void check_table(const struct gw_copy_table *t)
{
    sqlite3_stmt *stmt = NULL;
    char *sql = sqlite3_mprintf("SELECT * FROM \"%w\" WHERE %s", t->name, t->filter);

    must(sql && sqlite3_prepare_v2(registry.db, sql, -1, &stmt, NULL) == SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        for (size_t i = 0; i < t->n; i++) {
            int type = sqlite3_column_type(stmt, (int)i);

            if (type == SQLITE_NULL)
                must(!t->columns[i].key);
            else if (t->columns[i].integer)
                must(type == SQLITE_INTEGER);
            else
                check_text((const char *)sqlite3_column_text(stmt, (int)i), type, &t->columns[i].rule);
        }
    must(sqlite3_finalize(stmt) == SQLITE_OK);
    sqlite3_free(sql);
}

static void digest_all(uint64_t out[GW_COPY_TABLES_MAX])
{
    for (size_t i = 0; i < tables.n; i++)
        must(gw_copy_digest(&registry, &tables.tables[i], &out[i], NULL) == CMX_OK);
}

static void check_copy(const struct gw_copy_changes *changes)
{
    uint64_t first[GW_COPY_TABLES_MAX];
    uint64_t second[GW_COPY_TABLES_MAX];
    struct gw_copy_changes again = {0};
    struct cmx_why e = {0};
    sqlite3_stmt *broken;

    for (size_t i = 0; i < tables.n; i++)
        check_table(&tables.tables[i]);
    must(sqlite3_prepare_v2(registry.db, "SELECT 1 FROM pragma_foreign_key_check", -1, &broken, NULL) == SQLITE_OK);
    must(sqlite3_step(broken) == SQLITE_DONE);
    sqlite3_finalize(broken);
    must(!changes->left_out == !changes->first_left_out[0]);
    must_print(changes->first_left_out);
    digest_all(first);
    must(pull(&again, &e) == CMX_OK);
    digest_all(second);
    must(memcmp(first, second, tables.n * sizeof first[0]) == 0);
}

static void set_up(void)
{
    struct cmx_why e = {0};

    if (registry.db)
        return;
    must(gw_registry_create(&registry, ":memory:", &e) == CMX_OK);
    must(gw_copy_tables_read(&registry, &tables, &e) == CMX_OK);
    run("INSERT INTO device(id, name, address, enrolled) VALUES(1, 'cam-1', 'fd00::1', 5)");
    run("INSERT INTO consumer(id, kind, name) VALUES(1, 'user', 'alice')");
    run("INSERT INTO grants(consumer, device, port) VALUES(1, 1, 81)");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_copy_changes changes = {0};
    struct cmx_why e = {0};
    cmx_err err;

    if (size >= sizeof input)
        return 0;
    memcpy(input, data, size);
    input[size] = '\0';
    input_len = size;
    set_up();
    run("BEGIN");
    run("PRAGMA defer_foreign_keys = ON");
    err = pull(&changes, &e);
    must(!err || err == CMX_EFORMAT); /* CMX_EFORMAT: the copy needs a row that it can't store */
    must_print(e.text);
    if (!err)
        check_copy(&changes);
    run("ROLLBACK");
    return 0;
}
