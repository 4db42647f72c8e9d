#include "gateway/registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char schema[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE device(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, address TEXT UNIQUE,"
    " team TEXT NOT NULL DEFAULT '', revoked INTEGER, enrolled INTEGER NOT NULL);"
    "CREATE TABLE consumer(id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK(kind IN "
    "('user','group','cgroup','platform')),"
    " name TEXT NOT NULL, revoked INTEGER, UNIQUE(kind, name));"
    /* A key is a device's or a platform's. A retired one stays: it must not come back under another name. */
    "CREATE TABLE key(fingerprint TEXT PRIMARY KEY, device INTEGER REFERENCES device(id),"
    " consumer INTEGER REFERENCES consumer(id), type TEXT NOT NULL, blob TEXT NOT NULL, added INTEGER NOT NULL,"
    " retired INTEGER, CHECK((device IS NULL) <> (consumer IS NULL))) WITHOUT ROWID;"
    "CREATE INDEX key_device ON key(device);"
    /* The address is the device's own, or '' for the loopback of a small deployment: there ports are unique. */
    "CREATE TABLE port(address TEXT NOT NULL, port INTEGER NOT NULL CHECK(port BETWEEN 1 AND 65535),"
    " device INTEGER NOT NULL REFERENCES device(id), PRIMARY KEY(address, port)) WITHOUT ROWID;"
    "CREATE INDEX port_device ON port(device);"
    "CREATE TABLE direct(device INTEGER NOT NULL REFERENCES device(id), host TEXT NOT NULL,"
    " port INTEGER NOT NULL CHECK(port BETWEEN 1 AND 65535), PRIMARY KEY(device, host, port)) WITHOUT ROWID;"
    "CREATE TABLE permit(consumer INTEGER NOT NULL REFERENCES consumer(id), device INTEGER NOT NULL REFERENCES "
    "device(id),"
    " port INTEGER NOT NULL CHECK(port BETWEEN 1 AND 65535), PRIMARY KEY(consumer, device, port)) WITHOUT ROWID;"
    "CREATE INDEX permit_device ON permit(device);"
    "CREATE TABLE attestation(device INTEGER PRIMARY KEY REFERENCES device(id), at INTEGER NOT NULL,"
    " verdict TEXT NOT NULL, detail TEXT NOT NULL);"
    "CREATE TABLE event(id INTEGER PRIMARY KEY, at INTEGER NOT NULL, what TEXT NOT NULL, who TEXT NOT NULL,"
    " detail TEXT NOT NULL);";

cmx_err gw_error_set(struct gw_error *e, cmx_err code, const char *todo, const char *fmt, ...)
{
    va_list ap;

    if (!e)
        return code;
    va_start(ap, fmt);
    vsnprintf(e->why, sizeof e->why, fmt, ap);
    va_end(ap);
    snprintf(e->todo, sizeof e->todo, "%s", todo ? todo : "");
    return code;
}

/* What SQLite says, in our words. Extended codes tell an interrupted write from a plain lack of permission. */
static cmx_err sql_failed(sqlite3 *db, struct gw_error *e)
{
    int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;

    if (code == SQLITE_READONLY_ROLLBACK || code == SQLITE_READONLY_RECOVERY || code == SQLITE_READONLY_CANTINIT)
        return gw_error_set(e, CMX_EBUSY, "run 'cmxsafe gateway doctor' once, it heals this",
                            "a write to the registry was interrupted");
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
        return gw_error_set(e, CMX_EEXIST, NULL, "it is there already (%s)", sqlite3_errmsg(db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return gw_error_set(e, CMX_EBUSY, "find who holds it with 'fuser -v' on the file",
                            "the registry is locked by another program");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return gw_error_set(e, CMX_EFORMAT, "restore it from a backup (docs/GATEWAY.md)",
                            "the registry is damaged (%s)", sqlite3_errmsg(db));
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
        return gw_error_set(e, CMX_EPERM, "check the permissions of the file and its folder",
                            "the registry can't be opened (%s)", sqlite3_errmsg(db));
    case SQLITE_NOMEM:
        return gw_error_set(e, CMX_ENOMEM, NULL, "out of memory");
    default:
        return gw_error_set(e, CMX_EIO, NULL, "the registry: %s", db ? sqlite3_errmsg(db) : "no memory");
    }
}

cmx_err gw_sql_step(struct gw_registry *r, sqlite3_stmt *stmt, struct gw_error *e)
{
    switch (sqlite3_step(stmt)) {
    case SQLITE_ROW:
        return CMX_OK;
    case SQLITE_DONE:
        return CMX_ENOENT;
    default:
        return sql_failed(r->db, e);
    }
}

static cmx_err bind_all(sqlite3_stmt *stmt, const char *types, va_list ap)
{
    for (int i = 1; *types; i++, types++) {
        int rc = *types == 'i' ? sqlite3_bind_int64(stmt, i, va_arg(ap, int64_t))
                               : sqlite3_bind_text(stmt, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
        if (rc != SQLITE_OK)
            return CMX_ENOMEM;
    }
    return CMX_OK;
}

static cmx_err prepare_v(struct gw_registry *r, sqlite3_stmt **out, struct gw_error *e, const char *sql,
                         const char *types, va_list ap)
{
    *out = NULL;
    if (sqlite3_prepare_v2(r->db, sql, -1, out, NULL) != SQLITE_OK)
        return sql_failed(r->db, e);
    if (bind_all(*out, types, ap)) {
        sqlite3_finalize(*out);
        *out = NULL;
        return sql_failed(r->db, e);
    }
    return CMX_OK;
}

cmx_err gw_sql_prepare(struct gw_registry *r, sqlite3_stmt **out, struct gw_error *e, const char *sql,
                       const char *types, ...)
{
    va_list ap;
    cmx_err err;

    va_start(ap, types);
    err = prepare_v(r, out, e, sql, types, ap);
    va_end(ap);
    return err;
}

cmx_err gw_sql_run(struct gw_registry *r, struct gw_error *e, const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt;
    va_list ap;
    cmx_err err;

    va_start(ap, types);
    err = prepare_v(r, &stmt, e, sql, types, ap);
    va_end(ap);
    if (err)
        return err;
    err = gw_sql_step(r, stmt, e);
    sqlite3_finalize(stmt);
    return err == CMX_ENOENT ? CMX_OK : err;
}

const char *gw_sql_text(sqlite3_stmt *stmt, int column)
{
    const char *s = (const char *)sqlite3_column_text(stmt, column);
    return s ? s : "";
}

static cmx_err pragma_int(struct gw_registry *r, const char *sql, int64_t *out, struct gw_error *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_prepare(r, &stmt, e, sql, "");

    if (err)
        return err;
    err = gw_sql_step(r, stmt, e);
    if (!err)
        *out = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return err;
}

static cmx_err open_db(struct gw_registry *r, const char *path, int flags, int patience_ms, struct gw_error *e)
{
    memset(r, 0, sizeof *r);
    if (sqlite3_open_v2(path, &r->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return sql_failed(r->db, e);
    sqlite3_extended_result_codes(r->db, 1);
    sqlite3_busy_timeout(r->db, patience_ms);
    /* A hostile file must not run anything: no functions or views of its own are trusted. */
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    return CMX_OK;
}

static cmx_err check_version(struct gw_registry *r, const char *path, struct gw_error *e)
{
    int64_t id = 0;
    int64_t version = 0;
    cmx_err err = pragma_int(r, "PRAGMA application_id", &id, e);

    if (err)
        return err;
    if (id != GW_APPLICATION_ID)
        return gw_error_set(e, CMX_EFORMAT, "restore it from a backup (docs/GATEWAY.md)", "%s is not a registry", path);
    err = pragma_int(r, "PRAGMA user_version", &version, e);
    if (err)
        return err;
    if (version != GW_SCHEMA_VERSION)
        return gw_error_set(e, CMX_ENOTSUP, "install the cmxsafe that wrote it, or a newer one",
                            "the registry has version %lld, this program knows %d", (long long)version,
                            GW_SCHEMA_VERSION);
    return CMX_OK;
}

cmx_err gw_registry_open(struct gw_registry *r, const char *path, bool write, struct gw_error *e)
{
    cmx_err err;

    memset(r, 0, sizeof *r);
    if (access(path, F_OK) != 0)
        return gw_error_set(e, errno == ENOENT ? CMX_ENOENT : CMX_EPERM,
                            "set the gateway up with 'cmxsafe gateway init'", "no registry at %s (%s)", path,
                            strerror(errno));
    err = open_db(r, path, write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY,
                  write ? GW_WRITE_PATIENCE_MS : GW_READ_PATIENCE_MS, e);
    r->writable = write;
    if (!err)
        err = check_version(r, path, e);
    if (!err && write)
        err = gw_sql_run(r, e, "PRAGMA foreign_keys = ON", "");
    if (err)
        gw_registry_close(r);
    return err;
}

static cmx_err fill_new(struct gw_registry *r, struct gw_error *e)
{
    char sql[128];

    if (sqlite3_exec(r->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(r->db, schema, NULL, NULL, NULL) != SQLITE_OK)
        return sql_failed(r->db, e);
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", GW_APPLICATION_ID,
             GW_SCHEMA_VERSION);
    if (sqlite3_exec(r->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sql_failed(r->db, e);
    return gw_sql_run(r, e, "PRAGMA foreign_keys = ON", "");
}

static cmx_err create_file(const char *path, struct gw_error *e)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0640);
    bool good;

    if (fd < 0)
        return gw_error_set(e, errno == EEXIST ? CMX_EEXIST : CMX_EPERM, NULL, "can't create %s (%s)", path,
                            strerror(errno));
    good = fchmod(fd, 0640) == 0;
    close(fd);
    return good ? CMX_OK : gw_error_set(e, CMX_EPERM, NULL, "can't set the mode of %s", path);
}

cmx_err gw_registry_create(struct gw_registry *r, const char *path, struct gw_error *e)
{
    bool memory = strcmp(path, ":memory:") == 0; /* SQLite's name for no file at all: a dry run's */
    cmx_err err = memory ? CMX_OK : create_file(path, e);

    memset(r, 0, sizeof *r);
    if (err)
        return err;
    err = open_db(r, path, SQLITE_OPEN_READWRITE, GW_WRITE_PATIENCE_MS, e);
    r->writable = true;
    if (!err)
        err = fill_new(r, e);
    if (err) {
        gw_registry_close(r);
        if (!memory)
            unlink(path);
    }
    return err;
}

void gw_registry_close(struct gw_registry *r)
{
    if (r->db)
        sqlite3_close(r->db);
    r->db = NULL;
}

cmx_err gw_registry_begin(struct gw_registry *r, struct gw_error *e)
{
    return gw_sql_run(r, e, "BEGIN IMMEDIATE", "");
}

cmx_err gw_registry_commit(struct gw_registry *r, struct gw_error *e)
{
    cmx_err err = gw_sql_run(r, e, "COMMIT", "");

    if (err)
        gw_registry_rollback(r);
    return err;
}

void gw_registry_rollback(struct gw_registry *r)
{
    if (r->db && !sqlite3_get_autocommit(r->db))
        sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
}

cmx_err gw_registry_check(struct gw_registry *r, struct gw_error *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_prepare(r, &stmt, e, "PRAGMA integrity_check(1)", "");

    if (err)
        return err;
    err = gw_sql_step(r, stmt, e);
    if (!err && strcmp(gw_sql_text(stmt, 0), "ok") != 0)
        err = gw_error_set(e, CMX_EFORMAT, "restore it from a backup (docs/GATEWAY.md)", "the registry is damaged (%s)",
                           gw_sql_text(stmt, 0));
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_registry_backup(struct gw_registry *r, const char *path, struct gw_error *e)
{
    cmx_err err;

    if (access(path, F_OK) == 0)
        return gw_error_set(e, CMX_EEXIST, "name a new file", "%s exists", path);
    err = gw_sql_run(r, e, "VACUUM INTO ?", "t", path);
    if (err)
        unlink(path); /* half a copy is none */
    return err;
}

cmx_err gw_meta_get(struct gw_registry *r, const char *key, char *out, size_t cap)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_prepare(r, &stmt, NULL, "SELECT value FROM meta WHERE key = ?", "t", key);

    out[0] = '\0';
    if (err)
        return err;
    err = gw_sql_step(r, stmt, NULL);
    if (!err && (size_t)snprintf(out, cap, "%s", gw_sql_text(stmt, 0)) >= cap)
        err = CMX_ENOSPC;
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_meta_set(struct gw_registry *r, const char *key, const char *value, struct gw_error *e)
{
    return gw_sql_run(r, e,
                      "INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                      "tt", key, value);
}

cmx_err gw_event(struct gw_registry *r, const char *what, const char *who, const char *detail, struct gw_error *e)
{
    return gw_sql_run(r, e, "INSERT INTO event(at, what, who, detail) VALUES(?, ?, ?, ?)", "ittt", (int64_t)time(NULL),
                      what, who, detail);
}

cmx_err gw_event_each(struct gw_registry *r, const char *name, uint64_t n, gw_event_fn fn, void *arg,
                      struct gw_error *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_prepare(r, &stmt, e,
                                 "SELECT at, what, who, detail FROM (SELECT * FROM event WHERE ?1 = '' OR who = ?1 OR"
                                 " who LIKE '%:' || ?1 OR detail = ?1 OR detail LIKE ?1 || ':%' ORDER BY id DESC"
                                 " LIMIT ?2) ORDER BY id",
                                 "ti", name ? name : "", n ? (int64_t)n : (int64_t)-1);

    if (err)
        return err;
    while (!(err = gw_sql_step(r, stmt, e))) {
        err = fn(arg, sqlite3_column_int64(stmt, 0), gw_sql_text(stmt, 1), gw_sql_text(stmt, 2), gw_sql_text(stmt, 3));
        if (err)
            break;
    }
    sqlite3_finalize(stmt);
    return err == CMX_ENOENT ? CMX_OK : err;
}
