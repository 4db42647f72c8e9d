#include <string.h>

#include "cli/gateway/gw_command.h"
#include "gateway/registry/node.h"

struct list_job {
    struct gw *g;
    struct cmx_json *json; /* NULL: the output is a table */
    bool all;
    bool alone; /* there is only one gateway, so the table does not name it */
};

static cmx_err print_device(void *arg, const struct gw_device *d)
{
    struct list_job *job = arg;
    struct gw_registry *r = &job->g->registry;
    struct gw_standing standing = {0};
    struct gw_attestation attested;
    struct gw_seen seen;
    char when[GW_TIME_TEXT_MAX];

    if (d->revoked && !job->all)
        return CMX_OK;
    if (!d->revoked && gw_standing_get(r, d->name, &standing, NULL))
        return CMX_EIO;
    gw_seen_get(r, d->id, &seen);
    if (job->json) {
        cmx_json_object(job->json, NULL);
        gw_command_put_device(job->json, job->g, d);
        if (job->alone)
            cmx_json_str(job->json, "node", "");
        else
            gw_command_put_node(job->json, job->g, d);
        gw_command_put_seen(job->json, &seen);
        gw_policy_put_standing(job->json, &standing);
        gw_attestation_get(r, d->id, &attested);
        cmx_json_i64(job->json, "attested", attested.at);
        cmx_json_str(job->json, "verdict", attested.verdict);
        cmx_json_end(job->json);
    } else {
        printf("%-24s %-40s %-12s %-11s %-20s ", d->name, d->address[0] ? d->address : "-",
               d->group[0] ? d->group : "-",
               d->revoked             ? "revoked"
               : standing.quarantined ? "QUARANTINED"
               : standing.exempt      ? "EXEMPT"
                                      : "active",
               gw_command_time(seen.at, when));
        gw_command_print_ports(d, ",", "-");
        putchar('\n');
    }
    return CMX_OK;
}

int gw_cmd_list(int argc, char **argv)
{
    struct gw_read x = {.what = "list failed"};
    struct list_job job = {.g = &x.g};
    const char *group = NULL;
    struct gw_nodes nodes;
    cmx_err err;
    const struct cli_option options[] = {
        GW_DIR_OPTION(x.common),
        CLI_TEXT("group", "NAME", "only devices of this group", &group),
        CLI_FLAG("all", "also revoked devices", &job.all),
        GW_JSON_OPTION(x.common),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway list", "", "Lists the devices.", 0, 0, options);

    if (cli_parse(&line, argc, argv, &x.status) || gw_read_begin(&x))
        return x.status;
    err = group ? gw_device_check_group(&x.g.registry, group, &x.e) : CMX_OK;
    if (!err)
        err = gw_nodes_read(&x.g.registry, &x.g.fleet, &nodes, &x.e);
    if (err)
        return gw_read_finish(&x, err);
    job.alone = !nodes.own;
    job.json = gw_read_array(&x);
    if (!job.json)
        printf("%-24s %-40s %-12s %-11s %-20s %s\n", "NAME", "ADDRESS", "GROUP", "STATE", "LAST SEEN", "PORTS");
    return gw_read_finish(&x, gw_device_each(&x.g.registry, group, print_device, &job, &x.e));
}
