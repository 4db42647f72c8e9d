#include "agent/confine/confine.h"

#include <stdio.h>
#include <string.h>

/* The C library, OpenSSL and the name service read these files and folders, some of them long after the start. All of
 * /etc is listed, because resolv.conf and hosts are replaced by new files when the network changes. All of /run is
 * listed, because resolv.conf is often a link to a folder below /run that a network manager creates later, and a
 * Landlock rule needs a folder that exists. */
static const char *const base_paths[] = {
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/run",
    "/proc/self",
    "/proc/sys/net",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/random",
    "/dev/null",
    "/tmp/resolv.conf", /* OpenWrt's resolv.conf is a link to here */
    "/tmp/resolv.conf.d",
};

void confine_read(struct confine_plan *p, const char *path)
{
    if (path && p->n_read < CONFINE_PATHS_MAX)
        p->read[p->n_read++] = path;
}

void confine_write(struct confine_plan *p, const char *path)
{
    if (path && p->n_write < CONFINE_PATHS_MAX)
        p->write[p->n_write++] = path;
}

void confine_plan_base(struct confine_plan *p)
{
    for (size_t i = 0; i < sizeof base_paths / sizeof base_paths[0]; i++)
        confine_read(p, base_paths[i]);
}

cmx_err confine_apply(const struct confine_plan *p, struct confine_report *r)
{
    bool all = true;
    bool ports = false;

    memset(r, 0, sizeof *r);
    r->item[0].what = "landlock files";
    r->item[1].what = "landlock ports";
    r->item[2].what = "seccomp";
    r->n = 3;
    r->item[0].applied = confine_landlock(p, &ports, r->item[0].detail, sizeof r->item[0].detail, r->item[1].detail,
                                          sizeof r->item[1].detail) == CMX_OK;
    r->item[1].applied = ports;
    r->item[1].by_choice = !p->limit_ports;
    r->item[2].applied = confine_seccomp(r->item[2].detail, sizeof r->item[2].detail) == CMX_OK;
    all = r->item[0].applied && (ports || !p->limit_ports) && r->item[2].applied;
    return all ? CMX_OK : CMX_ENOTSUP;
}
