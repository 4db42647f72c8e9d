#include "gateway/server/gw_expiry.h"

#include <sys/stat.h>

#include "cmxsafe/port/port.h"
#include "gateway/registry/copy_state.h"
#include "gateway/server/gw_apply.h"
#include "gateway/server/gw_note.h"

/* While any grant or evidence has an end, the current time is stored in the registry at this interval. */
#define NOTE_MS 60000
#define RETRY_MS 1000
/* The wait for a commit must be short. No other process can begin to read during the wait, and a login that has to wait
 * for longer than GW_READ_PATIENCE_MS is refused. The caller also has to watch the rules. */
#define COMMIT_PATIENCE_MS (GW_READ_PATIENCE_MS / 2)

/* Computes when the rules must be rendered again: when the next grant or evidence ends or, if this is earlier, when the
 * copy becomes stale. The copy does not become stale if PostgreSQL confirms it before then. */
static bool read_next(struct gw_expiry *x, struct gw *g)
{
    struct gw_copy_state copy;
    struct gw_registry r;
    struct cmx_why e = {0};
    char path[GW_PATH_MAX];
    int64_t left = 0;
    cmx_err err = gw_registry_open(&r, gw_path(g, "registry.db", path), false, &e);

    if (err)
        return false;
    gw_registry_copy_state(&r, path, &copy);
    err = gw_grant_next_end(&r, !copy.shared, &left, &e);
    gw_registry_close(&r);
    /* If the copy became stale after the rules were rendered, copy.left is 0, so that the rules are rendered again at
     * once. */
    x->closed = x->closed && copy.shared && copy.left == 0;
    if (copy.shared && !x->closed && (err || copy.left < left)) {
        err = CMX_OK;
        left = copy.left;
    }
    x->due_ms = err ? 0 : cmx_port_now_ms() + (uint64_t)left * 1000 + 1;
    x->wall_due = (int64_t)time(NULL) + left;
    return !err || err == CMX_ENOENT;
}

/* Removes the grants that have ended. If the registry is shared, only stores the current time, which needs no
 * connection to PostgreSQL. The process that follows the registry (gw_follow.c) then removes the grants. The caller
 * renders the rules without them. */
static cmx_err remove_ended(struct gw *g, size_t *n, struct cmx_why *e)
{
    struct gw_registry *r = &g->registry;
    cmx_err err = r->sharing ? gw_registry_begin_own(r, e) : gw_registry_begin(r, e);

    if (!err)
        err = r->sharing ? gw_grant_note_time(r, true, e) : gw_grant_expire(r, n, e);
    return gw_registry_end(r, err, e);
}

/* *n: how many grants were removed, plus how many pieces of evidence were marked as not trusted; not set for a shared
 * registry. *changed: true if gw_apply_change was called, because a grant or evidence has ended, the copy has become
 * stale, or a command was killed or could not apply its change. *what: after a failure, what failed. */
static cmx_err expire(struct gw_expiry *x, struct gw *g, bool due, size_t *n, bool *changed, const char **what,
                      struct cmx_why *e)
{
    struct cmx_why now = {0};
    struct cmx_why rest = {0};
    cmx_err applied;
    cmx_err err;

    *what = "the gateway's folder can't be opened or locked";
    err = gw_folder_open(g, true, e);
    if (err)
        return err;
    sqlite3_busy_timeout(g->registry.db, COMMIT_PATIENCE_MS);
    err = gw_folder_lock(g, e);
    if (!err) {
        *what = "ended grants can't be removed from the registry, or the current time can't be stored in it";
        err = remove_ended(g, n, e);
        /* Even if another process locks the registry, render the rules without the grants that have ended. */
        *changed = *n || g->unsettled || (due && (err || g->registry.sharing));
    }
    if (*changed) {
        applied = gw_apply_change(g, &rest, &now);
        if (rest.text[0])
            gw_note("%s", rest.text);
        x->closed = !applied && g->registry.stale;
        if (applied && !err) {
            *what = "the registry can't be applied";
            err = applied;
            *e = now;
        }
    }
    gw_folder_close(g);
    return err;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool gw_expiry_tick(struct gw_expiry *x, struct gw *g)
{
    uint64_t now = cmx_port_now_ms();
    struct cmx_why e = {0};
    char path[GW_PATH_MAX];
    struct stat st;
    struct stat state;
    bool changed = false;
    const char *what;
    size_t n = 0;
    bool unapplied;
    bool due;

    if (stat(gw_path(g, "registry.db", path), &st) != 0)
        return false;
    if (stat(gw_path(g, GW_COPY_STATE_FILE, path), &state) != 0)
        state = (struct stat){0}; /* the registry is not shared */
    if ((!same_time(&st.st_mtim, &x->registry_mtime) || !same_time(&state.st_mtim, &x->state_mtime)) &&
        read_next(x, g)) {
        x->registry_mtime = st.st_mtim;
        x->state_mtime = state.st_mtim;
    }
    unapplied = gw_folder_is_abandoned(g);
    due = now >= x->retry_ms && (unapplied || (x->due_ms && (now >= x->due_ms || (int64_t)time(NULL) > x->wall_due)));
    if (!due && !(x->due_ms && now - x->noted_ms >= NOTE_MS))
        return false;
    x->noted_ms = now;
    if (expire(x, g, due, &n, &changed, &what, &e)) {
        if (!x->failed)
            gw_note("%s%s: %s", unapplied ? "a cmxsafe command ended before its change was in force: " : "", what,
                    e.text);
        x->failed = true;
        x->due_ms = x->retry_ms = now + RETRY_MS;
        return changed;
    }
    if (unapplied)
        gw_note("a cmxsafe command ended before its change was in force; the gateway has applied the change");
    x->failed = false;
    x->registry_mtime = (struct timespec){0}; /* makes the next call compute the end of the next grant again */
    if (n)
        gw_note("%zu grant%s or verdict%s ended", n, n == 1 ? "" : "s", n == 1 ? "" : "s");
    return changed;
}
