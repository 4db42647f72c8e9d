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
#define CONFINE_PORTS_MAX 160

/* A plan: what stays permitted. */
struct confine_plan {
    size_t n_read, n_write;
    const char *read[CONFINE_PATHS_MAX];  /* folders, with everything below, and files; borrowed */
    const char *write[CONFINE_PATHS_MAX]; /* folders where files may be created, written and removed; borrowed */
    bool limit_ports;                     /* false: any TCP port is permitted */
    size_t n_connect, n_bind;
    uint16_t connect[CONFINE_PORTS_MAX];
    uint16_t bind[CONFINE_PORTS_MAX];
    bool abstract_sockets; /* permit abstract UNIX sockets, since systemd's notify socket can be abstract */
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

/* Adds a path, which is borrowed. Ignores NULL, and a path for which there is no room; the plan then permits less. */
void confine_read(struct confine_plan *p, const char *path);
void confine_write(struct confine_plan *p, const char *path);

/* Permits reading the files that every program needs: libraries, name service, certificates, /proc/self,
 * /dev/urandom. */
void confine_plan_base(struct confine_plan *p);

/* Confines the calling thread and the threads that it creates later: call it before any other thread starts. Applies
 * every part that the kernel supports. CMX_ENOTSUP: a part could not be applied; the report says which. */
CMX_MUST_USE cmx_err confine_apply(const struct confine_plan *p, struct confine_report *r);

/* The two parts of confine_apply. detail: what was applied, or why nothing was; ports_detail: the same for the TCP
 * ports. *ports: whether TCP ports are limited. CMX_ENOTSUP: the kernel or the library lacks something; CMX_EIO;
 * CMX_ENOMEM. */
CMX_MUST_USE cmx_err confine_landlock(const struct confine_plan *p, bool *ports, char *detail, size_t cap,
                                      char *ports_detail, size_t ports_cap);
/* Returns what that version of Landlock does not limit, to be appended to a detail; "" if it limits all that the agent
 * requests. */
const char *confine_landlock_gaps(int abi);
CMX_MUST_USE cmx_err confine_seccomp(char *detail, size_t cap);
