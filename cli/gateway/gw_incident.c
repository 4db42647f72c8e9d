#include "cli/gateway/gw_incident.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/gateway/gw_connected.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "gateway/folder/gw_copy.h"
#include "gateway/registry/event.h"
#include "gateway/registry/list.h"
#include "gateway/registry/party.h"
#include "gateway/registry/term.h"

void gw_incident_add(struct gw_incidents *w, bool conflict, const char *name, const char *detail)
{
    struct gw_incident *x;

    if (w->n == GW_INCIDENTS_MAX)
        return;
    x = &w->list[w->n++];
    x->conflict = conflict;
    snprintf(x->name, sizeof x->name, "%s", name);
    snprintf(x->detail, sizeof x->detail, "%s", detail);
}

/* Writes an event unless one of the last 1,000 events is the same and was written in the last GW_INCIDENT_PAUSE_S
 * seconds. An event far in the future does not count: the clock was wrong, and was set back. */
static cmx_err write_once(struct gw *g, const char *what, const char *who, const char *detail, struct cmx_why *e)
{
    cmx_err err = gw_sql_number(&g->registry, NULL, e,
                                "SELECT 1 FROM (SELECT * FROM event ORDER BY id DESC LIMIT 1000) WHERE what = ? AND"
                                " who = ? AND detail = ? AND abs(at - ?) < ?",
                                "tttii", what, who, detail, (int64_t)time(NULL), (int64_t)GW_INCIDENT_PAUSE_S);

    return err == CMX_ENOENT ? gw_event(&g->registry, what, who, detail, e) : err;
}

/* ---- grants that ended ---- */

/* Finds the device that the text "HOST PORT" names. */
static cmx_err find_target(struct gw *g, const char *text, struct gw_device *d, unsigned *port)
{
    char host[GW_NAME_MAX];

    return sscanf(text, "%63s %u", host, port) == 2 ? gw_device_find_host(&g->registry, host, d) : CMX_EFORMAT;
}

/* True if the grant covered port of d. grant: the grant's target in the audit trail, such as "cam-17:81", "@cameras" or
 * "@cameras:81". */
static bool covers(const char *grant, const struct gw_device *d, unsigned port)
{
    char text[GW_TARGET_MAX];

    snprintf(text, sizeof text, "%s:%u", d->name, port);
    if (strcmp(grant, text) == 0)
        return true;
    if (grant[0] != '@' || !d->group[0])
        return false;
    snprintf(text, sizeof text, "%s:%u", d->group, port);
    return strcmp(grant + 1, d->group) == 0 || strcmp(grant + 1, text) == 0;
}

/* True if source is the consumer `who`. source: an identity, or a platform's name. who: "KIND:NAME". */
static bool is_consumer(struct gw *g, const char *who, const char *source)
{
    char address[GW_ADDRESS_MAX];
    struct gw_consumer c;

    if (gw_consumer_parse(&c, who, NULL))
        return false;
    if (strcmp(c.kind, "platform") == 0 && strcmp(c.name, source) == 0)
        return true;
    return !g->simple && gw_party_identity(&g->registry, &g->fleet, &c, address, NULL) == CMX_OK &&
           strcmp(address, source) == 0;
}

/* Reads only the last 100,000 events: the audit trail of a large fleet has millions after some years, and commands wait
 * meanwhile. */
static cmx_err write_refusal(struct gw *g, const struct gw_incident *x, struct cmx_why *e)
{
    char who[GW_CONSUMER_MAX + 16] = "";
    char grant[GW_TARGET_MAX] = "";
    struct gw_device d;
    unsigned port = 0;
    sqlite3_stmt *stmt;
    cmx_err err;

    if (find_target(g, x->detail, &d, &port))
        return CMX_OK; /* the refused target is not a device of this registry */
    err = gw_sql_row(&g->registry, &stmt, e,
                     "SELECT DISTINCT who, detail FROM (SELECT * FROM event ORDER BY id DESC LIMIT 100000)"
                     " WHERE what = 'expire' AND at > ? ORDER BY id DESC LIMIT 1000",
                     "i", (int64_t)time(NULL) - GW_INCIDENT_GRANT_S);
    for (; !err && !who[0]; err = gw_sql_step(&g->registry, stmt, e))
        if (covers(gw_sql_text(stmt, 1), &d, port) && is_consumer(g, gw_sql_text(stmt, 0), x->name)) {
            gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(who)));
            snprintf(grant, sizeof grant, "%s:%u", d.name, port);
        }
    err = gw_sql_end(stmt, err);
    if (err)
        return err;
    return who[0] ? write_once(g, "used-after-end", who, grant, e) : CMX_OK;
}

cmx_err gw_incidents_write(struct gw_incidents *w, struct gw *g, struct cmx_why *e)
{
    cmx_err err = CMX_OK;

    for (size_t i = 0; !err && i < w->n; i++) {
        const struct gw_incident *x = &w->list[i];
        err = x->conflict ? write_once(g, "key-conflict", x->name, x->detail, e) : write_refusal(g, x, e);
    }
    return err;
}

/* ---- devices that are away ---- */

static int64_t away_after(struct gw *g)
{
    char text[24];
    uint64_t s;

    if (gw_meta_get(&g->registry, GW_AWAY_KEY, text, sizeof text))
        snprintf(text, sizeof text, GW_AWAY_DEFAULT);
    return cmx_text_u64(text, 0, GW_TERM_MAX_S, &s) == CMX_OK ? (int64_t)s : 0;
}

/* Devices that were last seen longer ago than the limit. SQL arguments: the current time and the limit. A time that is
 * further in the future than the limit counts too: the clock was wrong, and was set back. If another gateway has
 * claimed a device, that gateway reports it, unless that gateway itself has been away for as long. */
#define AWAY                                                                                                           \
    " FROM device d JOIN seen s ON s.device = d.id WHERE d.revoked IS NULL AND s.told = 0 AND s.source <> '' AND"      \
    " abs(s.at - ?1) >= ?2 AND NOT EXISTS (SELECT 1 FROM claim c JOIN node_state n ON n.node = c.node WHERE"           \
    " c.address = d.address AND abs(n.seen - ?1) < ?2 AND"                                                             \
    " c.node <> coalesce((SELECT value FROM meta WHERE key = 'node'), '')) ORDER BY d.name"

bool gw_incident_away_due(struct gw *g, int64_t watched_s)
{
    int64_t after = away_after(g);
    struct gw_copy_state copy;

    gw_copy_look(g, &copy);
    return after && watched_s >= after && gw_copy_state_good(&copy) &&
           gw_sql_number(&g->registry, NULL, NULL, "SELECT 1" AWAY, "ii", (int64_t)time(NULL), after) == CMX_OK;
}

struct away {
    int64_t device;
    char name[GW_NAME_MAX];
};

static cmx_err write_away(struct gw *g, const struct away *a, int64_t after, struct cmx_why *e)
{
    char length[GW_LENGTH_TEXT_MAX];
    char detail[64];
    cmx_err err = gw_sql_run(&g->registry, e, "UPDATE seen SET told = 1 WHERE device = ?", "i", a->device);

    gw_term_length_text(after, length);
    snprintf(detail, sizeof detail, "for longer than %s", length);
    return err ? err : gw_event(&g->registry, "offline", a->name, detail, e);
}

cmx_err gw_incident_write_away(struct gw *g, char *status, struct cmx_why *e)
{
    int64_t after = away_after(g);
    struct gw_connected connected = {0};
    struct away *list = NULL;
    struct away x;
    size_t n = 0, cap = 0;
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(&g->registry, &stmt, e, "SELECT d.id, d.name" AWAY, "ii", (int64_t)time(NULL), after);

    gw_connected_parse(&connected, status);
    for (; !err; err = gw_sql_step(&g->registry, stmt, e)) {
        if (gw_connected_has(&connected, gw_sql_text(stmt, 1)))
            continue;
        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_NUMBER(&x.device), GW_SQL_ID(x.name)));
        if (gw_list_add(&list, &n, &cap, &x, sizeof x))
            break; /* out of memory: the next call handles the others */
    }
    err = gw_sql_end(stmt, err);
    gw_connected_free(&connected);
    for (size_t i = 0; !err && i < n; i++)
        err = write_away(g, &list[i], after, e);
    cmx_mem_free(list);
    return err;
}
