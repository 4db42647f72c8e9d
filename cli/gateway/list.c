#include <string.h>

#include "cli/gateway/gw.h"

struct list_job {
    struct gw *g;
    bool json;
    bool all;
    size_t n;
};

static void print_ports(const struct gw_device *d)
{
    for (size_t i = 0; i < d->n_ports; i++)
        printf("%s%u", i ? "," : "", d->ports[i]);
    if (d->n_ports == 0)
        putchar('-');
}

static cmx_err print_device(void *arg, const struct gw_device *d)
{
    struct list_job *job = arg;

    if (d->revoked && !job->all)
        return CMX_OK;
    if (job->json) {
        fputs(job->n ? ",\n" : "", stdout);
        gw_json_device(stdout, job->g, d);
    } else {
        printf("%-24s %-40s %-12s %-8s ", d->name, d->address[0] ? d->address : "-", d->team[0] ? d->team : "-",
               d->revoked ? "revoked" : "active");
        print_ports(d);
        putchar('\n');
    }
    job->n++;
    return CMX_OK;
}

int gw_cmd_list(int argc, char **argv)
{
    struct gw_common c = {0};
    const char *group = NULL;
    bool all = false;
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"group", "NAME", "of this group only", &group},
        {"all", NULL, "revoked ones too", &all},
        GW_JSON_OPTION(c),
    };
    struct gw_command_line line = GW_COMMAND_LINE("list", "", "Lists the devices.", 0, 0, options);
    struct gw_error e = {0};
    struct gw g;
    struct list_job job = {.g = &g};
    int status;
    cmx_err err;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (gw_open(&g, &c, false))
        return CLI_FAILED;
    job.json = c.json;
    job.all = all;
    if (c.json)
        putchar('[');
    else
        printf("%-24s %-40s %-12s %-8s %s\n", "NAME", "ADDRESS", "GROUP", "STATE", "PORTS");
    err = gw_device_each(&g.registry, group, print_device, &job, &e);
    if (c.json)
        printf("]\n");
    gw_close(&g);
    return err ? gw_fail("list failed", &e) : CLI_OK;
}
