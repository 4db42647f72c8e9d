#include "gateway/registry/grant.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmxsafe/core/text.h"
#include "gateway/registry/event.h"
#include "gateway/registry/plain_text.h"
#include "gateway/registry/term.h"

/* Retires the keys of the consumer ?1 at the time ?2. */
#define RETIRE_KEYS "UPDATE key SET retired = ?2 WHERE consumer = ?1 AND retired IS NULL;"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@/"
#define UNIT_CHARS NAME_CHARS ":\\" /* systemd writes nvr-cam@1.service below system-nvr\x2dcam.slice */

/* Changes a path such as "/a//b/" to "a/b": the packet filter counts the levels of the path, and two spellings of a
 * path would be two consumers. */
static cmx_err canonical_cgroup(struct gw_consumer *c, struct cmx_why *e)
{
    char *out = c->name;

    for (const char *p = c->name; *p;) {
        size_t len;

        p += strspn(p, "/");
        len = strcspn(p, "/");
        if (len && strspn(p, ".") >= len)
            return cmx_why_fail(e, CMX_EINVAL, "'%.80s' is not a cgroup; give its path below /sys/fs/cgroup", p);
        if (len && out > c->name)
            *out++ = '/';
        memmove(out, p, len);
        out += len;
        p += len;
    }
    *out = '\0';
    return c->name[0] ? CMX_OK : cmx_why_fail(e, CMX_EINVAL, "a cgroup needs a path below /sys/fs/cgroup");
}

cmx_err gw_consumer_parse(struct gw_consumer *c, const char *text, struct cmx_why *e)
{
    static const char *const kinds[] = {"user", "group", "cgroup", "platform"};
    const char *colon = strchr(text, ':');
    const char *name = colon ? colon + 1 : text;
    size_t kind_len = colon ? (size_t)(colon - text) : 0;
    bool unit;

    snprintf(c->kind, sizeof c->kind, "%s", "platform");
    for (size_t i = 0; colon; i++) {
        if (i == sizeof kinds / sizeof kinds[0])
            return cmx_why_fail(
                e, CMX_EINVAL,
                "'%.80s' is not a kind of consumer; use user:NAME, group:NAME, cgroup:PATH or platform:NAME", text);
        if (strlen(kinds[i]) == kind_len && strncmp(kinds[i], text, kind_len) == 0) {
            snprintf(c->kind, sizeof c->kind, "%s", kinds[i]);
            break;
        }
    }
    unit = strcmp(c->kind, "cgroup") == 0;
    if (name[0] == '\0' || name[0] == '-' || strspn(name, unit ? UNIT_CHARS : NAME_CHARS) != strlen(name) ||
        cmx_text_copy(c->name, sizeof c->name, name))
        return cmx_why_fail(e, CMX_EINVAL, "'%.80s' is not a valid consumer name; use letters, digits and . _ - @ /%s",
                            name, unit ? " : \\" : "");
    return unit ? canonical_cgroup(c, e) : CMX_OK;
}

bool gw_consumer_is_principal(const struct gw_consumer *c)
{
    return strcmp(c->kind, "platform") == 0 && strchr(c->name, '@') != NULL;
}

cmx_err gw_consumer_id(struct gw_registry *r, const struct gw_consumer *c, int64_t *id, struct cmx_why *e)
{
    return gw_sql_number(r, id, e, "SELECT id FROM consumer WHERE kind = ? AND name = ?", "tt", c->kind, c->name);
}

static cmx_err consumer_add(struct gw_registry *r, const struct gw_consumer *c, int64_t *id, struct cmx_why *e)
{
    cmx_err err = gw_sql_run(r, e, "INSERT INTO consumer(kind, name) VALUES(?, ?)", "tt", c->kind, c->name);

    if (!err)
        *id = sqlite3_last_insert_rowid(r->db);
    return err;
}

static bool has_key(struct gw_registry *r, int64_t consumer, const char *fingerprint)
{
    return gw_sql_number(r, NULL, NULL, "SELECT 1 FROM key WHERE consumer = ? AND fingerprint = ? AND retired IS NULL",
                         "it", consumer, fingerprint) == CMX_OK;
}

/* Sessions, metrics and events have names without a kind, so a device and a platform must not share one. id: the
 * platform's; 0: it is new. A platform that has a key keeps its name. */
static cmx_err check_no_device(struct gw_registry *r, const char *name, int64_t id, struct cmx_why *e)
{
    cmx_err err = gw_sql_number(r, NULL, e,
                                "SELECT 1 FROM device WHERE name = ? AND revoked IS NULL AND NOT EXISTS (SELECT 1 FROM"
                                " key WHERE consumer = ? AND retired IS NULL)",
                                "ti", name, id);

    if (!err)
        return cmx_why_fail(e, CMX_EEXIST, "%s is a device; give the platform another name", name);
    return err == CMX_ENOENT ? CMX_OK : err;
}

static bool is_authority(struct gw_registry *r, const char *name)
{
    return gw_sql_number(r, NULL, NULL, "SELECT 1 FROM authority WHERE name = ?", "t", name) == CMX_OK;
}

cmx_err gw_consumer_set_platform(struct gw_registry *r, const char *name, const struct gw_key *k, gw_outcome *out,
                                 struct cmx_why *e)
{
    struct gw_consumer c = {.kind = "platform"};
    int64_t id = 0;
    cmx_err err = gw_registry_name_check(name, e);

    if (err)
        return err;
    snprintf(c.name, sizeof c.name, "%s", name);
    err = gw_consumer_id(r, &c, &id, e);
    *out = err == CMX_ENOENT ? GW_ADDED : GW_CHANGED;
    if (err == CMX_ENOENT && is_authority(r, name))
        return cmx_why_fail(e, CMX_EEXIST, "%s is a CA; give the platform another name", name);
    if (err == CMX_ENOENT)
        err = consumer_add(r, &c, &id, e);
    if (!err)
        err = check_no_device(r, name, id, e);
    if (err)
        return err;
    if (has_key(r, id, k->fingerprint)) {
        *out = GW_UNCHANGED;
        return CMX_OK;
    }
    err = gw_device_key_is_free(r, k, e);
    /* The platform's identity is derived from its first key, so a later key must not have an earlier or equal time,
     * even if the clock was set back or another gateway's clock is behind. */
    if (!err)
        err = gw_sql_run(r, e,
                         RETIRE_KEYS "INSERT INTO key(consumer, added, fingerprint, type, blob) SELECT ?1, max(?2,"
                                     " coalesce(max(added) + 1, 0)), ?3, ?4, ?5 FROM key WHERE consumer = ?1",
                         "iittt", id, (int64_t)time(NULL), k->fingerprint, k->type, k->blob);
    return err ? err : gw_event(r, "platform", name, k->fingerprint, e);
}

cmx_err gw_consumer_revoke_platform(struct gw_registry *r, const char *name, gw_outcome *out, struct cmx_why *e)
{
    struct gw_consumer c = {.kind = "platform"};
    int64_t id = 0;
    int before = sqlite3_total_changes(r->db);
    cmx_err err;

    if (cmx_text_copy(c.name, sizeof c.name, name))
        return cmx_why_fail(e, CMX_EINVAL, "the name is too long");
    err = gw_consumer_id(r, &c, &id, e);
    if (err == CMX_ENOENT)
        return cmx_why_fail(e, err, "no platform '%.80s'; see 'cmxsafe gateway platform'", name);
    if (!err)
        err = gw_sql_run(
            r, e, RETIRE_KEYS "DELETE FROM grants WHERE consumer = ?1; DELETE FROM group_grants WHERE consumer = ?1",
            "ii", id, (int64_t)time(NULL));
    *out = sqlite3_total_changes(r->db) > before ? GW_CHANGED : GW_UNCHANGED;
    return err || *out == GW_UNCHANGED ? err : gw_event(r, "revoke-platform", name, "", e);
}

cmx_err gw_consumer_each_platform(struct gw_registry *r, gw_consumer_fn fn, void *arg, struct cmx_why *e)
{
    struct gw_consumer c;
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(
        r, &stmt, e,
        "SELECT c.kind, c.name, coalesce(k.fingerprint, '') FROM consumer c LEFT JOIN key k ON k.consumer = c.id AND"
        " k.retired IS NULL WHERE c.kind = 'platform' AND (k.fingerprint IS NOT NULL OR (instr(c.name, '@') > 0 AND"
        " EXISTS (SELECT 1 FROM given_grants WHERE consumer = c.id))) ORDER BY c.name",
        "");

    while (!err) {
        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(c.kind), GW_SQL_ID(c.name)));
        err = gw_sql_next(r, stmt, fn(arg, &c, gw_sql_text(stmt, 2)), e);
    }
    return gw_sql_end(stmt, err);
}

static cmx_err check_port(const struct gw_device *d, uint16_t port, struct cmx_why *e)
{
    if (d->revoked)
        return cmx_why_fail(e, CMX_EINVAL, "%s is revoked", d->name);
    if (d->n_ports == 0)
        return cmx_why_fail(e, CMX_ENOENT, "%s has no ports; add them with 'cmxsafe gateway enroll --ports'", d->name);
    if (port == 0 || gw_device_has_port(d, port))
        return CMX_OK;
    return cmx_why_fail(e, CMX_ENOENT, "%s has no port %u; see 'cmxsafe gateway show %s'", d->name, port, d->name);
}

/* Checks "P@CA": P is not empty, the whole name is short enough, and the CA is registered. */
static cmx_err check_principal(struct gw_registry *r, const struct gw_consumer *c, struct cmx_why *e)
{
    const char *authority = strrchr(c->name, '@') + 1;

    if (c->name[0] == '@' || strlen(c->name) >= GW_NAME_MAX)
        return cmx_why_fail(e, CMX_EINVAL,
                            "'%.80s' is not a valid principal; give PRINCIPAL@CA with at most %d characters", c->name,
                            GW_NAME_MAX - 1);
    return is_authority(r, authority)
               ? CMX_OK
               : cmx_why_fail(e, CMX_ENOENT, "no CA '%s'; register it with 'cmxsafe gateway platform %s --ca FILE'",
                              authority, authority);
}

static cmx_err find_consumer(struct gw_registry *r, const struct gw_consumer *c, bool add, int64_t *id,
                             struct cmx_why *e)
{
    cmx_err err = gw_consumer_id(r, c, id, e);

    if (gw_consumer_is_principal(c) && add && (!err || err == CMX_ENOENT)) {
        cmx_err checked = check_principal(r, c, e);
        if (checked)
            return checked;
    }
    if (err != CMX_ENOENT)
        return err;
    if (gw_consumer_is_principal(c))
        return add ? consumer_add(r, c, id, e) : CMX_ENOENT;
    if (strcmp(c->kind, "platform") == 0)
        return cmx_why_fail(
            e, err,
            "no platform '%.80s'; register it with 'cmxsafe gateway platform', or give 'user:NAME' for a local user",
            c->name);
    return add ? consumer_add(r, c, id, e) : CMX_ENOENT;
}

cmx_err gw_consumer_note(struct gw_registry *r, const struct gw_consumer *c, struct cmx_why *e)
{
    int64_t id;

    return find_consumer(r, c, true, &id, e);
}

/* Adds an audit entry with the consumer ("user:alice"), the target ("cam-17:81", or "cam-17" for all ports of the
 * device) and the terms of the grant. */
static cmx_err grant_event(struct gw_registry *r, const char *what, const struct gw_consumer *c, const char *device,
                           uint16_t port, const char *more, struct cmx_why *e)
{
    char who[sizeof c->kind + sizeof c->name + 1];
    char target[GW_NAME_MAX + GW_WHY_MAX + 80];

    snprintf(who, sizeof who, "%s:%s", c->kind, c->name);
    if (port)
        snprintf(target, sizeof target, "%s:%u%s", device, port, more);
    else
        snprintf(target, sizeof target, "%s%s", device, more);
    return gw_event(r, what, who, target, e);
}

/* ---- terms of a grant ---- */

/* The terms of a grant as the registry stores them. now.wall is stored in the column `given`, now.boot in `boot`. */
struct stored_terms {
    struct gw_now now;
    int64_t ends;
    int64_t boot_ends;
    int64_t glass;
    const char *why;
};

cmx_err gw_grant_check_why(const char *why, struct cmx_why *e)
{
    if (why[0] && why[strspn(why, " ")] == '\0')
        return cmx_why_fail(e, CMX_EINVAL, "the reason is blank");
    return gw_text_check("the reason", why, GW_WHY_MAX - 1, e);
}

static cmx_err check_terms(const struct gw_grant_terms *t, const struct gw_now *now, int64_t *ends, struct cmx_why *e)
{
    const char *why = t->why ? t->why : "";

    if (t->length_s && t->until)
        return cmx_why_fail(e, CMX_EINVAL, "give --for or --until, not both");
    *ends = t->length_s ? now->wall + t->length_s : t->until;
    if (*ends && (*ends <= now->wall || *ends - now->wall > GW_TERM_MAX_S))
        return cmx_why_fail(e, CMX_EINVAL,
                            "a grant must end in the future and within ten years; give another time, in UTC");
    if (t->break_glass && (!*ends || !why[0]))
        return cmx_why_fail(e, CMX_EINVAL,
                            "a break-glass grant needs an end and a reason; give --for or --until, and --why");
    return gw_grant_check_why(why, e);
}

static cmx_err store_terms(struct stored_terms *s, const struct gw_grant_terms *t, struct cmx_why *e)
{
    static const struct gw_grant_terms none = {0};
    cmx_err err;

    t = t ? t : &none;
    gw_now(&s->now);
    err = check_terms(t, &s->now, &s->ends, e);
    s->boot_ends = s->ends ? s->now.boot_s + (s->ends - s->now.wall) : 0;
    s->glass = t->break_glass;
    s->why = t->why ? t->why : "";
    return err;
}

/* Writes " until 2026-11-28 18:30:00Z even in quarantine because REASON", each part only if the terms have it. */
static void terms_text(const struct stored_terms *s, char *out, size_t cap)
{
    char when[40] = "";
    time_t ends = (time_t)s->ends;
    struct tm tm;

    if (s->ends && gmtime_r(&ends, &tm))
        (void)strftime(when, sizeof when, " until %Y-%m-%d %H:%M:%SZ", &tm); /* always fits */
    snprintf(out, cap, "%s%s%s%s", when, s->glass ? " even in quarantine" : "", s->why[0] ? " because " : "", s->why);
}

/* Also stores the same end again if the clock was set since the grant was given: the stored beginning and the end on
 * the boot clock (term.h) are then wrong. */
#define OTHER_TERMS                                                                                                    \
    " WHERE ends <> excluded.ends OR glass <> excluded.glass OR why <> excluded.why OR (ends <> 0 AND"                 \
    " (given > excluded.given OR (boot = excluded.boot AND abs(boot_ends - excluded.boot_ends) > 2)))"
#define NEW_TERMS                                                                                                      \
    " DO UPDATE SET given = excluded.given, ends = excluded.ends, boot = excluded.boot,"                               \
    " boot_ends = excluded.boot_ends, glass = excluded.glass, why = excluded.why" OTHER_TERMS

static cmx_err set_device(struct gw_registry *r, int64_t consumer, const char *device, uint16_t port,
                          const struct stored_terms *s, struct cmx_why *e)
{
    struct gw_device d;
    cmx_err err = gw_device_get(r, device, &d, e);

    if (!err)
        err = check_port(&d, port, e);
    return err ? err
               : gw_sql_run(r, e,
                            "INSERT INTO grants(consumer, device, port, given, ends, boot, boot_ends, glass, why)"
                            " SELECT ?1, device, port, ?4, ?5, ?6, ?7, ?8, ?9 FROM port WHERE device = ?2 AND"
                            " (?3 = 0 OR port = ?3) ON CONFLICT(consumer, device, port)" NEW_TERMS,
                            "iiiiitiit", consumer, d.id, (int64_t)port, s->now.wall, s->ends, s->now.boot, s->boot_ends,
                            s->glass, s->why);
}

static cmx_err set_group_grant(struct gw_registry *r, int64_t consumer, const char *group, uint16_t port,
                               const struct stored_terms *s, struct cmx_why *e)
{
    cmx_err err = gw_registry_name_check(group, e);

    return err ? err
               : gw_sql_run(r, e,
                            "INSERT INTO group_grants(consumer, team, port, given, ends, boot, boot_ends, glass, why)"
                            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(consumer, team, port)" NEW_TERMS,
                            "itiiitiit", consumer, group, (int64_t)port, s->now.wall, s->ends, s->now.boot,
                            s->boot_ends, s->glass, s->why);
}

/* If a step fails after the consumer was added, the caller's rollback also removes the consumer. */
cmx_err gw_grant_set(struct gw_registry *r, const struct gw_consumer *c, const char *device, uint16_t port,
                     const struct gw_grant_terms *terms, gw_outcome *out, struct cmx_why *e)
{
    struct stored_terms s;
    char more[GW_WHY_MAX + 80];
    int64_t id = 0;
    cmx_err err = store_terms(&s, terms, e);

    *out = GW_UNCHANGED;
    if (!err)
        err = find_consumer(r, c, true, &id, e);
    if (!err)
        err =
            device[0] == '@' ? set_group_grant(r, id, device + 1, port, &s, e) : set_device(r, id, device, port, &s, e);
    if (err || sqlite3_changes(r->db) == 0)
        return err;
    *out = GW_CHANGED;
    terms_text(&s, more, sizeof more);
    err = gw_grant_note_time(r, false, e);
    return err ? err : grant_event(r, s.glass ? "break-glass" : "grant", c, device, port, more, e);
}

cmx_err gw_grant_remove(struct gw_registry *r, const struct gw_consumer *c, const char *device, uint16_t port,
                        gw_outcome *out, struct cmx_why *e)
{
    struct gw_device d;
    int64_t id = 0;
    cmx_err err = device[0] == '@' ? gw_registry_name_check(device + 1, e) : gw_device_get(r, device, &d, e);

    *out = GW_UNCHANGED;
    if (err)
        return err;
    err = find_consumer(r, c, false, &id, e);
    if (err == CMX_ENOENT && (strcmp(c->kind, "platform") != 0 || gw_consumer_is_principal(c)))
        return CMX_OK;
    if (!err && device[0] == '@')
        err = gw_sql_run(r, e, "DELETE FROM group_grants WHERE consumer = ?1 AND team = ?2 AND (?3 = 0 OR port = ?3)",
                         "iti", id, device + 1, (int64_t)port);
    else if (!err)
        err = gw_sql_run(r, e, "DELETE FROM grants WHERE consumer = ?1 AND device = ?2 AND (?3 = 0 OR port = ?3)",
                         "iii", id, d.id, (int64_t)port);
    if (err || sqlite3_changes(r->db) == 0)
        return err;
    *out = GW_CHANGED;
    return grant_event(r, "ungrant", c, device, port, "", e);
}

cmx_err gw_grant_each(struct gw_registry *r, gw_grant_fn fn, void *arg, struct cmx_why *e)
{
    struct gw_grant p;
    sqlite3_stmt *stmt;
    /* Several grants may permit a service. Report the one that lasts longest: one without an end or, if each has an
     * end, the one that ends last. */
    cmx_err err = gw_sql_row(r, &stmt, e,
                             "SELECT c.kind, c.name, d.name, coalesce(d.address, ''), p.port,"
                             " iif(min(p.ends_in), max(p.ends_in), 0), c.id FROM active_grants p JOIN consumer c ON "
                             "c.id = p.consumer JOIN device d ON d.id = p.device"
                             " WHERE NOT ? AND d.revoked IS NULL"
                             " GROUP BY c.kind, c.name, d.name, p.port ORDER BY c.kind, c.name, d.name, p.port",
                             "i", (int64_t)r->stale);

    while (!err) {
        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(p.consumer.kind), GW_SQL_ID(p.consumer.name), GW_SQL_ID(p.device),
                                            GW_SQL_ID(p.address), GW_SQL_PORT(&p.port), GW_SQL_NUMBER(&p.ends_in),
                                            GW_SQL_NUMBER(&p.consumer_id)));
        err = gw_sql_next(r, stmt, fn(arg, &p), e);
    }
    return gw_sql_end(stmt, err);
}

/* Selects all grants, with the columns that read_record reads. */
#define RECORDS                                                                                                        \
    "SELECT * FROM (SELECT c.kind, c.name, coalesce(d.name, '@' || g.team) AS target, g.port, g.ends, g.left,"         \
    " g.glass, g.why FROM given_grants g JOIN consumer c ON c.id = g.consumer LEFT JOIN device d ON d.id = g.device"   \
    " WHERE d.revoked IS NULL)"

static void read_record(sqlite3_stmt *stmt, struct gw_grant_record *g)
{
    gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(g->consumer.kind), GW_SQL_ID(g->consumer.name), GW_SQL_ID(g->target),
                                        GW_SQL_PORT(&g->port), GW_SQL_NUMBER(&g->ends), GW_SQL_NUMBER(&g->left),
                                        GW_SQL_FLAG(&g->break_glass), GW_SQL_TEXT(g->why)));
    if (g->left < 0)
        g->left = 0;
}

cmx_err gw_grant_record_each(struct gw_registry *r, gw_grant_record_fn fn, void *arg, struct cmx_why *e)
{
    struct gw_grant_record g;
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, RECORDS " ORDER BY kind, name, target, port", "");

    while (!err) {
        read_record(stmt, &g);
        err = gw_sql_next(r, stmt, fn(arg, &g), e);
    }
    return gw_sql_end(stmt, err);
}

cmx_err gw_grant_is_active(struct gw_registry *r, const struct gw_consumer *c, int64_t device, uint16_t port,
                           bool *active, struct cmx_why *e)
{
    int64_t exists = 0;
    cmx_err err = gw_sql_number(r, &exists, e,
                                "SELECT EXISTS(SELECT 1 FROM active_grants p JOIN consumer c ON c.id = p.consumer WHERE"
                                " NOT ?5 AND c.kind = ?1 AND c.name = ?2 AND p.device = ?3 AND p.port = ?4)",
                                "ttiii", c->kind, c->name, device, (int64_t)port, (int64_t)r->stale);

    *active = exists != 0;
    return err;
}

cmx_err gw_grant_record_get(struct gw_registry *r, const struct gw_consumer *c, const char *device, uint16_t port,
                            struct gw_grant_record *out, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, RECORDS " WHERE kind = ? AND name = ? AND target = ? AND port = ?", "ttti",
                             c->kind, c->name, device, (int64_t)port);

    if (!err)
        read_record(stmt, out);
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_grant_next_end(struct gw_registry *r, bool ended, int64_t *left, struct cmx_why *e)
{
    return gw_sql_number(
        r, left, e,
        "SELECT min(max(left, 0)) FROM (SELECT left FROM given_grants WHERE ends <> 0 UNION ALL SELECT " GW_SQL_LEFT
        " FROM evidence WHERE trusted = 1) WHERE ? OR left > 0",
        "i", (int64_t)ended);
}

cmx_err gw_grant_note_time(struct gw_registry *r, bool forward, struct cmx_why *e)
{
    int64_t left;
    cmx_err err = gw_grant_next_end(r, true, &left, e);

    if (err)
        return err == CMX_ENOENT ? CMX_OK : err;
    return gw_sql_run(r, e,
                      "INSERT INTO meta(key, value) VALUES('clock', ?1) ON CONFLICT(key) DO UPDATE SET value = ?1"
                      " WHERE ?2 = 0 OR CAST(value AS INTEGER) < ?1",
                      "ii", (int64_t)time(NULL), (int64_t)forward);
}

cmx_err gw_grant_expire(struct gw_registry *r, size_t *n, struct cmx_why *e)
{
    struct gw_grant_record g;
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, RECORDS " WHERE ends <> 0 AND left < 0", "");

    for (*n = 0; !err; (*n)++) {
        read_record(stmt, &g);
        err = gw_sql_next(r, stmt, grant_event(r, "expire", &g.consumer, g.target, g.port, "", e), e);
    }
    err = gw_sql_end(stmt, err);
    /* Evidence that is too old remains stored as the device's last verdict, but never counts again. */
    if (!err)
        err = gw_sql_run(r, e,
                         "DELETE FROM grants WHERE ends <> 0 AND " GW_SQL_LEFT " < 0;"
                         "DELETE FROM group_grants WHERE ends <> 0 AND " GW_SQL_LEFT " < 0;"
                         "UPDATE evidence SET trusted = 0, reason = 'its evidence is older than the policy allows'"
                         " WHERE trusted = 1 AND " GW_SQL_LEFT " < 0",
                         "");
    if (err)
        return err;
    *n += (size_t)sqlite3_changes(r->db);
    return gw_grant_note_time(r, true, e);
}
