/* `cmxsafe gateway campaign`: stores and controls updates that the gateway's worker carries out in the background. */
#include <string.h>
#include <time.h>

#include "cli/common/image_file.h"
#include "cli/gateway/gw_rollout.h"
#include "cli/gateway/gw_spool.h"
#include "cli/gateway/gw_store.h"
#include "cmxsafe/core/text.h"
#include "gateway/registry/plain_text.h"
#include "gateway/registry/term.h"

static const char about_start[] =
    "Stores an update for the selected devices. The gateway's worker carries it out: the first devices one by one, "
    "then the others. Devices that are away are updated when they come back. When too many updates fail, the worker "
    "starts no more. With --manifest, the policies of the devices also allow the new firmware, and each device that "
    "has a policy must prove that it is running the new firmware. The gateway keeps copies of the files. An "
    "example:\n  cmxsafe gateway campaign start may --group cameras --image firmware.bin --manifest manifest "
    "--at '2026-05-02 02:00'";

struct start_options {
    struct gw_change x;
    struct gw_selection selection;
    struct gw_pace pace;
    const char *image, *at, *expect;
    struct cli_list manifests;
    uint64_t port;
    bool opaque;
    struct gw_spool spool; /* the gateway's copy of the image */
};

struct start_job {
    struct gw *g;
    struct gw_campaign *campaign;
    struct gw_manifest_file manifests[GW_CAMPAIGN_MANIFESTS_MAX];
    struct cmx_why *e;
    size_t n;
};

static cmx_err add_device(void *arg, const struct gw_device *d)
{
    struct start_job *job = arg;
    cmx_err err;

    if (d->revoked)
        return CMX_OK;
    job->n++;
    err = gw_campaign_add_device(&job->g->registry, job->campaign, d, job->e);
    for (size_t i = 0; !err && i < job->campaign->n_manifests; i++)
        err = gw_policy_allow(&job->g->registry, d->name, &job->manifests[i], job->e);
    return err;
}

/* Copies the image, and reads the copy's version. Returns CLI_*, and prints errors. */
static int read_image(struct start_options *o, struct gw_campaign *c)
{
    const struct gw_spool_source from = {.path = o->image, .most = UINT32_MAX};
    struct cmx_image_policy policy = IMAGE_FILE_POLICY;
    struct cmx_image image;
    struct cmx_why e = {0};
    struct gw g;
    int status = gw_command_open(&g, &o->x.common, true);
    cmx_err err;

    if (status)
        return status;
    gw_folder_close(&g); /* g.dir stays valid */
    policy.format = o->opaque ? CMX_IMAGE_OPAQUE : CMX_IMAGE_ESP;
    if (gw_spool_open(&o->spool, &g, &from, &e))
        return cli_fail(o->image, e.text, NULL);
    err = image_file_read(o->spool.path, &policy, &image, &e);
    if (err)
        return cli_fail(o->image, e.text,
                        o->opaque ? NULL : "give --opaque and --expect if it is not an ESP-IDF image");
    c->opaque = o->opaque;
    if (o->opaque && gw_text_check("the version", o->expect, sizeof c->version - 1, &e))
        return gw_fail(o->x.what, &e);
    snprintf(c->version, sizeof c->version, "%s", o->opaque ? o->expect : image.info.version);
    return CLI_OK;
}

static cmx_err store_files(struct gw *g, const struct start_options *o, struct start_job *job, struct cmx_why *e)
{
    bool store = !o->x.common.dry_run;
    struct gw_campaign *c = job->campaign;
    cmx_err err;

    if (o->manifests.n > GW_CAMPAIGN_MANIFESTS_MAX)
        return cmx_why_fail(e, CMX_EINVAL, "more than %d manifests", GW_CAMPAIGN_MANIFESTS_MAX);
    if (store)
        gw_store_collect(g);
    err = gw_store_file(g, o->spool.path, store, c->image, e);
    for (size_t i = 0; !err && i < o->manifests.n; i++) {
        struct gw_manifest_file *m = &job->manifests[c->n_manifests];

        err = gw_manifest_file_find(m, o->manifests.item[i], e);
        if (!err)
            err = gw_store_manifest(g, m->path, store, m->digest, e);
        snprintf(c->manifests[c->n_manifests++], CMX_SHA256_HEX, "%s", m->digest);
    }
    return err;
}

static cmx_err make_campaign(struct gw *g, const struct start_options *o, struct start_job *job, struct cmx_why *e)
{
    struct gw_campaign *c = job->campaign;
    cmx_err err;

    if (g->simple)
        return cmx_why_fail(e, CMX_ENOTSUP, "a small deployment has no worker; use 'cmxsafe gateway update'");
    c->begins = (int64_t)time(NULL);
    err = o->at ? gw_term_parse_time(o->at, &c->begins, e) : CMX_OK;
    if (!err)
        err = store_files(g, o, job, e);
    if (!err)
        err = gw_campaign_add(&g->registry, c, e);
    if (!err)
        err = gw_rollout_select(g, &o->selection, add_device, job, e);
    if (!err && job->n == 0)
        err = cmx_why_fail(e, CMX_ENOENT, "no active device was selected; see 'cmxsafe gateway list'");
    return err;
}

static int store_campaign(struct start_options *o, const char *name, struct gw_campaign *c)
{
    struct gw_change *x = &o->x;
    struct start_job job = {.g = &x->g, .campaign = c, .e = &x->e};
    cmx_err err;
    int status = read_image(o, c);

    if (status == CLI_OK)
        status = gw_change_begin(x);
    if (status)
        return status;
    c->pace = o->pace;
    c->port = (int64_t)o->port;
    x->outcome = GW_ADDED;
    err = cmx_text_copy(c->name, sizeof c->name, name) ? cmx_why_fail(&x->e, CMX_EINVAL, "the name is too long")
                                                       : make_campaign(&x->g, o, &job, &x->e);
    return gw_change_report(x, err, "%s: version %s for %zu device%s", c->name, c->version, job.n,
                            job.n == 1 ? "" : "s");
}

static int campaign_start(int argc, char **argv)
{
    struct start_options o = {
        .x.what = "the campaign was not stored", .pace = {.parallel = 4, .first = 1, .stop_at = 10}, .port = 8989};
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(o.x.common),
        CLI_TEXT("image", "FILE", "the image", &o.image, .required = true),
        CLI_LIST("manifest", "FILE", "the new firmware's manifest; repeat the option for each slot", &o.manifests),
        CLI_TEXT("at", "TIME", "start no update before this time (UTC): '2026-05-02 02:00'", &o.at),
        GW_SELECTION_OPTIONS(o.selection),
        GW_PACE_OPTIONS(o.pace),
        CLI_NUMBER("port", "PORT", 1, 65535, "the update service's port on the device", &o.port),
        CLI_FLAG("opaque", "the image is not an ESP-IDF image, but for example a Linux device's bundle", &o.opaque),
        CLI_TEXT("expect", "VERSION", "the version that the device reports once it runs an --opaque image", &o.expect),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway campaign start", "NAME [DEVICE ...]", about_start, 1,
                                    GW_COUNT(line.operand), options);
    struct gw_campaign c = {0};
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (o.opaque != (o.expect != NULL))
        return cli_usage(line.command, "give both --opaque and --expect, or neither");
    o.selection.names = line.operand + 1;
    o.selection.n_names = line.n_operands - 1;
    status = gw_selection_check(&o.selection, line.command);
    if (!status)
        status = store_campaign(&o, line.operand[0], &c);
    gw_spool_close(&o.spool);
    return status;
}

/* ---- the commands pause, resume, stop, remove ---- */

static const struct action {
    const char *name;
    const char *about;
    const char *failed;
    gw_campaign_state to;
    unsigned from; /* bit mask of the states in which the action is allowed; 0: the action removes the campaign */
} actions[] = {
#define FROM(s) (1u << (s))
    {"pause", "Starts no more updates. Updates that have begun are completed.", "the campaign was not paused",
     GW_CAMPAIGN_PAUSED, FROM(GW_CAMPAIGN_ACTIVE)},
    {"resume", "Continues a campaign that was paused or stopped. After a stop, devices that failed are tried again.",
     "the campaign was not resumed", GW_CAMPAIGN_ACTIVE, FROM(GW_CAMPAIGN_PAUSED) | FROM(GW_CAMPAIGN_STOPPED)},
    {"stop", "Ends a campaign. Updates that are in progress continue; one that fails is not tried again.",
     "the campaign was not stopped", GW_CAMPAIGN_STOPPED, FROM(GW_CAMPAIGN_ACTIVE) | FROM(GW_CAMPAIGN_PAUSED)},
    {"remove", "Removes a campaign that is stopped or done.", "the campaign was not removed", GW_CAMPAIGN_STOPPED, 0},
#undef FROM
};

static cmx_err set_state(struct gw_change *x, const struct action *a, const char *name)
{
    struct gw_campaign c;
    cmx_err err = gw_campaign_get(&x->g.registry, name, &c, &x->e);

    if (err || c.state == a->to)
        return err;
    if (!(a->from & (1u << c.state)))
        return cmx_why_fail(&x->e, CMX_EINVAL, "the campaign is %s", gw_campaign_state_text(c.state));
    x->outcome = GW_CHANGED;
    return gw_campaign_set(&x->g.registry, &c, a->to,
                           a->to == GW_CAMPAIGN_ACTIVE ? "resumed by the operator" : "by the operator", &x->e);
}

static cmx_err remove_campaign(struct gw_change *x, const char *name)
{
    x->outcome = GW_CHANGED;
    if (!x->common.dry_run)
        gw_store_collect(&x->g);
    return gw_campaign_remove(&x->g.registry, name, &x->e);
}

static int campaign_change(int argc, char **argv)
{
    const struct action *a = actions;
    struct gw_change x = {.outcome = GW_UNCHANGED};
    const struct cli_option options[] = {GW_CHANGE_OPTIONS(x.common)};
    char command[48];
    struct cli_line line = CLI_LINE(command, "NAME", "", 1, 1, options);
    const char *name;
    cmx_err err;

    while (strcmp(a->name, argv[0]) != 0)
        a++;
    snprintf(command, sizeof command, "cmxsafe gateway campaign %s", a->name);
    line.about = a->about;
    x.what = a->failed;
    if (cli_parse(&line, argc, argv, &x.status) || gw_change_begin(&x))
        return x.status;
    name = line.operand[0];
    err = a->from ? set_state(&x, a, name) : remove_campaign(&x, name);
    return gw_change_report(&x, err, "%s: %s", name, gw_outcome_text(x.outcome));
}

/* ---- the commands list and show ---- */

static void campaign_json(struct cmx_json *j, const struct gw_campaign *c)
{
    cmx_json_str(j, "name", c->name);
    cmx_json_str(j, "state", gw_campaign_state_text(c->state));
    cmx_json_str(j, "reason", c->reason);
    cmx_json_str(j, "version", c->version);
    cmx_json_str(j, "image", c->image);
    cmx_json_array(j, "manifests");
    for (size_t i = 0; i < c->n_manifests; i++)
        cmx_json_str(j, NULL, c->manifests[i]);
    cmx_json_end(j);
    cmx_json_i64(j, "begins", c->begins);
    cmx_json_i64(j, "made", c->made);
    cmx_json_u64(j, "first", c->pace.first);
    for (int s = 0; s < GW_UPDATE_STATES; s++)
        cmx_json_i64(j, gw_update_state_text((gw_update_state)s), c->count[s]);
}

static void print_line(const struct gw_campaign *c)
{
    char begins[GW_TIME_TEXT_MAX];

    printf("%-24s %-8s version %s", c->name, gw_campaign_state_text(c->state), c->version);
    for (int s = 0; s < GW_UPDATE_STATES; s++)
        printf(", %lld %s", (long long)c->count[s], gw_update_state_text((gw_update_state)s));
    if (c->state == GW_CAMPAIGN_ACTIVE && c->begins > (int64_t)time(NULL))
        printf(", begins %s", gw_command_time(c->begins, begins));
    printf("%s%s\n", c->reason[0] ? ": " : "", c->reason);
}

static cmx_err print_campaign(void *arg, const struct gw_campaign *c)
{
    struct cmx_json *json = arg; /* NULL: the output is text */

    if (!json) {
        print_line(c);
        return CMX_OK;
    }
    cmx_json_object(json, NULL);
    campaign_json(json, c);
    cmx_json_end(json);
    return CMX_OK;
}

static int campaign_list(int argc, char **argv)
{
    struct gw_read x = {.what = "the campaigns can't be listed"};
    const struct cli_option options[] = {GW_DIR_OPTION(x.common), GW_JSON_OPTION(x.common)};
    struct cli_line line = CLI_LINE("cmxsafe gateway campaign list", "", "Lists the campaigns.", 0, 0, options);

    if (cli_parse(&line, argc, argv, &x.status) || gw_read_begin(&x))
        return x.status;
    return gw_read_finish(&x, gw_campaign_each(&x.g.registry, print_campaign, gw_read_array(&x), &x.e));
}

static cmx_err print_update(void *arg, const struct gw_update *u)
{
    struct cmx_json *json = arg; /* NULL: the output is text */
    char at[GW_TIME_TEXT_MAX];

    if (!json) {
        printf("  %-24s %-9s %-20s %s\n", u->name, gw_update_state_text(u->state), gw_command_time(u->at, at),
               u->detail);
        return CMX_OK;
    }
    cmx_json_object(json, NULL);
    cmx_json_str(json, "device", u->name);
    cmx_json_str(json, "state", gw_update_state_text(u->state));
    cmx_json_i64(json, "at", u->at);
    cmx_json_i64(json, "tries", u->tries);
    cmx_json_str(json, "detail", u->detail);
    cmx_json_end(json);
    return CMX_OK;
}

static cmx_err print_updates(struct gw_read *x, const struct gw_campaign *c)
{
    struct cmx_json *j = gw_read_object(x);
    cmx_err err;

    if (!j) {
        print_line(c);
        return gw_update_each(&x->g.registry, c->id, print_update, NULL, &x->e);
    }
    campaign_json(j, c);
    cmx_json_array(j, "devices");
    err = gw_update_each(&x->g.registry, c->id, print_update, j, &x->e);
    cmx_json_end(j);
    return err;
}

static int campaign_show(int argc, char **argv)
{
    struct gw_read x = {.what = "the campaign can't be shown"};
    const struct cli_option options[] = {GW_DIR_OPTION(x.common), GW_JSON_OPTION(x.common)};
    struct cli_line line =
        CLI_LINE("cmxsafe gateway campaign show", "NAME", "Shows the progress of each device.", 1, 1, options);
    struct gw_campaign campaign;
    cmx_err err;

    if (cli_parse(&line, argc, argv, &x.status) || gw_read_begin(&x))
        return x.status;
    err = gw_campaign_get(&x.g.registry, line.operand[0], &campaign, &x.e);
    return gw_read_finish(&x, err ? err : print_updates(&x, &campaign));
}

int gw_cmd_campaign(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {"start", campaign_start, "store an update that the worker carries out"},
        {"list", campaign_list, "list the campaigns"},
        {"show", campaign_show, "show the progress of each device"},
        {"pause", campaign_change, "start no more updates for now"},
        {"resume", campaign_change, "continue a campaign"},
        {"stop", campaign_change, "end a campaign"},
        {"remove", campaign_change, "remove a campaign that has ended"},
    };

    return cli_dispatch("cmxsafe gateway campaign", commands, GW_COUNT(commands), argc, argv);
}
