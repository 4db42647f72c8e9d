#include <string.h>

#include "cli/gateway/gw.h"

struct export_job {
    struct gw *g;
    struct gw_error *e;
};

static void put_ports(const struct gw_device *d)
{
    putchar('"');
    for (size_t i = 0; i < d->n_ports; i++)
        printf("%s%u", i ? "," : "", d->ports[i]);
    putchar('"');
}

static void put_opens(const struct gw_device *d)
{
    putchar('"');
    for (size_t i = 0; i < d->n_directs; i++)
        printf(strchr(d->directs[i].host, ':') ? "%s[%s]:%u" : "%s%s:%u", i ? "," : "", d->directs[i].host,
               d->directs[i].port);
    putchar('"');
}

/* No field holds a quote: names, keys and hosts are checked at enrolment. */
static cmx_err put_device(void *arg, const struct gw_device *d)
{
    struct export_job *job = arg;
    char key[GW_KEY_TYPE_MAX + GW_KEY_BLOB_MAX];
    cmx_err err;

    if (d->revoked)
        return CMX_OK;
    err = gw_device_key_line(&job->g->registry, d->id, key, sizeof key, job->e);
    if (err)
        return err;
    printf("%s,%s,", d->name, key);
    put_ports(d);
    putchar(',');
    put_opens(d);
    printf(",%s,%s\n", d->address, d->team);
    return CMX_OK;
}

int gw_cmd_export(int argc, char **argv)
{
    struct gw_common c = {0};
    const char *group = NULL;
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"group", "NAME", "of this group only", &group},
    };
    struct gw_command_line line = GW_COMMAND_LINE(
        "export", "", "Writes the active devices as CSV, in the form that 'import' reads.", 0, 0, options);
    struct gw_error e = {0};
    struct gw g;
    struct export_job job = {&g, &e};
    cmx_err err;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (gw_open(&g, &c, false))
        return CLI_FAILED;
    printf("name,key,ports,open,address,group\n");
    err = gw_device_each(&g.registry, group, put_device, &job, &e);
    gw_close(&g);
    return err ? gw_fail("export failed", &e) : CLI_OK;
}
