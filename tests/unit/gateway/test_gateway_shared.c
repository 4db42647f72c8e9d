/* A registry that gateways share in PostgreSQL: the age of a gateway's copy, digests of the copy's tables, and the SQL
 * statements for a change. Needs no server; tests/e2e/gateway/gateway_postgres*.sh use real servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the headers above, so they come first. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "gateway/registry/authline.h"
#include "gateway/registry/copy_state.h"
#include "gateway/registry/event.h"
#include "gateway/shared/copy_tables.h"
#include "gateway/shared/pg_link.h"
#include "gateway/shared/pg_rows.h"

static char folder[64];
static char db[128];
static char state_file[128];
static struct gw_registry registry;

static void must(const char *sql)
{
    if (sqlite3_exec(registry.db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(registry.db));
}

static int open_registry(void **state)
{
    struct cmx_why e = {0};

    (void)state;
    strcpy(folder, "/tmp/cmx-shared-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(db, sizeof db, "%s/registry.db", folder);
    snprintf(state_file, sizeof state_file, "%s/" GW_COPY_STATE_FILE, folder);
    assert_int_equal(gw_registry_create(&registry, db, &e), CMX_OK);
    must("INSERT INTO device(id, name, address, enrolled) VALUES(1, 'cam-1', 'fd00::1', 5)");
    must("INSERT INTO key(fingerprint, device, type, blob, added) VALUES('SHA256:x', 1, 'ssh-ed25519', 'AAAA', 5)");
    must("INSERT INTO port(address, port, device) VALUES('fd00::1', 81, 1)");
    return 0;
}

static int close_registry(void **state)
{
    (void)state;
    gw_registry_close(&registry);
    unlink(db);
    unlink(state_file);
    rmdir(folder);
    return 0;
}

static void reopen(void)
{
    struct cmx_why e = {0};

    gw_registry_close(&registry);
    if (gw_registry_open(&registry, db, true, &e))
        fail_msg("%s", e.text);
}

static void write_state(const char *text)
{
    FILE *f = fopen(state_file, "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* ---- how old the copy may be ---- */

static void test_state_text(void **state)
{
    static const char *const bad[] = {"",
                                      "cmxsafe-copy 1\n",
                                      "cmxsafe-copy 2 5 5 abc\n\n",
                                      "cmxsafe-copy 1 5 5\n\n",
                                      "cmxsafe-copy 1 -5 5 abc\n\n",
                                      "cmxsafe-copy 1 5 -5 abc\n\n",
                                      "cmxsafe-copy 1 5 5 abc",
                                      "cmxsafe-copy 1 5 5 abc more\n",
                                      "cmxsafe-copy 1 5 5 xyz\n\n",
                                      "cmxsafe-copy 1 99999999999999999999 5 abc\n\n"};
    struct gw_copy_state s = {
        .confirmed = {.wall = 1700000000, .boot_s = 77, .boot = "0a-1b"}, .stored = 12, .reason = "no route\n99"};
    struct gw_copy_state got;
    char text[GW_COPY_STATE_MAX];

    (void)state;
    gw_copy_state_text(&s, text);
    assert_int_equal(gw_copy_state_parse(&got, text), CMX_OK);
    assert_int_equal(got.confirmed.wall, 1700000000);
    assert_int_equal(got.confirmed.boot_s, 77);
    assert_string_equal(got.confirmed.boot, "0a-1b");
    assert_string_equal(got.reason, "no route");
    assert_int_equal(got.stored, 12);
    assert_int_equal(gw_copy_state_parse(&got, "cmxsafe-copy 1 5 5 abc\nan earlier version\n"), CMX_OK);
    assert_int_equal(got.stored, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(gw_copy_state_parse(&got, bad[i]), CMX_EFORMAT);
        assert_int_equal(got.confirmed.wall, 0);
    }
}

/* Writes a confirmation from an earlier boot, because this boot may be younger than `seconds`. */
static void confirm_ago(int64_t seconds)
{
    struct gw_copy_state s = {0};
    char text[GW_COPY_STATE_MAX];

    gw_now(&s.confirmed);
    s.confirmed.wall -= seconds;
    strcpy(s.confirmed.boot, "0-1");
    gw_copy_state_text(&s, text);
    write_state(text);
}

static cmx_err look_up(void)
{
    char text[4096];
    struct cmx_buf b;

    cmx_buf_init(&b, text, sizeof text);
    return gw_authline(&registry, "SHA256:x", &b, NULL, NULL);
}

static void test_stale(void **state)
{
    struct gw_copy_state s = {0};
    char text[GW_COPY_STATE_MAX];

    (void)state;
    reopen();
    assert_false(registry.stale);
    assert_int_equal(look_up(), CMX_OK);
    must("INSERT INTO meta(key, value) VALUES('registry', 'postgresql://db/x')");
    reopen(); /* the copy has never been confirmed */
    assert_true(registry.stale);
    assert_int_equal(look_up(), CMX_EPERM);
    confirm_ago(10);
    reopen();
    assert_false(registry.stale);
    assert_int_equal(look_up(), CMX_OK);
    confirm_ago(GW_STALE_AFTER_S + 1);
    reopen();
    assert_true(registry.stale);
    must("INSERT INTO meta(key, value) VALUES('stale_after', '7200')");
    reopen(); /* the operator's limit is longer */
    assert_false(registry.stale);
    /* Without a reboot, setting the wall clock back does not make the copy valid for longer. */
    must("UPDATE meta SET value = '1' WHERE key = 'stale_after'");
    gw_now(&s.confirmed);
    s.confirmed.boot_s -= 2;
    gw_copy_state_text(&s, text);
    write_state(text);
    reopen();
    assert_true(registry.stale);
    /* After a reboot, the copy is stale while the clock is before the time of the confirmation. */
    gw_now(&s.confirmed);
    s.confirmed.wall += 3600;
    strcpy(s.confirmed.boot, "0-1");
    gw_copy_state_text(&s, text);
    write_state(text);
    reopen();
    assert_true(registry.stale);
    write_state("nonsense\n");
    reopen();
    assert_true(registry.stale);
    /* The copy is older than the one that was confirmed. */
    must("UPDATE meta SET value = '7200' WHERE key = 'stale_after'");
    gw_now(&s.confirmed);
    s.stored = 7;
    gw_copy_state_text(&s, text);
    write_state(text);
    must("INSERT INTO meta(key, value) VALUES('stored', 7)");
    reopen();
    assert_false(registry.stale);
    must("UPDATE meta SET value = 6 WHERE key = 'stored'");
    reopen();
    assert_true(registry.stale);
}

/* ---- tables and digests ---- */

static uint64_t digest_of(const char *table)
{
    struct gw_copy_tables t;
    struct cmx_why e = {0};
    uint64_t digest;

    assert_int_equal(gw_copy_tables_read(&registry, &t, &e), CMX_OK);
    assert_non_null(gw_copy_table_find(&t, table));
    assert_int_equal(gw_copy_digest(&registry, gw_copy_table_find(&t, table), &digest, &e), CMX_OK);
    return digest;
}

static void test_tables(void **state)
{
    struct gw_copy_tables t;
    const struct gw_copy_table *device;
    struct cmx_why e = {0};

    (void)state;
    assert_int_equal(gw_copy_tables_read(&registry, &t, &e), CMX_OK);
    device = gw_copy_table_find(&t, "device");
    assert_non_null(device);
    assert_true(device->rights);
    assert_true(device->columns[0].key && device->columns[0].integer);
    assert_false(gw_copy_table_find(&t, "event")->rights);
    assert_false(gw_copy_table_find(&t, "evidence")->rights);
    assert_null(gw_copy_table_find(&t, "sqlite_master"));
    for (size_t i = 0; i < t.n; i++) {
        size_t keys = 0;

        for (size_t c = 0; c < t.tables[i].n; c++)
            keys += t.tables[i].columns[c].key;
        assert_true(keys > 0); /* otherwise SQLite records no changes to the table */
    }
}

static void test_digests(void **state)
{
    uint64_t before = digest_of("device");
    uint64_t meta = digest_of("meta");
    uint64_t two;

    (void)state;
    must("INSERT INTO device(id, name, enrolled) VALUES(2, 'cam-2', 6)");
    two = digest_of("device");
    assert_true(before != two);
    must("UPDATE device SET revoked = 0 WHERE id = 2"); /* 0 is not NULL */
    assert_true(two != digest_of("device"));
    must("DELETE FROM device WHERE id = 2");
    assert_true(before == digest_of("device"));
    must("INSERT INTO meta(key, value) VALUES('listen', '[::]:1')"); /* this setting belongs to this gateway alone */
    assert_true(meta == digest_of("meta"));
    must("INSERT INTO meta(key, value) VALUES('fleet', 'fd00::/48')");
    assert_true(meta != digest_of("meta"));
}

/* ---- statements ---- */

static PGconn *no_server(void)
{
    /* The connection fails, but libpq can still quote text with it. */
    PGconn *c = PQconnectdb("host=/nonexistent-cmxsafe");

    assert_non_null(c);
    return c;
}

/* Executes `sql` on the copy and returns the statements that make the same change in PostgreSQL. The caller frees them
 * with free(). */
static char *statements_of(const char *sql)
{
    struct gw_copy_tables t;
    struct gw_pg_writer w;
    struct cmx_why e = {0};
    sqlite3_session *session = NULL;
    PGconn *c = no_server();
    void *changes = NULL;
    char *text;
    int len = 0;

    assert_int_equal(gw_copy_tables_read(&registry, &t, &e), CMX_OK);
    assert_int_equal(sqlite3session_create(registry.db, "main", &session), SQLITE_OK);
    assert_int_equal(sqlite3session_attach(session, NULL), SQLITE_OK);
    must(sql);
    assert_int_equal(sqlite3session_changeset(session, &len, &changes), SQLITE_OK);
    sqlite3session_delete(session);
    gw_pg_writer_begin(&w, c, 42);
    if (gw_pg_writer_changes(&w, &t, changes, len, &e))
        fail_msg("%s", e.text);
    sqlite3_free(changes);
    text = strdup(sqlite3_str_length(w.sql) ? sqlite3_str_value(w.sql) : "");
    w.err = CMX_ECLOSED; /* prevents sending */
    assert_int_equal(gw_pg_writer_end(&w, &e), CMX_ECLOSED);
    PQfinish(c);
    return text;
}

static void check_statement(const char *sql, const char *expected)
{
    char *text = statements_of(sql);

    assert_string_equal(text, expected);
    free(text);
}

static void test_statements(void **state)
{
    (void)state;
    check_statement(
        "UPDATE device SET team = 'a''b' WHERE id = 1",
        "UPDATE \"device\" SET revision=42,\"team\"='a''b' WHERE NOT removed AND \"id\"=1 AND \"team\" IS NOT "
        "DISTINCT FROM '';");
    check_statement(
        "UPDATE device SET revoked = 9 WHERE id = 1",
        "UPDATE \"device\" SET revision=42,\"revoked\"=9 WHERE NOT removed AND \"id\"=1 AND \"revoked\" IS NOT "
        "DISTINCT FROM NULL;");
    check_statement(
        "DELETE FROM port",
        "WITH gone AS (UPDATE \"port\" SET removed=true,revision=42 WHERE \"address\"='fd00::1' AND \"port\"=81"
        " RETURNING 1) SELECT 1 FROM gone LIMIT 1;");
    check_statement("INSERT INTO tombstone(fingerprint, name, deleted) VALUES('f', 'n', 3)",
                    "INSERT INTO \"tombstone\"(\"fingerprint\",\"name\",\"deleted\",revision) VALUES('f','n',3,42) ON"
                    " CONFLICT(\"fingerprint\") DO UPDATE SET revision=excluded.revision,removed=false,"
                    "\"name\"=excluded.\"name\",\"deleted\"=excluded.\"deleted\";");
    check_statement("UPDATE device SET team = team", "");
    /* This setting belongs to this gateway alone. */
    check_statement("INSERT INTO meta(key, value) VALUES('registry', 'x')", "");
    check_statement("DELETE FROM meta WHERE key = 'registry'", "");
    /* A text that tries to end the SQL string that contains it. */
    check_statement(
        "UPDATE device SET team = 'x\\''; DROP TABLE device; --' WHERE id = 1",
        "UPDATE \"device\" SET revision=42,\"team\"= E'x\\\\''; DROP TABLE device; --' WHERE NOT removed AND"
        " \"id\"=1 AND \"team\" IS NOT DISTINCT FROM 'a''b';");
}

/* ---- texts of other gateways ---- */

static void check_clean(const char *text, enum gw_copy_form form, const char *expected)
{
    const struct gw_copy_rule rule = {form, 64};
    char *clean = gw_copy_text_clean(text, &rule);

    assert_string_equal(clean, expected);
    /* Cleaning replaces characters with '?', which is not allowed in a word. So a cleaned word may still be unclean. */
    assert_true(gw_copy_text_is_clean(clean, &rule) || form == GW_COPY_WORD || form == GW_COPY_UNIT);
    assert_int_equal(gw_copy_text_is_clean(text, &rule), strcmp(text, expected) == 0);
    cmx_mem_free(clean);
}

static void test_texts(void **state)
{
    static const struct gw_copy_rule words = {GW_COPY_WORD, 64};
    static const struct gw_copy_rule short_texts = {GW_COPY_TEXT, 64};
    char *clean;
    char *text = cmx_mem_alloc(80);

    (void)state;
    assert_int_equal(gw_copy_rule_of("device", "name").form, GW_COPY_WORD);
    assert_int_equal(gw_copy_rule_of("grants", "why").form, GW_COPY_TEXT);
    assert_int_equal(gw_copy_rule_of("event", "detail").form, GW_COPY_TEXT);
    assert_int_equal(gw_copy_rule_of("attestation", "detail").form, GW_COPY_LINES);
    assert_int_equal(gw_copy_rule_of("meta", "a later column").form, GW_COPY_WORD);
    check_clean("system.slice/a-b_c@1.service", GW_COPY_WORD, "system.slice/a-b_c@1.service");
    check_clean("system.slice/system-a\\x2db.slice", GW_COPY_UNIT, "system.slice/system-a\\x2db.slice");
    check_clean("a\\b\" accept", GW_COPY_UNIT, "a\\b??accept");
    check_clean("a\\b", GW_COPY_WORD, "a?b");
    assert_int_equal(gw_copy_rule_of("consumer", "name").form, GW_COPY_UNIT);
    check_clean("[fd00::1]:22", GW_COPY_WORD, "[fd00::1]:22");
    check_clean("x\",command=\"id", GW_COPY_WORD, "x?,command=?id");
    check_clean("cam 17;{}", GW_COPY_WORD, "cam?17???");
    check_clean("Wartung f\xc3\xbcr <b>", GW_COPY_TEXT, "Wartung f\xc3\xbcr <b>");
    check_clean("\x1b]0;x\x07\x7f a\nb", GW_COPY_TEXT, "?]0;x?? a?b");
    check_clean("a\nb\x1b", GW_COPY_LINES, "a\nb?");
    check_clean("\xc2\x9b"
                "31m",
                GW_COPY_TEXT, "?31m"); /* C1 */
    check_clean("a\xe2\x80\xae"
                "b",
                GW_COPY_TEXT, "a?b"); /* right-to-left override */
    check_clean("\xe2\x80\x8a\xe2\x80\x8b\xe2\x80\x8f\xe2\x80\x90", GW_COPY_TEXT,
                "\xe2\x80\x8a??\xe2\x80\x90");                                      /* U+200A to U+2010 */
    check_clean("\xff\xc0\xaf\xed\xa0\x80\xf5\xe2\x82", GW_COPY_TEXT, "?????????"); /* not UTF-8 */
    memset(text, 'a', 64);
    assert_true(gw_copy_text_is_clean(text, &words) && gw_copy_text_is_replaced(text, &words));
    memcpy(text + 62, "\xf0\x9f\x98\x80z", 5);
    assert_false(gw_copy_text_is_clean(text, &short_texts));
    assert_true(gw_copy_text_is_clean(text + 3, &short_texts));
    clean = gw_copy_text_clean(text, &short_texts);
    assert_int_equal(strlen(clean), 62);
    assert_memory_equal(clean, text, 62);
    assert_true(gw_copy_text_is_clean(clean, &short_texts) && gw_copy_text_is_replaced(clean, &short_texts));
    assert_false(gw_copy_text_is_replaced("cam-17", &short_texts));
    cmx_mem_free(clean);
    cmx_mem_free(text);
}

/* Only the canonical form of an address is accepted, because addresses are written into rules and BIRD's configuration,
 * and compared as text. */
static void test_addresses(void **state)
{
    static const char *const bad[] = {"fd00::/0", "FD00::1",   "fd00:0::1",  "fd00::1 ", "fd00::1;", "192.0.2.1",
                                      "fd00",     "[fd00::1]", "fd00::1%lo", "x",        "fd00::?"};
    static const char *const columns[][2] = {{"device", "address"}, {"claim", "address"}, {"port", "address"}};

    (void)state;
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        struct gw_copy_rule rule = gw_copy_rule_of(columns[i][0], columns[i][1]);

        assert_true(gw_copy_rule_is_address(&rule));
        assert_true(gw_copy_text_is_clean("fd00::1", &rule));
        assert_true(gw_copy_text_is_clean("fd12:3456:789a:1111:2222:3333:4444:5555", &rule));
        assert_int_equal(gw_copy_text_is_clean("", &rule), strcmp(columns[i][0], "port") == 0);
        for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
            if (gw_copy_text_is_clean(bad[k], &rule))
                fail_msg("%s: '%s' is taken", columns[i][0], bad[k]);
    }
}

/* An older program may have stored a row with an invalid address. The digest of the table ignores this row and so
 * differs from PostgreSQL's digest. The gateway then replaces the table. */
static void test_stored_address(void **state)
{
    uint64_t before = digest_of("claim");

    (void)state;
    must("INSERT INTO claim(address, node, sequence, since) VALUES('fd00::/0', 'gw2', 1, 5)");
    assert_int_equal(digest_of("claim"), before);
    must("UPDATE claim SET address = 'fd00::1'");
    assert_int_not_equal(digest_of("claim"), before);
}

/* In text from PostgreSQL, the copy replaces unexpected characters with '?'. A change to such a text must still find
 * PostgreSQL's row, so the statement compares with LIKE and contains '_' instead of each '?'. */
static void test_replaced(void **state)
{
    (void)state;
    must("UPDATE device SET team = 'x?%_\\y' WHERE id = 1");
    check_statement("UPDATE device SET team = '' WHERE id = 1",
                    "UPDATE \"device\" SET revision=42,\"team\"='' WHERE NOT removed AND \"id\"=1 AND \"team\" LIKE "
                    " E'x_\\\\%\\\\_\\\\\\\\y';");
}

static void test_schema(void **state)
{
    struct gw_copy_tables t;
    struct cmx_why e = {0};
    sqlite3_str *sql = sqlite3_str_new(NULL);
    char *text;

    (void)state;
    assert_int_equal(gw_copy_tables_read(&registry, &t, &e), CMX_OK);
    gw_pg_rows_schema(sql, &t);
    text = sqlite3_str_finish(sql);
    assert_non_null(text);
    assert_non_null(strstr(text,
                           "CREATE TABLE IF NOT EXISTS \"grants\"(\"consumer\" BIGINT NOT NULL,\"device\" BIGINT NOT "
                           "NULL,\"port\" BIGINT NOT NULL,revision BIGINT NOT NULL, removed BOOLEAN NOT NULL DEFAULT "
                           "false, PRIMARY KEY(\"consumer\",\"device\",\"port\"));"));
    /* Columns that a later version added have a default, because an older gateway inserts rows without these columns.
     */
    assert_non_null(strstr(text, "ADD COLUMN IF NOT EXISTS \"exempt\" BIGINT NOT NULL DEFAULT 0;"));
    assert_non_null(strstr(text, "ADD COLUMN IF NOT EXISTS \"attest_key\" TEXT NOT NULL DEFAULT '';"));
    sqlite3_free(text);
}

static void test_urls(void **state)
{
    static const char *const bad[] = {"",
                                      "sqlite",
                                      "mysql://db/x",
                                      "host=db",
                                      "postgresql://u:secret@db/x",
                                      "postgresql://db/x?password=secret",
                                      "postgresql://db/x?sslpassword=secret",
                                      "postgresql://db/x?nonsense=1"};
    static const char *const good[] = {"postgresql://cmxsafe@db.example/cmxsafe", "postgres:///?service=cmxsafe",
                                       "postgresql://a,b:5433/x?passfile=/etc/cmxsafe/pgpass&sslmode=verify-ca"};
    char url[GW_REGISTRY_URL_MAX + 64] = "postgresql://";
    struct cmx_why e = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(gw_pg_url_check(bad[i], &e), CMX_EINVAL);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(gw_pg_url_check(good[i], &e), CMX_OK);
    assert_int_equal(gw_pg_url_check(bad[4], &e), CMX_EINVAL);
    assert_non_null(strstr(e.text, "passfile"));
    assert_null(strstr(e.text, "secret"));
    memset(url + strlen(url), 'a', sizeof url - strlen(url) - 1);
    assert_int_equal(gw_pg_url_check(url, &e), CMX_EINVAL);
}

static cmx_err count_event(void *arg, int64_t at, const char *what, const char *who, const char *detail)
{
    char *order = arg;

    (void)at;
    (void)who;
    (void)detail;
    strcat(order, what);
    return CMX_OK;
}

/* Events that were recorded while PostgreSQL was unreachable get higher numbers than the events that other gateways
 * stored meanwhile. */
static void test_unsent_events(void **state)
{
    char order[16] = "";
    struct cmx_why e = {0};

    (void)state;
    assert_int_equal(gw_event(&registry, "a", "", "", &e), CMX_OK);
    registry.detached = true;
    assert_int_equal(gw_event(&registry, "b", "", "", &e), CMX_OK);
    assert_int_equal(gw_event(&registry, "c", "", "", &e), CMX_OK);
    registry.detached = false;
    must("INSERT INTO event(id, at, what, who, detail) VALUES(2, 0, 'x', '', '')"); /* another gateway's event */
    assert_int_equal(gw_event_number(&registry, &e), CMX_OK);
    assert_int_equal(gw_event(&registry, "d", "", "", &e), CMX_OK);
    assert_int_equal(gw_event_each(&registry, NULL, 0, count_event, order, &e), CMX_OK);
    assert_string_equal(order, "axbcd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_text),
        cmocka_unit_test_setup_teardown(test_stale, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_tables, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_digests, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_statements, open_registry, close_registry),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test_setup_teardown(test_stored_address, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_replaced, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_schema, open_registry, close_registry),
        cmocka_unit_test(test_urls),
        cmocka_unit_test_setup_teardown(test_unsent_events, open_registry, close_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
