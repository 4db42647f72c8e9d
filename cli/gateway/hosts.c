/* Names of the devices: a hosts file that sshd (for platforms) and the gateway's own users resolve them by. */
#include <string.h>

#include "cli/gateway/gw.h"

struct hosts_job {
    FILE *f;
    struct gw *g;
};

static cmx_err put_host(void *arg, const struct gw_device *d)
{
    struct hosts_job *job = arg;

    if (!d->revoked && d->address[0])
        fprintf(job->f, "%s %s.%s\n", d->address, d->name, job->g->domain);
    return CMX_OK;
}

cmx_err gw_hosts(FILE *f, struct gw *g, struct gw_error *e)
{
    struct hosts_job job = {f, g};
    char link[GW_ADDRESS_MAX];

    fprintf(f, "127.0.0.1 localhost\n::1 localhost\n");
    if (gw_meta_get(&g->registry, "link", link, sizeof link) == CMX_OK)
        fprintf(f, "%s1 gateway.%s\n", link, g->domain);
    return gw_device_each(&g->registry, NULL, put_host, &job, e);
}

int gw_cmd_hosts(int argc, char **argv)
{
    struct gw_common c = {0};
    const struct gw_option options[] = {GW_DIR_OPTION(c)};
    struct gw_command_line line =
        GW_COMMAND_LINE("hosts", "",
                        "Prints the devices' names and addresses in the form of /etc/hosts.\n"
                        "A system gateway keeps them in /etc/hosts (not with 'init --no-etc-hosts').",
                        0, 0, options);
    struct gw_error e = {0};
    struct gw g;
    cmx_err err;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (gw_open(&g, &c, false))
        return CLI_FAILED;
    err = gw_hosts(stdout, &g, &e);
    gw_close(&g);
    return err ? gw_fail("listing the names failed", &e) : CLI_OK;
}
