/* confine.h - the agent takes away from itself what it will not need: files and TCP ports by Landlock (landlock(7)),
 * system calls by seccomp (seccomp(2)). What was applied and what the kernel lacks is reported, never guessed. There is
 * no way back within the process. */
#ifndef CMX_AGENT_CONFINE_H
#define CMX_AGENT_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#define CONFINE_ITEMS_MAX 4
#define CONFINE_PATHS_MAX 48
#define CONFINE_PORTS_MAX 160

/* What to leave. */
struct confine_plan {
    size_t n_read, n_write;
    const char *read[CONFINE_PATHS_MAX];  /* folders and files to read, with all below; borrowed */
    const char *write[CONFINE_PATHS_MAX]; /* folders in which files may be made, written and removed; borrowed */
    bool limit_ports;                     /* else any TCP port */
    size_t n_connect, n_bind;
    uint16_t connect[CONFINE_PORTS_MAX];
    uint16_t bind[CONFINE_PORTS_MAX];
    bool abstract_sockets; /* some abstract UNIX socket is needed (systemd's notify socket, sometimes) */
};

struct confine_report {
    size_t n;
    struct {
        const char *what; /* "landlock files", "landlock ports", "seccomp" */
        bool applied;
        bool by_choice;  /* not applied because the configuration says so */
        char detail[96]; /* how, or why not */
    } item[CONFINE_ITEMS_MAX];
};

/* Adds a path; NULL and what does not fit are left out (the plan then allows less, which shows at once). */
void confine_read(struct confine_plan *p, const char *path);
void confine_write(struct confine_plan *p, const char *path);

/* Reads what every program needs: libraries, name service, certificates, /proc/self, /dev/urandom. */
void confine_plan_base(struct confine_plan *p);

/* Before any other thread starts: both hold for the threads that the caller makes, and for itself. Each part that can
 * be applied is. CMX_ENOTSUP: some part could not be; the report says which. */
CMX_MUST_USE cmx_err confine_apply(const struct confine_plan *p, struct confine_report *r);

/* The parts. detail: what was applied or why not. */
CMX_MUST_USE cmx_err confine_landlock(const struct confine_plan *p, bool *ports, char *detail, size_t cap,
                                      char *ports_detail, size_t ports_cap);
CMX_MUST_USE cmx_err confine_seccomp(char *detail, size_t cap);

#endif
