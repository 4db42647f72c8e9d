/* `cmxsafe gateway follow`: keeps the copy of a shared registry up to date. It fetches the changes of other gateways,
 * applies them here, and records when PostgreSQL confirmed the copy. The gateway starts this command. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/gateway/gw_command.h"
#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_copy.h"
#include "gateway/registry/grant.h"
#include "gateway/server/gw_apply.h"
#include "gateway/server/gw_note.h"
#include "gateway/shared/shared.h"

#define CONFIRM_MS 5000           /* interval between queries to PostgreSQL if nothing changes */
#define CHECK_MS (10 * 60 * 1000) /* interval between comparisons of the copy's rights with PostgreSQL's */
#define REST_MS 60000             /* wait before another attempt to apply changes that do not affect access */
#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 8000

struct follower {
    struct gw g;
    struct gw_shared *s; /* NULL: not connected */
    char url[GW_REGISTRY_URL_MAX];
    enum gw_shared_check check; /* tables that the next check compares */
    uint64_t checked_ms;
    uint64_t retry_ms; /* the wait after a failure; 0: none */
    int wait_ms;       /* longest wait for the next change */
    bool unapplied;    /* the copy has changes that were not applied yet */
    uint64_t rest_ms;  /* when to try again to apply failed changes that do not affect access; 0: there are none */
    bool claims;       /* the copy has claims that were not applied yet */
    char left_out[GW_COPY_WARNING_MAX]; /* the last message about rows that were left out */
};

static void disconnect(struct follower *f)
{
    gw_shared_close(f->s);
    f->s = NULL;
}

static cmx_err connect_registry(struct follower *f, const char *url, struct cmx_why *e)
{
    cmx_err err;

    if (f->s && strcmp(f->url, url) == 0)
        return CMX_OK;
    disconnect(f);
    snprintf(f->url, sizeof f->url, "%s", url);
    err = gw_shared_open(&f->s, &f->g.registry, url, e);
    f->check = GW_SHARED_ALL;
    return err;
}

static void note_unclean(size_t n)
{
    if (n)
        gw_note(
            "%zu texts in the shared registry have control or other unexpected characters, or are too long; in this "
            "gateway's copy, '?' replaces such characters, and long texts are cut; find out which gateway or program "
            "wrote them",
            n);
}

#define MARKS "'unapplied', 'unapplied_claims', 'unclean'" /* see gw_shared_begin_on_copy */

/* Finds changes that other processes of this gateway stored in the copy but did not apply. Logs how many texts in these
 * changes were not clean (note_unclean). Clears the marks of the changes. */
static cmx_err take_unapplied(struct follower *f, struct cmx_why *e)
{
    struct gw_registry *r = &f->g.registry;
    char value[24];
    int64_t marks;
    bool rights, claims;
    cmx_err err = gw_sql_number(r, &marks, e, "SELECT count(*) FROM meta WHERE key IN (" MARKS ")", "");

    if (err || !marks)
        return err;
    err = gw_registry_begin_own(r, e); /* keeps other processes from setting marks meanwhile */
    if (err)
        return err;
    rights = gw_meta_get(r, "unapplied", value, sizeof value) != CMX_ENOENT;
    claims = gw_meta_get(r, "unapplied_claims", value, sizeof value) != CMX_ENOENT;
    if (gw_meta_get(r, "unclean", value, sizeof value) == CMX_OK)
        note_unclean(strtoul(value, NULL, 10));
    err = gw_sql_run(r, e, "DELETE FROM meta WHERE key IN (" MARKS "); COMMIT", "");
    if (err)
        gw_registry_rollback(r);
    f->unapplied |= rights;
    f->claims |= claims;
    return err;
}

/* Fetches the changes. Holds the folder's lock, so other commands of this gateway wait meanwhile. */
static cmx_err take_changes(struct follower *f, struct cmx_why *e)
{
    struct gw_copy_changes followed = {0};
    bool behind = false;
    cmx_err err = gw_shared_behind(f->s, &f->g.registry, &behind, e);

    if (cmx_port_now_ms() - f->checked_ms >= CHECK_MS && f->check == GW_SHARED_CHANGES)
        f->check = GW_SHARED_RIGHTS;
    if (err || (!behind && f->check == GW_SHARED_CHANGES))
        return err;
    err = gw_folder_lock(&f->g, e);
    if (!err)
        err = gw_shared_follow(f->s, &f->g.registry, f->check, &followed, e);
    if (!err && f->check != GW_SHARED_CHANGES) {
        f->checked_ms = cmx_port_now_ms();
        err = gw_shared_prune(f->s, &f->g.registry, e);
    }
    /* After an error, such as a row that did not match, the next call compares all tables. */
    f->check = !err ? GW_SHARED_CHANGES : GW_SHARED_ALL;
    note_unclean(followed.unclean);
    f->unapplied |= followed.rights;
    f->claims |= followed.claims;
    return err;
}

/* Logs which rows are left out of the copy, even if another process of this gateway made the copy. */
static void note_left_out(struct follower *f)
{
    char rows[GW_COPY_WARNING_MAX];

    gw_copy_left_out(&f->g, rows);
    if (rows[0] && strcmp(rows, f->left_out) != 0)
        gw_note("%s", rows);
    memcpy(f->left_out, rows, sizeof rows);
}

/* Removes expired grants from the shared registry. This removes them at all gateways. */
static cmx_err remove_ended(struct follower *f, struct cmx_why *e)
{
    struct gw_registry *r = &f->g.registry;
    int64_t left = 1;
    size_t n = 0;
    cmx_err err = gw_grant_next_end(r, true, &left, e);

    if (err || left > 0)
        return err == CMX_ENOENT ? CMX_OK : err;
    err = gw_folder_lock(&f->g, e);
    if (!err)
        err = gw_registry_begin(r, e);
    if (!err)
        err = gw_grant_expire(r, &n, e);
    err = gw_registry_end(r, err, e);
    f->unapplied |= n > 0;
    return err;
}

/* Applies the copy in the same way as a command applies its change. Returns CMX_OK if access was applied, even if
 * something else was not, such as a link to another gateway; the rest is tried again after REST_MS. */
static cmx_err apply_copy(struct follower *f, struct cmx_why *e)
{
    struct cmx_why rest = {0};
    cmx_err err;

    gw_folder_close(&f->g);
    err = gw_folder_open(&f->g, true, e); /* open the gateway again: the confirmed copy is no longer stale */
    if (!err)
        err = gw_folder_lock(&f->g, e);
    if (!err)
        err = gw_apply_change(&f->g, &rest, e);
    f->unapplied = err != CMX_OK;
    if (rest.text[0] && !f->rest_ms)
        gw_note("not all of the shared registry could be applied: %s", rest.text);
    f->rest_ms = rest.text[0] ? cmx_port_now_ms() + REST_MS : 0;
    return err;
}

static bool rest_is_due(const struct follower *f)
{
    return f->rest_ms && cmx_port_now_ms() >= f->rest_ms;
}

static void choose_wait(struct follower *f)
{
    struct gw_copy_state state;

    gw_copy_look(&f->g, &state);
    f->wait_ms = CONFIRM_MS;
    if (state.stale_after * 1000 / 4 < CONFIRM_MS)
        f->wait_ms = (int)(state.stale_after * 1000 / 4);
}

static cmx_err follow(struct follower *f, const char *url, struct cmx_why *e)
{
    cmx_err err = connect_registry(f, url, e);

    if (!err)
        err = take_changes(f, e);
    if (!err)
        err = take_unapplied(f, e);
    if (!err)
        note_left_out(f);
    if (!err)
        err = remove_ended(f, e);
    if (!err)
        err = gw_copy_confirm(&f->g, e);
    if (!err && (f->unapplied || f->g.registry.stale || rest_is_due(f)))
        err = apply_copy(f, e);
    else if (!err && (f->claims || f->retry_ms))
        err = gw_apply_claims(&f->g, e);
    f->claims &= err != CMX_OK;
    return err;
}

/* Fetches and applies changes once. False: the gateway's registry is no longer shared. */
static bool follow_tick(struct follower *f)
{
    struct cmx_why e = {0};
    struct cmx_why ignored = {0};
    char url[GW_REGISTRY_URL_MAX];
    bool mine;
    cmx_err err = gw_folder_open(&f->g, true, &e);

    mine = !err && !gw_copy_url(&f->g, url)[0];
    if (!err && !mine) {
        choose_wait(f);
        err = follow(f, url, &e);
        if (err)
            /* If the reason can't be recorded, the former record stays, and the copy nevertheless becomes stale. */
            (void)!gw_copy_note(&f->g, e.text, &ignored);
        if (err && !f->retry_ms)
            /* A failure is ignored: the first successful attempt to follow the registry applies the claims again. */
            (void)!gw_apply_claims(&f->g, &ignored);
    }
    gw_folder_close(&f->g);
    if (err && !f->retry_ms)
        gw_note("the shared registry is not followed: %s", e.text);
    else if (!err && f->retry_ms)
        gw_note("the shared registry is followed again");
    if (err)
        disconnect(f);
    f->retry_ms = !err ? 0 : f->retry_ms ? f->retry_ms * 2 : RETRY_MIN_MS;
    if (f->retry_ms > RETRY_MAX_MS)
        f->retry_ms = RETRY_MAX_MS;
    return !mine;
}

static void wait_change(struct follower *f)
{
    struct cmx_why e = {0};
    cmx_err err;

    if (!f->s) {
        cmx_port_sleep_ms((uint32_t)f->retry_ms);
        return;
    }
    err = gw_shared_wait(f->s, f->wait_ms, &e);
    if (err && err != CMX_ETIMEOUT)
        disconnect(f);
}

int gw_cmd_follow(int argc, char **argv)
{
    struct gw_common c = {0};
    const struct cli_option options[] = {GW_DIR_OPTION(c)};
    struct cli_line line =
        CLI_LINE("cmxsafe gateway follow", "",
                 "Fetches changes of the shared registry from PostgreSQL into this gateway's copy, and "
                 "applies them (docs/SCALE_OUT.md). The gateway starts this command.",
                 0, 0, options);
    struct follower f = {.wait_ms = CONFIRM_MS,
                         .unapplied = true}; /* an earlier process may have left changes unapplied */
    struct cmx_why e = {0};
    pid_t parent = getppid();
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (gw_folder_find(&f.g, c.dir, &e))
        return gw_fail("follow", &e);
    while (getppid() == parent && follow_tick(&f))
        wait_change(&f);
    disconnect(&f);
    return CLI_OK;
}
