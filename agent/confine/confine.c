#include "agent/confine/confine.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmxsafe/core/mem.h"
#include "port/linux/file_probe.h"

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
    "/tmp/resolv.conf", /* OpenWrt's resolv.conf is a link to this file */
    "/tmp/resolv.conf.d",
};

static void add_path(char **paths, size_t *n, const char *path)
{
    if (path && *n < CONFINE_PATHS_MAX && (paths[*n] = cmx_mem_strdup(path)) != NULL)
        (*n)++;
}

static void add_folder(char **paths, size_t *n, const char *file)
{
    const char *slash = strrchr(file, '/');
    char folder[PATH_MAX];

    snprintf(folder, sizeof folder, "%.*s", slash && slash > file ? (int)(slash - file) : 1, slash ? file : ".");
    add_path(paths, n, folder);
}

void confine_read(struct confine_plan *p, const char *path)
{
    add_path(p->read, &p->n_read, path);
}

void confine_write(struct confine_plan *p, const char *path)
{
    add_path(p->write, &p->n_write, path);
}

void confine_read_folder(struct confine_plan *p, const char *file)
{
    char target[PATH_MAX];
    struct stat st;

    if (!file || !cmx_file_answers(file, FILE_ANSWER_MS))
        return;
    add_folder(p->read, &p->n_read, file);
    if (lstat(file, &st) == 0 && S_ISLNK(st.st_mode) && realpath(file, target))
        add_folder(p->read, &p->n_read, target);
}

void confine_write_folder(struct confine_plan *p, const char *file)
{
    if (cmx_file_answers(file, FILE_ANSWER_MS))
        add_folder(p->write, &p->n_write, file);
}

static void add_port(uint16_t *ports, size_t *n, uint64_t port)
{
    if (*n < CONFINE_PORTS_MAX)
        ports[(*n)++] = (uint16_t)port;
}

void confine_connect(struct confine_plan *p, uint64_t port)
{
    add_port(p->connect, &p->n_connect, port);
}

void confine_bind(struct confine_plan *p, uint64_t port)
{
    add_port(p->bind, &p->n_bind, port);
}

void confine_plan_free(struct confine_plan *p)
{
    while (p->n_read)
        cmx_mem_free(p->read[--p->n_read]);
    while (p->n_write)
        cmx_mem_free(p->write[--p->n_write]);
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
