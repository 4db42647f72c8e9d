#include "gateway/registry/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"
#include "gateway/registry/copy_state.h"
#include "gateway/registry/term.h"

#define BACKUP_TEMP ".cmxsafe-backup." /* how the names of incomplete copies begin */

/* schema_1 creates the tables of version 1, and schema_2 changes them to version 2. A new registry needs both. */
static const char schema_1[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    /* team is the device's group; GROUP is a keyword of SQL. */
    "CREATE TABLE device(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, address TEXT UNIQUE,"
    " team TEXT NOT NULL DEFAULT '', revoked INTEGER, enrolled INTEGER NOT NULL);"
    "CREATE TABLE consumer(id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK(kind IN "
    "('user','group','cgroup','platform')),"
    " name TEXT NOT NULL, revoked INTEGER, UNIQUE(kind, name));"
    /* A key belongs to a device or to a platform. A retired key stays here, so that it can't be enrolled again. */
    "CREATE TABLE key(fingerprint TEXT PRIMARY KEY, device INTEGER REFERENCES device(id),"
    " consumer INTEGER REFERENCES consumer(id), type TEXT NOT NULL, blob TEXT NOT NULL, added INTEGER NOT NULL,"
    " retired INTEGER, CHECK((device IS NULL) <> (consumer IS NULL))) WITHOUT ROWID;"
    "CREATE INDEX key_device ON key(device);"
    /* address: the device's address; '' in a small deployment, where all devices share the ports of the loopback. */
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

static const char schema_2[] =
    /* The keys of deleted devices. These keys can't be enrolled again. */
    "CREATE TABLE tombstone(fingerprint TEXT PRIMARY KEY, name TEXT NOT NULL, deleted INTEGER NOT NULL) WITHOUT ROWID;"
    /* Grants that end (term.h), with their reason, and grants to a group of devices (port 0: all ports). */
    "ALTER TABLE permit RENAME TO grants;"
    "DROP INDEX permit_device;"
    "CREATE INDEX grants_device ON grants(device);"
    "ALTER TABLE grants ADD COLUMN given INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE grants ADD COLUMN ends INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE grants ADD COLUMN boot TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE grants ADD COLUMN boot_ends INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE grants ADD COLUMN glass INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE grants ADD COLUMN why TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE group_grants(consumer INTEGER NOT NULL REFERENCES consumer(id), team TEXT NOT NULL,"
    " port INTEGER NOT NULL CHECK(port BETWEEN 0 AND 65535), given INTEGER NOT NULL, ends INTEGER NOT NULL,"
    " boot TEXT NOT NULL, boot_ends INTEGER NOT NULL, glass INTEGER NOT NULL, why TEXT NOT NULL,"
    " PRIMARY KEY(consumer, team, port)) WITHOUT ROWID;"
    "CREATE INDEX device_team ON device(team);"
    /* seen.told: an event has reported the device as away. seen.client: the device's SSH software. */
    "CREATE TABLE seen(device INTEGER PRIMARY KEY REFERENCES device(id), at INTEGER NOT NULL, source TEXT NOT NULL,"
    " firmware TEXT NOT NULL, told INTEGER NOT NULL DEFAULT 0, client TEXT NOT NULL DEFAULT '');"
    /* Which devices must attest; target is a device's or group's name. */
    "ALTER TABLE device ADD COLUMN attest_key TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE device ADD COLUMN exempt INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE device ADD COLUMN attest_port INTEGER NOT NULL DEFAULT 8888;"
    "CREATE TABLE policy(id INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK(kind IN ('group','device')),"
    " target TEXT NOT NULL, max_age INTEGER NOT NULL, enforce INTEGER NOT NULL, UNIQUE(kind, target));"
    "CREATE TABLE policy_manifest(policy INTEGER NOT NULL REFERENCES policy(id), digest TEXT NOT NULL,"
    " path TEXT NOT NULL, PRIMARY KEY(policy, digest)) WITHOUT ROWID;"
    "CREATE TABLE evidence(device INTEGER PRIMARY KEY REFERENCES device(id), given INTEGER NOT NULL,"
    " ends INTEGER NOT NULL, boot TEXT NOT NULL, boot_ends INTEGER NOT NULL, trusted INTEGER NOT NULL,"
    " reason TEXT NOT NULL, manifest TEXT NOT NULL DEFAULT '');"
    /* The gateways of a fleet (node.h). claim: the gateway that most recently claimed an identity; a higher sequence is
       newer. */
    "CREATE TABLE node(name TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE CHECK(number BETWEEN 1 AND 64),"
    " ssh TEXT NOT NULL, underlay TEXT NOT NULL, link_key TEXT NOT NULL, joined INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE node_state(node TEXT PRIMARY KEY, seen INTEGER NOT NULL, sessions INTEGER NOT NULL,"
    " version TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE claim(address TEXT PRIMARY KEY, node TEXT NOT NULL, sequence INTEGER NOT NULL,"
    " since INTEGER NOT NULL) WITHOUT ROWID;"
    /* Update campaigns (campaign.h). */
    "CREATE TABLE campaign(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, state TEXT NOT NULL,"
    " reason TEXT NOT NULL, image TEXT NOT NULL, version TEXT NOT NULL, opaque INTEGER NOT NULL,"
    " manifests TEXT NOT NULL, begins INTEGER NOT NULL, made INTEGER NOT NULL, parallel INTEGER NOT NULL,"
    " first INTEGER NOT NULL, stop_at INTEGER NOT NULL, port INTEGER NOT NULL);"
    "CREATE TABLE campaign_device(campaign INTEGER NOT NULL REFERENCES campaign(id),"
    " device INTEGER NOT NULL REFERENCES device(id), place INTEGER NOT NULL, state TEXT NOT NULL, boot TEXT NOT NULL,"
    " tries INTEGER NOT NULL, at INTEGER NOT NULL, detail TEXT NOT NULL, PRIMARY KEY(campaign, device)) WITHOUT ROWID;"
    "CREATE INDEX campaign_device_device ON campaign_device(device);"
    /* Certificate authorities and the list of revoked keys (authority.h). */
    "CREATE TABLE authority(name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, type TEXT NOT NULL,"
    " blob TEXT NOT NULL, added INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE krl(id INTEGER PRIMARY KEY CHECK(id = 1), digest TEXT NOT NULL, content TEXT NOT NULL,"
    " at INTEGER NOT NULL);";

static const char *const schemas[GW_SCHEMA_VERSION] = {schema_1, schema_2};

/* Temporary views of this connection to the database. */
static const char views[] =
    /* quarantined: devices whose policy is enforced and that have no fresh, trusted evidence. A device's own policy
       takes precedence over its group's. */
    "CREATE TEMP VIEW quarantined AS SELECT d.id AS device FROM device d WHERE d.revoked IS NULL AND d.exempt = 0 AND"
    " coalesce((SELECT enforce FROM policy WHERE kind = 'device' AND target = d.name),"
    " (SELECT enforce FROM policy WHERE kind = 'group' AND target = d.team), 0) = 1 AND NOT EXISTS (SELECT 1 FROM"
    " evidence WHERE device = d.id AND trusted = 1 AND " GW_SQL_LEFT " > 0);"
    /* given_grants: the grants as they were given. Each has either a device or a team, which is a group of devices. */
    "CREATE TEMP VIEW given_grants AS SELECT consumer, device, NULL AS team, port, ends, glass, why, " GW_SQL_LEFT
    " AS left"
    " FROM grants UNION ALL SELECT consumer, NULL, team, port, ends, glass, why, " GW_SQL_LEFT " FROM group_grants;"
    /* device_grants: one row for each service of each grant, including grants that have ended; several grants may give
       a consumer the same service. active_grants: the services that each consumer may reach now. */
    "CREATE TEMP VIEW device_grants AS SELECT consumer, device, port, given, ends, boot, boot_ends, glass FROM grants"
    " UNION ALL SELECT t.consumer, d.id, p.port, t.given, t.ends, t.boot, t.boot_ends, t.glass FROM group_grants t"
    " JOIN device d ON d.team = t.team AND d.revoked IS NULL JOIN port p ON p.device = d.id AND"
    " (t.port = 0 OR p.port = t.port);"
    "CREATE TEMP VIEW active_grants AS SELECT consumer, device, port, " GW_SQL_LEFT
    " AS ends_in FROM device_grants a WHERE"
    " " GW_SQL_LEFT " >= 0 AND (glass = 1 OR NOT EXISTS (SELECT 1 FROM quarantined q WHERE q.device = a.device));";

static cmx_err open_db(struct gw_registry *r, const char *path, int flags, int patience_ms, struct cmx_why *e)
{
    memset(r, 0, sizeof *r);
    if (sqlite3_open_v2(path, &r->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return gw_sql_failed(r->db, e);
    sqlite3_extended_result_codes(r->db, 1);
    sqlite3_busy_timeout(r->db, patience_ms);
    /* Do not trust the schema in the file: a manipulated file must not call functions. */
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
    sqlite3_db_config(r->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    return CMX_OK;
}

static cmx_err check_version(struct gw_registry *r, const char *path, int64_t *version, struct cmx_why *e)
{
    int64_t id = 0;
    cmx_err err = gw_sql_number(r, &id, e, "PRAGMA application_id", "");

    if (err)
        return err;
    if (id != GW_APPLICATION_ID)
        return cmx_why_fail(e, CMX_EFORMAT, "%s is not a registry; restore it from a backup (docs/GATEWAY.md)", path);
    err = gw_sql_number(r, version, e, "PRAGMA user_version", "");
    if (err)
        return err;
    if (*version > GW_SCHEMA_VERSION)
        return cmx_why_fail(
            e, CMX_ENOTSUP,
            "the registry has version %lld, but this program supports only versions up to %d; install the cmxsafe that "
            "wrote it, or a newer one",
            (long long)*version, GW_SCHEMA_VERSION);
    if (*version < 1)
        return cmx_why_fail(e, CMX_EFORMAT, "%s has no valid version; restore it from a backup (docs/GATEWAY.md)",
                            path);
    return CMX_OK;
}

/* Upgrades the tables from version `from` to this program's version. For a file, the caller has begun a transaction. */
static cmx_err run_schemas(struct gw_registry *r, int64_t from, struct cmx_why *e)
{
    char sql[64];

    for (int64_t v = from; v < GW_SCHEMA_VERSION; v++)
        if (sqlite3_exec(r->db, schemas[v], NULL, NULL, NULL) != SQLITE_OK)
            return gw_sql_failed(r->db, e);
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d", GW_SCHEMA_VERSION);
    return sqlite3_exec(r->db, sql, NULL, NULL, NULL) == SQLITE_OK ? CMX_OK : gw_sql_failed(r->db, e);
}

/* Copies the registry to PATH.vN. Replaces an existing copy, which is from an upgrade that did not complete. Reads
 * through a connection of its own, because the caller's connection is in a transaction. */
static cmx_err backup_before_upgrade(const char *path, int64_t version, struct cmx_why *e)
{
    struct gw_registry now;
    char copy[4200];
    cmx_err err;

    if ((size_t)snprintf(copy, sizeof copy, "%s.v%lld", path, (long long)version) >= sizeof copy)
        return cmx_why_fail(e, CMX_EINVAL, "the path of the registry is too long");
    if (unlink(copy) != 0 && errno != ENOENT)
        return cmx_why_fail(e, CMX_EPERM, "can't replace %s (%s)", copy, strerror(errno));
    err = open_db(&now, path, SQLITE_OPEN_READONLY, GW_READ_PATIENCE_MS, e);
    if (!err)
        err = gw_registry_backup(&now, copy, e);
    gw_registry_close(&now);
    if (err)
        cmx_why_set(e, "the registry has to be upgraded, but can't be backed up first: %s", e ? e->text : "");
    return err;
}

static cmx_err upgrade(struct gw_registry *r, const char *path, struct cmx_why *e)
{
    int64_t version;
    cmx_err err = gw_registry_begin(r, e);

    if (err)
        return err;
    err = check_version(r, path, &version, e); /* another writer may have upgraded the file meanwhile */
    if (!err && version < GW_SCHEMA_VERSION) {
        err = backup_before_upgrade(path, version, e);
        if (!err)
            err = run_schemas(r, version, e);
    }
    return gw_registry_end(r, err, e);
}

/* A reader can't upgrade the file, so this replaces r's database with an upgraded copy in memory. */
static cmx_err upgrade_in_memory(struct gw_registry *r, int64_t version, struct cmx_why *e)
{
    struct gw_registry copy;
    sqlite3_backup *b;
    cmx_err err = open_db(&copy, ":memory:", SQLITE_OPEN_READWRITE, 0, e);

    b = err ? NULL : sqlite3_backup_init(copy.db, "main", r->db, "main");
    if (b)
        (void)sqlite3_backup_step(b, -1); /* sqlite3_backup_finish returns the error of this call */
    if (!err && (!b || sqlite3_backup_finish(b) != SQLITE_OK))
        err = gw_sql_failed(copy.db, e);
    if (err) {
        sqlite3_close(copy.db);
        return err;
    }
    sqlite3_close(r->db);
    r->db = copy.db;
    return run_schemas(r, version, e);
}

/* The SQL function gw_left(given, ends, boot, boot_ends, latest) returns the seconds until a grant or evidence
 * ends; 0: it never ends; -1: it has ended. */
static void sql_left(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    struct gw_term t = {.given = sqlite3_value_int64(argv[0]),
                        .ends = sqlite3_value_int64(argv[1]),
                        .boot = (const char *)sqlite3_value_text(argv[2]),
                        .boot_ends = sqlite3_value_int64(argv[3])};
    struct gw_now now;
    int64_t left = 0;

    (void)argc;
    if (t.ends) {
        gw_now(&now);
        left = gw_term_left(&t, &now, sqlite3_value_int64(argv[4]));
    }
    sqlite3_result_int64(ctx, t.ends && left == 0 ? -1 : left);
}

cmx_err gw_registry_need_views(struct gw_registry *r, struct cmx_why *e)
{
    if (r->has_views)
        return CMX_OK;
    if (sqlite3_create_function_v2(r->db, "gw_left", 5, SQLITE_UTF8, NULL, sql_left, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(r->db, "PRAGMA temp_store = MEMORY", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(r->db, views, NULL, NULL, NULL) != SQLITE_OK)
        return gw_sql_failed(r->db, e);
    r->has_views = true;
    return CMX_OK;
}

static int64_t meta_number(struct gw_registry *r, const char *key, int64_t fallback)
{
    char text[24];
    uint64_t n;

    return gw_meta_get(r, key, text, sizeof text) || cmx_text_u64(text, 0, INT64_MAX, &n) ? fallback : (int64_t)n;
}

int64_t gw_registry_stored(struct gw_registry *r)
{
    return meta_number(r, GW_META_STORED, 0);
}

void gw_registry_copy_state(struct gw_registry *r, const char *path, struct gw_copy_state *out)
{
    char url[GW_REGISTRY_URL_MAX];

    memset(out, 0, sizeof *out);
    out->shared = gw_meta_get(r, "registry", url, sizeof url) != CMX_ENOENT;
    if (!out->shared)
        return;
    out->stale_after = meta_number(r, "stale_after", GW_STALE_AFTER_S);
    gw_copy_state_read(out, path, meta_number(r, "clock", 0), gw_registry_stored(r));
}

/* If path is a FIFO, SQLite would wait for its writer. If path is missing or is a folder, SQLite's message would not
 * say so. */
static cmx_err check_file(const char *path, struct cmx_why *e)
{
    struct stat st;

    if (stat(path, &st) == 0)
        return S_ISREG(st.st_mode)
                   ? CMX_OK
                   : cmx_why_fail(e, CMX_EFORMAT,
                                  "%s is not a regular file; restore the registry from a backup (docs/GATEWAY.md)",
                                  path);
    if (errno == ENOENT)
        return cmx_why_fail(
            e, CMX_ENOENT,
            "there is no registry %s; set the gateway up with 'cmxsafe gateway init', or restore a backup", path);
    return cmx_why_fail(e, CMX_EPERM, "can't open the registry %s (%s)%s", path, strerror(errno),
                        errno == EACCES ? "; run the command as root" : "");
}

static cmx_err open_tables(struct gw_registry *r, const char *path, bool write, struct cmx_why *e)
{
    int64_t version = 0;
    cmx_err err;

    memset(r, 0, sizeof *r);
    err = check_file(path, e);
    if (err)
        return err;
    err = open_db(r, path, write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY,
                  write ? GW_WRITE_PATIENCE_MS : GW_READ_PATIENCE_MS, e);
    r->writable = write;
    if (!err)
        err = check_version(r, path, &version, e);
    if (!err && version < GW_SCHEMA_VERSION)
        err = write ? upgrade(r, path, e) : upgrade_in_memory(r, version, e);
    return err;
}

/* Sets r->stale. A registry that can't be read is an error and does not count as a stale copy, because the server ends
 * every session if the copy is stale. */
static cmx_err note_staleness(struct gw_registry *r, const char *path, struct cmx_why *e)
{
    struct gw_copy_state state;
    cmx_err err = gw_sql_number(r, NULL, e, "SELECT 1 FROM meta WHERE key = 'registry'", "");

    if (err)
        return err == CMX_ENOENT ? CMX_OK : err;
    gw_registry_copy_state(r, path, &state);
    r->stale = state.left == 0;
    return CMX_OK;
}

static cmx_err open_registry(struct gw_registry *r, const char *path, bool write, bool with_views, struct cmx_why *e)
{
    cmx_err err = open_tables(r, path, write, e);

    if (!err && with_views)
        err = gw_registry_need_views(r, e);
    if (!err && write)
        err = gw_sql_run(r, e, "PRAGMA foreign_keys = ON", "");
    if (!err)
        err = note_staleness(r, path, e);
    if (err)
        gw_registry_close(r);
    return err;
}

cmx_err gw_registry_open(struct gw_registry *r, const char *path, bool write, struct cmx_why *e)
{
    return open_registry(r, path, write, true, e);
}

cmx_err gw_registry_open_tables(struct gw_registry *r, const char *path, struct cmx_why *e)
{
    return open_registry(r, path, false, false, e);
}

static cmx_err fill_new(struct gw_registry *r, struct cmx_why *e)
{
    char sql[64];
    cmx_err err = gw_registry_begin(r, e);

    snprintf(sql, sizeof sql, "PRAGMA application_id = %d", GW_APPLICATION_ID);
    if (!err && sqlite3_exec(r->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        err = gw_sql_failed(r->db, e);
    if (!err)
        err = run_schemas(r, 0, e);
    if (!err)
        err = gw_registry_commit(r, e);
    if (!err)
        err = gw_registry_need_views(r, e);
    return err ? err : gw_sql_run(r, e, "PRAGMA foreign_keys = ON", "");
}

static cmx_err create_file(const char *path, struct cmx_why *e)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0640);
    bool good;

    if (fd < 0)
        return cmx_why_fail(e, errno == EEXIST ? CMX_EEXIST : CMX_EPERM, "can't create %s (%s)", path, strerror(errno));
    good = fchmod(fd, 0640) == 0;
    close(fd);
    return good ? CMX_OK : cmx_why_fail(e, CMX_EPERM, "can't set the mode of %s", path);
}

/* Creates the file under another name and then renames it, so that path never names an incomplete registry, even after
 * an interruption. */
static cmx_err create_whole(struct gw_registry *r, const char *path, struct cmx_why *e)
{
    char new[4200], journal[4200];
    cmx_err err;

    if ((size_t)snprintf(new, sizeof new, "%s.new", path) >= sizeof new ||
        (size_t)snprintf(journal, sizeof journal, "%s-journal", path) >= sizeof journal)
        return cmx_why_fail(e, CMX_EINVAL, "the path of the registry is too long");
    if (unlink(new) != 0 && errno != ENOENT)
        return cmx_why_fail(e, CMX_EPERM, "can't replace %s (%s)", new, strerror(errno));
    err = create_file(new, e);
    if (!err)
        err = open_db(r, new, SQLITE_OPEN_READWRITE, GW_WRITE_PATIENCE_MS, e);
    if (!err)
        err = fill_new(r, e);
    gw_registry_close(r);
    /* A command that was killed may have left the journal of a registry that was removed since. SQLite would apply it
     * to the new registry. */
    if (!err && unlink(journal) != 0 && errno != ENOENT)
        err = cmx_why_fail(e, CMX_EPERM, "can't remove %s (%s)", journal, strerror(errno));
    if (!err && rename(new, path) != 0)
        err = cmx_why_fail(e, CMX_EPERM, "can't create %s (%s)", path, strerror(errno));
    if (err)
        unlink(new);
    return err;
}

cmx_err gw_registry_create(struct gw_registry *r, const char *path, struct cmx_why *e)
{
    cmx_err err;

    memset(r, 0, sizeof *r);
    if (strcmp(path, ":memory:") == 0) { /* SQLite's name for a database in memory, used for a dry run */
        err = open_db(r, path, SQLITE_OPEN_READWRITE, GW_WRITE_PATIENCE_MS, e);
        r->writable = true;
        if (!err)
            err = fill_new(r, e);
        if (err)
            gw_registry_close(r);
        return err;
    }
    if (access(path, F_OK) == 0)
        return cmx_why_fail(e, CMX_EEXIST, "can't create %s (%s)", path, strerror(EEXIST));
    err = create_whole(r, path, e);
    return err ? err : gw_registry_open(r, path, true, e);
}

void gw_registry_close(struct gw_registry *r)
{
    if (r->sharing)
        r->sharing->close(r);
    r->sharing = NULL;
    if (r->db)
        sqlite3_close(r->db);
    r->db = NULL;
}

cmx_err gw_registry_begin_own(struct gw_registry *r, struct cmx_why *e)
{
    return gw_sql_run(r, e, "BEGIN IMMEDIATE", "");
}

cmx_err gw_registry_begin(struct gw_registry *r, struct cmx_why *e)
{
    return r->sharing ? r->sharing->begin(r, false, e) : gw_registry_begin_own(r, e);
}

cmx_err gw_registry_begin_observed(struct gw_registry *r, struct cmx_why *e)
{
    return r->sharing ? r->sharing->begin(r, true, e) : gw_registry_begin_own(r, e);
}

cmx_err gw_registry_commit(struct gw_registry *r, struct cmx_why *e)
{
    cmx_err err = r->sharing ? r->sharing->commit(r, e) : CMX_OK;

    if (!err)
        err = gw_sql_run(r, e, "COMMIT", "");
    if (err)
        gw_registry_rollback(r);
    return err;
}

void gw_registry_rollback(struct gw_registry *r)
{
    if (r->sharing)
        r->sharing->rollback(r);
    if (r->db && !sqlite3_get_autocommit(r->db))
        sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
}

cmx_err gw_registry_end(struct gw_registry *r, cmx_err err, struct cmx_why *e)
{
    if (!err)
        return gw_registry_commit(r, e);
    gw_registry_rollback(r);
    return err;
}

cmx_err gw_registry_check(struct gw_registry *r, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, "PRAGMA integrity_check(1)", "");

    if (!err && strcmp(gw_sql_text(stmt, 0), "ok") != 0)
        err = cmx_why_fail(e, CMX_EFORMAT, "the registry is damaged (%s); restore it from a backup (docs/GATEWAY.md)",
                           gw_sql_text(stmt, 0));
    sqlite3_finalize(stmt);
    return err;
}

/* Removes the incomplete copies that killed backups left behind. A backup that is running has locked its copy. */
static void remove_stale_copies(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        struct stat st;
        int fd = strncmp(entry->d_name, BACKUP_TEMP, strlen(BACKUP_TEMP)) == 0
                     ? openat(dirfd(dir), entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                     : -1;

        if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        if (fd >= 0)
            close(fd);
    }
    if (dir)
        closedir(dir);
}

/* Gives the complete copy its name, unless there is a file of this name. */
static bool name_backup(const char *temp, const char *path)
{
    struct stat st;

    if (renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return true;
    return errno == EINVAL && lstat(path, &st) != 0 &&
           rename(temp, path) == 0; /* the file system has no RENAME_NOREPLACE */
}

/* The copy gets its name only when it is complete. SQLite does not sync the copy, so a power cut could otherwise leave
 * an incomplete one. */
cmx_err gw_registry_backup(struct gw_registry *r, const char *path, struct cmx_why *e)
{
    const char *slash = strrchr(path, '/');
    char folder[4096];
    char temp[4200];
    struct stat st;
    cmx_err err;
    int fd;

    if (strlen(path) >= sizeof folder)
        return cmx_why_fail(e, CMX_EINVAL, "the path of the copy is too long");
    if (lstat(path, &st) == 0)
        return cmx_why_fail(e, CMX_EEXIST, "%s exists; give the name of a new file", path);
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 2, slash ? path : "./");
    snprintf(temp, sizeof temp, "%s" BACKUP_TEMP "XXXXXX", folder);
    remove_stale_copies(folder);
    /* VACUUM INTO accepts an empty file as its target. Create the file here, so that the copy is private from the
     * start. */
    fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return cmx_why_fail(e, CMX_EPERM, "can't create %s (%s)", path, strerror(errno));
    (void)flock(fd, LOCK_EX | LOCK_NB); /* does not conflict with SQLite's locks, which are fcntl's */
    err = gw_sql_run(r, e, "VACUUM INTO ?", "t", temp);
    if (!err && (fsync(fd) != 0 || !name_backup(temp, path)))
        err = cmx_why_fail(e, CMX_EIO, "can't write %s (%s)", path, strerror(errno));
    close(fd);
    if (err)
        unlink(temp);
    return err;
}
