#include "cmxsafe/device/device.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/device/device_isolation.h"
#include "cmxsafe/device/device_key.h"
#include "cmxsafe/device/merge.h"
#include "cmxsafe/port/port.h"

#define TAG "device"

struct entry {
    struct entry *next;
    struct cmx_context context; /* borrows its strings; a default name is stored in `name` */
    char name[CMX_PROXY_NAME_MAX];
};

/* Invariant: engine is NULL if and only if there is no entry. The lock guards all members except hooks, which is
 * atomic. */
static struct {
    struct entry *entries;
    size_t n_entries;
    struct cmx_proxy *engine;
    const struct cmx_settings *over;
    void (*adapt)(TaskParameters *context);
    const struct cmx_device_hooks *hooks;
    struct cmx_settings settings;
    struct cmx_mutex lock;
} device;

/* Runs before main and before any task, so that the lock is created once. */
__attribute__((constructor)) static void make_lock(void)
{
    cmx_port_mutex_init(&device.lock);
}

static void lock(void)
{
    cmx_port_mutex_lock(&device.lock);
}

static void unlock(void)
{
    cmx_port_mutex_unlock(&device.lock);
}

/* ---- hooks of the engine ---- */

static cmx_err on_socket(void *arg, cmx_socket_kind kind, const struct sockaddr *local, const struct sockaddr *peer,
                         bool opens)
{
    (void)arg;
    return cmx_device_isolation_socket((int)kind, local, peer, opens);
}

static void on_resolve(void *arg, bool begins)
{
    (void)arg;
    cmx_device_isolation_resolve(begins);
}

static const struct cmx_device_hooks *hooks_now(void)
{
    return __atomic_load_n(&device.hooks, __ATOMIC_ACQUIRE);
}

static void on_session(void *arg, const char *session, const char *gateway, bool up, cmx_err err)
{
    const struct cmx_device_hooks *h = hooks_now();

    (void)arg;
    if (h && h->session)
        h->session(session, gateway, up, err);
}

static void on_relay(void *arg, const struct cmx_relay_event *event)
{
    const struct cmx_device_hooks *h = hooks_now();

    (void)arg;
    if (h && h->relay)
        h->relay(event);
}

static const struct cmx_proxy_hooks engine_hooks = {
    .socket_change = on_socket,
    .resolve = on_resolve,
    .session = on_session,
    .relay = on_relay,
};

void cmx_device_set_hooks(const struct cmx_device_hooks *hooks)
{
    __atomic_store_n(&device.hooks, hooks, __ATOMIC_RELEASE);
}

/* ---- registering ---- */

static void read_gateway(struct cmx_gateway *g)
{
    cmx_settings_gateway(&device.settings, g);
    cmx_device_key_choose(&device.settings, g);
}

/* Starts the engine with all entries, or reconfigures the engine if it is running. */
static cmx_err apply(void)
{
    struct cmx_context *contexts = cmx_mem_alloc(device.n_entries * sizeof *contexts);
    struct cmx_gateway gateway;
    struct cmx_why why;
    size_t n = 0;
    cmx_err err;

    if (!contexts)
        return CMX_ENOMEM;
    cmx_why_clear(&why);
    for (const struct entry *e = device.entries; e; e = e->next)
        contexts[n++] = e->context;
    read_gateway(&gateway);
    err = cmx_device_isolation_configure(&gateway, contexts, n);
    if (err != CMX_OK) {
        cmx_why_set(&why, "isolation: %s", cmx_err_text(err));
    } else if (device.engine) {
        err = cmx_proxy_set_contexts(device.engine, &gateway, contexts, n, &why);
    } else {
        err = cmx_proxy_create(&device.engine, &gateway, contexts, n, &engine_hooks, device.settings.task_stack, &why);
    }
    cmx_mem_free(contexts);
    if (err != CMX_OK)
        cmx_log(CMX_LOG_ERROR, TAG, "cannot proxy: %s", cmx_why_text(&why, err));
    return err;
}

static bool is_known(const struct cmx_context *c)
{
    for (const struct entry *e = device.entries; e; e = e->next)
        if (e->context.direction == c->direction && e->context.local_port == c->local_port)
            return true;
    return false;
}

static cmx_err add(const TaskParameters *task)
{
    struct entry *e = cmx_mem_alloc(sizeof *e);
    cmx_err err = e ? CMX_OK : CMX_ENOMEM;

    if (err == CMX_OK)
        err = cmx_settings_context(&device.settings, task, &e->context, e->name, sizeof e->name);
    if (err == CMX_OK && is_known(&e->context))
        err = CMX_EEXIST;
    if (err == CMX_OK && device.n_entries == CMX_PROXY_CONTEXTS_MAX)
        err = CMX_ENOSPC;
    if (err != CMX_OK) {
        cmx_log(CMX_LOG_ERROR, TAG, "port %d not proxied: %s", task->local_port, cmx_err_text(err));
        cmx_mem_free(e);
        return err;
    }
    e->next = device.entries;
    device.entries = e;
    device.n_entries++;
    return CMX_OK;
}

static void drop_first(void)
{
    struct entry *e = device.entries;

    device.entries = e->next;
    device.n_entries--;
    cmx_mem_free(e);
    if (device.entries)
        return;
    cmx_proxy_destroy(device.engine);
    device.engine = NULL;
    cmx_device_isolation_clear();
}

/* Logs the device's public key before the checks that might refuse the context: the operator needs the key to admit the
 * device. */
static void announce_key(void)
{
    struct cmx_gateway gateway;

    read_gateway(&gateway);
    cmx_device_key_announce(&gateway);
}

static cmx_err forward(const struct cmx_settings *settings, const TaskParameters *context)
{
    TaskParameters task = *context;
    cmx_err err;

    if (!device.entries) {
        device.settings = *settings;
        cmx_settings_merge(&device.settings, device.over);
        if (CMX_LOG_COMPILED >= CMX_LOG_DEBUG) /* other builds contain no debug lines that VERBOSITY could turn on */
            cmx_log_set_level(cmx_settings_log_level(&device.settings));
        announce_key();
    }
    if (device.adapt)
        device.adapt(&task);
    err = add(&task);
    if (err != CMX_OK)
        return err;
    err = apply();
    if (err == CMX_OK)
        return CMX_OK;
    drop_first();
    if (device.entries && apply() != CMX_OK) /* removes the rules of the failed context */
        cmx_log(CMX_LOG_ERROR, TAG, "cannot restore the former contexts");
    return err;
}

cmx_err cmx_device_forward(const struct cmx_settings *settings, const TaskParameters *context)
{
    cmx_err err = cmx_port_device_start();

    if (err)
        return err; /* the error was logged */
    lock();
    err = forward(settings, context);
    unlock();
    return err;
}

void cmx_device_override(const struct cmx_settings *settings, void (*adapt)(TaskParameters *context))
{
    lock();
    device.over = settings;
    device.adapt = adapt;
    unlock();
}

/* ---- functions that may be called at any time ---- */

bool cmx_device_find(cmx_proxy_direction direction, uint16_t local_port, struct cmx_context_status *out)
{
    bool found;

    lock();
    found = device.engine && cmx_proxy_find(device.engine, direction, local_port, out);
    unlock();
    return found;
}

int cmx_device_port_offset(void)
{
    int offset;

    lock();
    offset = (!device.entries && device.over ? device.over : &device.settings)->local_port_offset;
    unlock();
    return offset;
}

bool cmx_device_reached(void)
{
    bool reached;

    lock();
    reached = device.engine && cmx_proxy_reached(device.engine);
    unlock();
    return reached;
}

void cmx_device_set_updating(bool updating)
{
    lock();
    if (device.engine)
        cmx_proxy_set_updating(device.engine, updating);
    unlock();
}

void cmx_device_stop(void)
{
    lock();
    while (device.entries)
        drop_first();
    unlock();
}
