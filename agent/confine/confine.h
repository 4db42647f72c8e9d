/* confine.h - the agent gives up access that it does not need: to files and TCP ports by Landlock (landlock(7)), and to
 * system calls by seccomp (seccomp(2)). A report says what was applied and what the kernel lacks. The process cannot
 * undo the confinement. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#define CONFINE_ITEMS_MAX 4
#define CONFINE_DETAIL_MAX 128
#define CONFINE_PATHS_MAX 48
#define CONFINE_PORTS_MAX 640 /* enough for the ports of all contexts, gateways and services; agent.c asserts this */

/* A plan: the access that stays permitted. */
struct confine_plan {
    size_t n_read, n_write;
    /* Files and folders that may be read. A folder includes all that is below it. Owned. */
    char *read[CONFINE_PATHS_MAX];
    /* Devices that may be written, and folders where files may be created, written and removed. Owned. */
    char *write[CONFINE_PATHS_MAX];
    bool limit_ports; /* false: any TCP port is permitted */
    size_t n_connect, n_bind;
    uint16_t connect[CONFINE_PORTS_MAX];
    uint16_t bind[CONFINE_PORTS_MAX];
    bool abstract_sockets; /* true: abstract UNIX sockets stay usable; systemd's notify socket can be one */
};

struct confine_report {
    size_t n;
    struct {
        const char *what; /* "landlock files", "landlock ports", "seccomp" */
        bool applied;
        bool by_choice;                  /* the configuration turns the part off */
        char detail[CONFINE_DETAIL_MAX]; /* how the part was applied, or why it was not */
    } item[CONFINE_ITEMS_MAX];
};

/* Add a path to the plan. Do nothing if the path is NULL, or if there is no room or memory for it; the plan then does
 * not permit the path. */
void confine_read(struct confine_plan *p, const char *path);
void confine_write(struct confine_plan *p, const char *path);

/* Add the folder of a file, because a rule for the file would not cover a new file that replaces it. If a file to be
 * read is a symbolic link, confine_read_folder also adds the folder of the link's target: Landlock checks where a file
 * is, not which path leads there. confine_write_folder does not, because the agent does not follow links to files that
 * it writes. confine_read_folder ignores NULL. Both leave out a file whose file system does not answer: a rule for its
 * folder would block the start. */
void confine_read_folder(struct confine_plan *p, const char *file);
void confine_write_folder(struct confine_plan *p, const char *file);

/* Permit TCP connect or bind to a port (1 to 65535). Do nothing if there is no room for the port. */
void confine_connect(struct confine_plan *p, uint64_t port);
void confine_bind(struct confine_plan *p, uint64_t port);

/* Frees the paths. */
void confine_plan_free(struct confine_plan *p);

/* Permits reading the files that every program needs: libraries, name service, certificates, /proc/self,
 * /dev/urandom. */
void confine_plan_base(struct confine_plan *p);

/* Confines the calling thread and the threads that it creates later: call it before any other thread starts. Applies
 * every part that the kernel supports. CMX_ENOTSUP: a part could not be applied; the report says which. */
CMX_MUST_USE cmx_err confine_apply(const struct confine_plan *p, struct confine_report *r);

/* The two parts of confine_apply. detail: what was applied, or why nothing was; ports_detail: the same for the TCP
 * ports. *ports: whether TCP ports are limited. CMX_ENOTSUP: the kernel or the library lacks something; CMX_EIO:
 * the kernel refused a rule; CMX_ENOMEM. */
CMX_MUST_USE cmx_err confine_landlock(const struct confine_plan *p, bool *ports, char *detail, size_t cap,
                                      char *ports_detail, size_t ports_cap);
/* Returns a text, to append to a detail, that names the access which version `abi` of Landlock does not limit. "": the
 * version limits all that the agent requests. */
const char *confine_landlock_gaps(int abi);
CMX_MUST_USE cmx_err confine_seccomp(char *detail, size_t cap);
