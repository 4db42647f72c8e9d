/* With the hosts file, sshd resolves the names to which platforms connect. With the same lines in /etc/hosts, programs
 * on the gateway's host resolve the names of devices. */
#include "gateway/render/gw_hosts_file.h"

#include <string.h>

struct hosts_job {
    FILE *f;
    struct gw *g;
};

static cmx_err put_host(void *arg, const struct gw_device *d)
{
    struct hosts_job *job = arg;

    /* A registry from elsewhere may have blanks in a name or address, which would add other names to the line. */
    if (!d->revoked && d->address[0] && !strchr(d->address, ' ') && gw_registry_name_check(d->name, NULL) == CMX_OK)
        fprintf(job->f, "%s %s.%s\n", d->address, d->name, job->g->domain);
    return CMX_OK;
}

cmx_err gw_hosts_names(FILE *f, struct gw *g, struct cmx_why *e)
{
    struct hosts_job job = {f, g};
    char link[GW_ADDRESS_MAX];

    if (gw_meta_get(&g->registry, "link", link, sizeof link) == CMX_OK && gw_sql_is_id(link))
        fprintf(f, strcmp(g->domain, "cmx") == 0 ? "%s1 gateway.%s\n" : "%s1 gateway.%s gateway.cmx\n", link,
                g->domain);
    return gw_device_each(&g->registry, NULL, put_host, &job, e);
}

cmx_err gw_hosts(FILE *f, struct gw *g, struct cmx_why *e)
{
    fprintf(f, "127.0.0.1 localhost\n::1 localhost\n");
    return gw_hosts_names(f, g, e);
}
