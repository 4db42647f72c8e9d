#include "gateway/registry/campaign.h"
#include "gateway/registry/event.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const campaign_states[] = {"active", "paused", "stopped", "done"};
static const char *const update_states[GW_UPDATE_STATES] = {"waiting", "begun", "attesting", "done", "failed"};

const char *gw_campaign_state_text(gw_campaign_state s)
{
    return campaign_states[s];
}

const char *gw_update_state_text(gw_update_state s)
{
    return update_states[s];
}

static int find_text(const char *const *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], text) == 0)
            return (int)i;
    return -1;
}

/* ---- campaigns ---- */

cmx_err gw_campaign_add(struct gw_registry *r, struct gw_campaign *c, struct cmx_why *e)
{
    char detail[GW_CAMPAIGN_DETAIL_MAX];
    char manifests[GW_CAMPAIGN_MANIFESTS_MAX * (CMX_SHA256_HEX + 1)] = "";
    size_t len = 0;
    cmx_err err = gw_registry_name_check(c->name, e);

    for (size_t i = 0; i < c->n_manifests; i++)
        len += (size_t)snprintf(manifests + len, sizeof manifests - len, "%s ", c->manifests[i]);
    if (err)
        return err;
    c->made = (int64_t)time(NULL);
    err = gw_sql_run(r, e,
                     "INSERT INTO campaign(name, state, reason, image, version, opaque, manifests, begins, made,"
                     " parallel, first, stop_at, port) VALUES(?, 'active', '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                     "tttitiiiiii", c->name, c->image, c->version, (int64_t)c->opaque, manifests, c->begins, c->made,
                     (int64_t)c->pace.parallel, (int64_t)c->pace.first, (int64_t)c->pace.stop_at, c->port);
    if (err == CMX_EEXIST)
        return cmx_why_fail(e, err, "there is a campaign '%s' already; choose another name", c->name);
    if (err)
        return err;
    c->id = sqlite3_last_insert_rowid(r->db);
    snprintf(detail, sizeof detail, "version %s", c->version);
    return gw_event(r, "campaign", c->name, detail, e);
}

/* Looks for a device with an id from `first` to `last` that two campaigns still have to update: `campaign` and
 * another one that is not stopped. CMX_EEXIST: there is such a device. */
static cmx_err check_devices_free(struct gw_registry *r, int64_t campaign, int64_t first, int64_t last,
                                  struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e,
                             "SELECT d.name, c.name FROM campaign_device mine JOIN device d ON d.id = mine.device"
                             " JOIN campaign_device u ON u.device = mine.device AND u.campaign <> mine.campaign"
                             " JOIN campaign c ON c.id = u.campaign WHERE mine.campaign = ?1 AND"
                             " mine.device BETWEEN ?2 AND ?3 AND mine.state <> 'done' AND d.revoked IS NULL AND"
                             " u.state NOT IN ('done', 'failed') AND c.state <> 'stopped'",
                             "iii", campaign, first, last);

    if (!err)
        err = cmx_why_fail(e, CMX_EEXIST, "'%.80s' is in the campaign '%.80s', which is not done; stop that one first",
                           gw_sql_text(stmt, 0), gw_sql_text(stmt, 1));
    sqlite3_finalize(stmt);
    return err == CMX_ENOENT ? CMX_OK : err;
}

cmx_err gw_campaign_add_device(struct gw_registry *r, const struct gw_campaign *c, const struct gw_device *d,
                               struct cmx_why *e)
{
    cmx_err err = gw_sql_run(
        r, e,
        "INSERT OR IGNORE INTO campaign_device(campaign, device, place, state, boot, tries, at, detail)"
        " VALUES(?1, ?2, (SELECT count(*) FROM campaign_device WHERE campaign = ?1), 'waiting', '', 0, 0, '')",
        "ii", c->id, d->id);

    return err ? err : check_devices_free(r, c->id, d->id, d->id, e);
}

#define CAMPAIGN_COLUMNS                                                                                               \
    "SELECT id, name, reason, image, version, opaque, begins, made, port, parallel, first, stop_at, state, manifests"  \
    " FROM campaign "

static cmx_err read_counts(struct gw_registry *r, struct gw_campaign *c, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e,
                             "SELECT u.state, count(*) FROM campaign_device u JOIN device d ON d.id = u.device"
                             " WHERE u.campaign = ? AND d.revoked IS NULL GROUP BY u.state",
                             "i", c->id);

    while (!err) {
        int state = find_text(update_states, GW_UPDATE_STATES, gw_sql_text(stmt, 0));
        if (state >= 0)
            c->count[state] = sqlite3_column_int64(stmt, 1);
        err = gw_sql_step(r, stmt, e);
    }
    return gw_sql_end(stmt, err);
}

static void read_manifests(struct gw_campaign *c, const char *text)
{
    for (; *text && c->n_manifests < GW_CAMPAIGN_MANIFESTS_MAX; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");

        snprintf(c->manifests[c->n_manifests++], CMX_SHA256_HEX, "%.*s", (int)len, text);
        text += len;
    }
}

static cmx_err read_campaign(struct gw_registry *r, sqlite3_stmt *stmt, struct gw_campaign *c, struct cmx_why *e)
{
    int state = find_text(campaign_states, sizeof campaign_states / sizeof campaign_states[0], gw_sql_text(stmt, 12));

    memset(c, 0, sizeof *c);
    gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_NUMBER(&c->id), GW_SQL_ID(c->name), GW_SQL_TEXT(c->reason),
                                        GW_SQL_ID(c->image), GW_SQL_TEXT(c->version), GW_SQL_FLAG(&c->opaque),
                                        GW_SQL_NUMBER(&c->begins), GW_SQL_NUMBER(&c->made), GW_SQL_NUMBER(&c->port)));
    c->pace.parallel = (uint64_t)sqlite3_column_int64(stmt, 9);
    c->pace.first = (uint64_t)sqlite3_column_int64(stmt, 10);
    c->pace.stop_at = (uint64_t)sqlite3_column_int64(stmt, 11);
    c->state = state < 0 ? GW_CAMPAIGN_STOPPED : (gw_campaign_state)state;
    read_manifests(c, gw_sql_text(stmt, 13));
    return read_counts(r, c, e);
}

cmx_err gw_campaign_get(struct gw_registry *r, const char *name, struct gw_campaign *c, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, CAMPAIGN_COLUMNS "WHERE name = ?", "t", name);

    if (err == CMX_ENOENT)
        cmx_why_set(e, "there is no campaign '%.80s'; see 'cmxsafe gateway campaign list'", name);
    if (!err)
        err = read_campaign(r, stmt, c, e);
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_campaign_each(struct gw_registry *r, gw_campaign_fn fn, void *arg, struct cmx_why *e)
{
    struct gw_campaign c;
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, CAMPAIGN_COLUMNS "ORDER BY id", "");

    while (!err) {
        err = read_campaign(r, stmt, &c, e);
        if (!err)
            err = gw_sql_next(r, stmt, fn(arg, &c), e);
    }
    return gw_sql_end(stmt, err);
}

cmx_err gw_campaign_set(struct gw_registry *r, const struct gw_campaign *c, gw_campaign_state state, const char *reason,
                        struct cmx_why *e)
{
    char what[32];
    bool again = state == GW_CAMPAIGN_ACTIVE && c->state == GW_CAMPAIGN_STOPPED;
    cmx_err err = again ? check_devices_free(r, c->id, 0, INT64_MAX, e) : CMX_OK;

    if (!err)
        err = gw_sql_run(r, e, "UPDATE campaign SET state = ?, reason = ? WHERE id = ?", "tti", campaign_states[state],
                         reason, c->id);
    if (!err && again)
        err = gw_sql_run(r, e,
                         "UPDATE campaign_device SET state = CASE WHEN boot = '' THEN 'waiting' ELSE 'begun' END,"
                         " tries = 0 WHERE campaign = ? AND state = 'failed'",
                         "i", c->id);
    snprintf(what, sizeof what, "campaign-%s", campaign_states[state]);
    return err ? err : gw_event(r, what, c->name, reason, e);
}

cmx_err gw_campaign_remove(struct gw_registry *r, const char *name, struct cmx_why *e)
{
    struct gw_campaign c;
    cmx_err err = gw_campaign_get(r, name, &c, e);

    if (err)
        return err;
    if (c.state != GW_CAMPAIGN_STOPPED && c.state != GW_CAMPAIGN_DONE)
        return cmx_why_fail(e, CMX_EBUSY, "the campaign is %s; stop it first", campaign_states[c.state]);
    err = gw_sql_run(r, e, "DELETE FROM campaign_device WHERE campaign = ?1; DELETE FROM campaign WHERE id = ?1", "i",
                     c.id);
    return err ? err : gw_event(r, "campaign-removed", name, "", e);
}

/* ---- devices of a campaign ---- */

static void read_update(sqlite3_stmt *stmt, struct gw_update *u)
{
    int state = find_text(update_states, GW_UPDATE_STATES, gw_sql_text(stmt, 7));

    memset(u, 0, sizeof *u);
    gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_NUMBER(&u->device), GW_SQL_ID(u->name), GW_SQL_ID(u->address),
                                        GW_SQL_ID(u->boot), GW_SQL_NUMBER(&u->tries), GW_SQL_NUMBER(&u->at),
                                        GW_SQL_TEXT(u->detail)));
    u->state = u->stored = state < 0 ? GW_UPDATE_FAILED : (gw_update_state)state;
}

cmx_err gw_update_each(struct gw_registry *r, int64_t campaign, gw_update_fn fn, void *arg, struct cmx_why *e)
{
    struct gw_update u;
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e,
                             "SELECT d.id, d.name, coalesce(d.address, ''), u.boot, u.tries, u.at, u.detail,"
                             " u.state FROM campaign_device u JOIN device d ON d.id = u.device WHERE"
                             " u.campaign = ? AND d.revoked IS NULL ORDER BY u.place",
                             "i", campaign);

    while (!err) {
        read_update(stmt, &u);
        err = gw_sql_next(r, stmt, fn(arg, &u), e);
    }
    return gw_sql_end(stmt, err);
}

cmx_err gw_update_set(struct gw_registry *r, const struct gw_campaign *c, const struct gw_update *u, struct cmx_why *e)
{
    char detail[GW_NAME_MAX + GW_CAMPAIGN_DETAIL_MAX + 4];
    cmx_err err = gw_sql_run(r, e,
                             "UPDATE campaign_device SET state = ?, boot = ?, tries = ?, at = ?, detail = ? WHERE"
                             " campaign = ? AND device = ? AND state = ?",
                             "ttiitiit", update_states[u->state], u->boot, u->tries, (int64_t)time(NULL), u->detail,
                             c->id, u->device, update_states[u->stored]);

    if (err || sqlite3_changes(r->db) == 0 || (u->state != GW_UPDATE_DONE && u->state != GW_UPDATE_FAILED))
        return err;
    snprintf(detail, sizeof detail, "%s: %s", c->name, u->detail);
    return gw_event(r, u->state == GW_UPDATE_DONE ? "updated" : "update-failed", u->name, detail, e);
}

/* ---- pace of updates ---- */

bool gw_pace_may_start(const struct gw_pace *p, uint64_t done, uint64_t running)
{
    if (done < p->first)
        return running == 0;
    return running < p->parallel;
}

bool gw_pace_must_stop(const struct gw_pace *p, uint64_t done, uint64_t failed)
{
    if (failed == 0)
        return false;
    if (p->first && done <= p->first)
        return true;
    return p->stop_at < 100 && failed * 100 >= p->stop_at * done;
}
