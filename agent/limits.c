#include "agent/limits.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>

#include "agent/confine/memory.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/proxy/proxy_limits.h"

#define TAG "agent"
#define AGENT_SESSION_FDS 4 /* descriptors per context: its session's socket and wake-up, its listener, one spare */
#define AGENT_OWN_FDS 128   /* descriptors for control clients, services and their clients, modules, libraries */

void limits_core_files(void)
{
    const struct rlimit none = {0};

    if (setrlimit(RLIMIT_CORE, &none) != 0)
        cmx_log(CMX_LOG_WARN, TAG, "core files cannot be turned off: %s", strerror(errno));
}

static size_t connections_of(const struct agent_config *c)
{
    size_t connections = 0;

    for (size_t i = 0; i < c->n_contexts; i++)
        connections += c->contexts[i].options.max_connections ? c->contexts[i].options.max_connections
                                                              : CMX_PROXY_CONNECTIONS_DEFAULT;
    return connections;
}

void limits_heap(const struct agent_config *c)
{
    if (memory_limit(connections_of(c)))
        cmx_log(CMX_LOG_WARN, TAG, "the heap cannot be limited: %s", strerror(errno));
}

void limits_descriptors(const struct agent_config *c, bool serves)
{
    const rlim_t need = connections_of(c) + c->n_contexts * AGENT_SESSION_FDS + AGENT_OWN_FDS;
    struct rlimit limit;
    rlim_t most;
    bool held;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return;
    held = serves && limit.rlim_cur <= FD_SETSIZE && limit.rlim_max > FD_SETSIZE;
    most = held ? FD_SETSIZE : limit.rlim_max;
    limit.rlim_cur = need < most ? need : most;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < need)
        cmx_log(CMX_LOG_WARN, TAG, "the contexts' max_connections need %llu open files in total; the limit is %llu%s",
                (unsigned long long)need, (unsigned long long)limit.rlim_cur, held ? " until the agent restarts" : "");
}
