#include <string.h>

#include "cli/gateway/gw_command.h"
#include "gateway/folder/gw_copy.h"
#include "gateway/registry/event.h"
#include "gateway/shared/shared.h"

static const char about[] =
    "Moves the registry to PostgreSQL, where several gateways share it, or back to a SQLite file of this gateway "
    "alone. The gateway can keep running, and its sessions stay connected. URL has libpq's form, such as "
    "postgresql://cmxsafe@db.example/cmxsafe; libpq handles passwords and TLS (passfile, service, sslmode). "
    "docs/SCALE_OUT.md describes both migrations.";

static cmx_err to_postgresql(struct gw *g, const char *url, bool dry_run, gw_outcome *o, struct cmx_why *e)
{
    char old[GW_REGISTRY_URL_MAX];
    cmx_err err;

    if (g->simple)
        return cmx_why_fail(e, CMX_EINVAL,
                            "a small deployment (--simple) is one server, so its registry can't be shared; set up a "
                            "system gateway");
    *o = gw_copy_url(g, old)[0] && strcmp(old, url) == 0 ? GW_UNCHANGED : GW_CHANGED;
    if (*o == GW_UNCHANGED)
        return gw_registry_begin(&g->registry, e); /* fails if PostgreSQL has lost the registry */
    if (old[0])
        return cmx_why_fail(
            e, CMX_EEXIST,
            "the registry is in PostgreSQL already, under another URL; change the URL with 'cmxsafe gateway init "
            "--registry'");
    err = dry_run ? CMX_OK : gw_shared_found_prepare(&g->registry, e);
    return err ? err : gw_shared_found(&g->registry, url, false, e);
}

/* Turns this gateway's copy of the shared registry into a registry of its own. If offline is false, the copy must be
 * up to date. offline is true if PostgreSQL was lost: the copy may then be out of date, and the new registry keeps the
 * id of the shared one. The other gateways therefore accept a new database that is created from this copy. */
static cmx_err to_sqlite(struct gw *g, bool offline, gw_outcome *o, struct cmx_why *e)
{
    char old[GW_REGISTRY_URL_MAX];
    cmx_err err;

    *o = gw_copy_url(g, old)[0] ? GW_CHANGED : GW_UNCHANGED;
    if (*o == GW_UNCHANGED)
        return CMX_OK;
    err = offline ? gw_registry_begin_own(&g->registry, e) : gw_registry_begin(&g->registry, e);
    if (err == CMX_ECLOSED)
        cmx_why_set(e, "%s; --offline continues with the copy as it is", e->text);
    if (!err)
        err = gw_event_number(&g->registry, e);
    if (!err)
        err = gw_sql_run(&g->registry, e,
                         "DELETE FROM meta WHERE key IN ('registry', 'detached', 'unclean', '" GW_META_LEFT_OUT
                         "', '" GW_META_SERVER "')",
                         "");
    if (!err && !offline)
        err = gw_sql_run(&g->registry, e, "DELETE FROM meta WHERE key IN ('registry_id', 'revision')", "");
    return err;
}

/* url: the PostgreSQL database to move the registry to; NULL: move it back to SQLite. */
static cmx_err move_registry(struct gw *g, const struct gw_common *c, const char *url, bool offline, gw_outcome *o,
                             struct cmx_why *e)
{
    cmx_err err = gw_folder_lock(g, e);

    if (!err)
        err = url ? to_postgresql(g, url, c->dry_run, o, e) : to_sqlite(g, offline, o, e);
    if (err || c->dry_run || *o == GW_UNCHANGED) {
        gw_registry_rollback(&g->registry);
        return err;
    }
    err = gw_registry_commit(&g->registry, e);
    if (!err)
        err = url ? gw_copy_confirm(g, e) : gw_copy_forget(g, e);
    return err;
}

int gw_cmd_migrate(int argc, char **argv)
{
    struct gw_common c = {0};
    bool offline = false;
    bool back;
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(c),
        CLI_FLAG("offline", "with sqlite: continue with this gateway's copy, because PostgreSQL is lost", &offline),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway migrate", "URL|sqlite", about, 1, 1, options);
    struct cmx_why e = {0};
    struct gw g;
    gw_outcome outcome = GW_CHANGED;
    cmx_err err;
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    back = strcmp(line.operand[0], "sqlite") == 0;
    if (offline && !back)
        return cli_usage(line.command,
                         "--offline is for 'sqlite'; PostgreSQL must answer when the registry moves there");
    if (gw_command_open(&g, &c, true))
        return CLI_FAILED;
    err = move_registry(&g, &c, back ? NULL : line.operand[0], offline, &outcome, &e);
    gw_folder_close(&g);
    if (err)
        return gw_fail("the registry was not moved", &e);
    if (c.json)
        gw_command_print_outcome(&c, outcome);
    else
        printf("the registry %s in %s%s%s\n", c.dry_run && outcome != GW_UNCHANGED ? "would be" : "is",
               back ? "this gateway's own SQLite file" : "PostgreSQL", outcome == GW_UNCHANGED ? " already" : "",
               gw_command_dry_run(&c));
    return CLI_OK;
}
