#include "cmxsafe/proxy/lookup.h"

#include <netdb.h>
#include <stdatomic.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/net.h"
#include "cmxsafe/proxy/proxy_limits.h"

#define POLL_MAX_MS 50

struct cmx_lookup {
    atomic_uint users;     /* reference count; includes the task while it runs */
    atomic_uint result;    /* cmx_err; CMX_EAGAIN while the task runs. Written after list. */
    struct addrinfo *list; /* written by the task, then shared by all users */
    const struct cmx_proxy_hooks *hooks;
    bool numeric;
    bool announced; /* the resolve hook has been called for the start, but not for the end */
    uint64_t started_ms;
    uint64_t ended_ms; /* when the owner noticed that the task had ended; 0: not yet */
    uint16_t port;
    char host[];
};

static atomic_uint running; /* number of look-up tasks in this process */

static void unuse(struct cmx_lookup *l)
{
    if (atomic_fetch_sub(&l->users, 1) > 1)
        return;
    if (l->list)
        freeaddrinfo(l->list);
    cmx_mem_free(l);
}

static void lookup_task(void *arg)
{
    struct cmx_lookup *l = arg;
    cmx_err err = cmx_net_resolve(l->host, l->port, 0, &l->list);

    atomic_store(&l->result, (unsigned)err);
    unuse(l);
    atomic_fetch_sub(&running, 1);
}

static cmx_err start_task(struct cmx_lookup *l)
{
    cmx_err err;

    if (atomic_fetch_add(&running, 1) >= CMX_LOOKUPS_MAX) {
        atomic_fetch_sub(&running, 1);
        return CMX_ENOMEM;
    }
    atomic_fetch_add(&l->users, 1);
    err = cmx_port_task_start("cmx-lookup", CMX_LOOKUP_STACK, lookup_task, l);
    if (err) {
        atomic_fetch_sub(&l->users, 1);
        atomic_fetch_sub(&running, 1);
    }
    return err;
}

static void announce(struct cmx_lookup *l, bool begins)
{
    if (l->announced == begins)
        return;
    l->announced = begins;
    if (l->hooks->resolve)
        l->hooks->resolve(l->hooks->arg, begins);
}

cmx_err cmx_lookup_start(struct cmx_lookup **out, const char *host, uint16_t port, const struct cmx_proxy_hooks *hooks)
{
    const size_t size = strlen(host) + 1;
    struct cmx_lookup *l = cmx_mem_alloc(sizeof *l + size);
    cmx_err err;

    *out = NULL;
    if (!l)
        return CMX_ENOMEM;
    memcpy(l->host, host, size);
    l->port = port;
    l->hooks = hooks;
    l->started_ms = cmx_port_now_ms();
    atomic_store(&l->users, 1);
    l->numeric = !cmx_net_resolve(host, port, AI_NUMERICHOST, &l->list);
    atomic_store(&l->result, (unsigned)(l->numeric ? CMX_OK : CMX_EAGAIN));
    if (!l->numeric) {
        announce(l, true);
        err = start_task(l);
        if (err) {
            cmx_lookup_release(l);
            return err;
        }
    }
    *out = l;
    return CMX_OK;
}

cmx_err cmx_lookup_result(struct cmx_lookup *l, const struct addrinfo **list)
{
    cmx_err err = (cmx_err)atomic_load(&l->result);

    *list = NULL;
    if (err == CMX_EAGAIN)
        return err;
    announce(l, false);
    if (!l->ended_ms)
        l->ended_ms = cmx_port_now_ms();
    if (!err)
        *list = l->list;
    return err;
}

bool cmx_lookup_is_fresh(struct cmx_lookup *l, uint64_t now_ms)
{
    const struct addrinfo *list;
    cmx_err err = cmx_lookup_result(l, &list);

    return err == CMX_EAGAIN || l->numeric || (!err && now_ms < l->ended_ms + CMX_LOOKUP_FRESH_MS);
}

uint32_t cmx_lookup_poll_ms(const struct cmx_lookup *l)
{
    const uint32_t wait_ms = 1 + (uint32_t)(cmx_port_now_ms() - l->started_ms) / 4;

    return wait_ms < POLL_MAX_MS ? wait_ms : POLL_MAX_MS;
}

struct cmx_lookup *cmx_lookup_hold(struct cmx_lookup *l)
{
    atomic_fetch_add(&l->users, 1);
    return l;
}

void cmx_lookup_release(struct cmx_lookup *l)
{
    if (!l)
        return;
    /* Reports the end of the look-up to the resolve hook, even if the look-up is still running. Only the owner can
     * release a running look-up, because relays hold only finished ones. */
    announce(l, false);
    unuse(l);
}
