#include "agent/wiring.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent_attest.h"
#include "agent/config/credentials.h"
#include "agent/isolation/agent_isolation.h"
#include "agent/ota/agent_ota.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/proxy.h"
#include "cmxsafe/proxy/proxy_config.h"

/* ---- the proxy ---- */

static void on_session(void *arg, const char *session, const char *gateway, bool up, cmx_err err)
{
    const struct wiring *w = arg;
    const uint64_t one = 1;

    (void)session;
    (void)gateway;
    (void)up;
    (void)err;
    credentials_forget(); /* runs in the session's own thread, after a login that succeeded or failed */
    if (write(w->wake, &one, sizeof one) < 0)
        return; /* the counter is full, so the loop will wake up anyway */
}

static void on_relay(void *arg, const struct cmx_relay_event *e)
{
    const char *context = e->context ? e->context : e->session;
    const char *from = *e->from ? e->from : "an unknown address";

    (void)arg;
    switch (e->kind) {
    case CMX_RELAY_OPENED:
        cmx_log(CMX_LOG_DEBUG, "proxy", "%s: connection %llu from %.46s", context, (unsigned long long)e->number, from);
        break;
    case CMX_RELAY_CLOSED:
        cmx_log(CMX_LOG_DEBUG, "proxy", "%s: connection %llu ended after %llu ms: %llu bytes in, %llu out: %s", context,
                (unsigned long long)e->number, (unsigned long long)e->lasted_ms, (unsigned long long)e->bytes_in,
                (unsigned long long)e->bytes_out, e->cause ? cmx_err_text(e->cause) : "in order");
        break;
    case CMX_RELAY_REFUSED:
        cmx_log(CMX_LOG_DEBUG, "proxy", "%s: connection from %.46s refused: %s", context, from,
                e->cause == CMX_EBUSY ? "max_connections are open" : cmx_err_text(e->cause));
        break;
    }
}

static cmx_err on_open(void *arg, cmx_socket_kind kind, const char *name, const struct sockaddr *local,
                       const struct sockaddr *peer)
{
    const struct wiring *w = arg;

    (void)name;
    (void)local;
    return w->isolation && kind == CMX_SOCKET_SESSION ? isolation_session_opens(w->isolation, peer) : CMX_OK;
}

static void on_close(void *arg, cmx_socket_kind kind, const char *name, const struct sockaddr *local,
                     const struct sockaddr *peer)
{
    const struct wiring *w = arg;

    (void)name;
    (void)local;
    if (w->isolation && kind == CMX_SOCKET_SESSION)
        isolation_session_closed(w->isolation, peer);
}

static void on_resolve(void *arg, const char *host, bool begins)
{
    const struct wiring *w = arg;

    (void)host;
    if (w->isolation)
        isolation_resolve(w->isolation, begins);
}

static cmx_err proxy_check(const struct agent_config *c, struct cmx_why *why)
{
    struct cmx_context *contexts = cmx_mem_alloc(c->n_contexts * sizeof *contexts);
    struct cmx_proxy_config *trial;
    struct cmx_gateway gateway;
    cmx_err err;

    if (!contexts)
        return CMX_ENOMEM;
    config_engine(c, &gateway, contexts);
    err = cmx_proxy_config_new(&trial, &gateway, contexts, c->n_contexts, why);
    cmx_proxy_config_free(trial);
    cmx_mem_free(contexts);
    return err;
}

static cmx_err proxy_start(struct wiring *w, struct cmx_why *why)
{
    struct cmx_proxy_hooks hooks = {.arg = w,
                                    .session = on_session,
                                    .relay = on_relay,
                                    .socket_open = on_open,
                                    .socket_close = on_close,
                                    .resolve = on_resolve};
    struct cmx_context *contexts = cmx_mem_alloc(w->config->n_contexts * sizeof *contexts);
    struct cmx_gateway gateway;
    cmx_err err;

    if (!contexts)
        return CMX_ENOMEM;
    config_engine(w->config, &gateway, contexts);
    err = cmx_proxy_create(&w->proxy, &gateway, contexts, w->config->n_contexts, &hooks, 0, why);
    cmx_mem_free(contexts);
    return err;
}

static cmx_err proxy_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why)
{
    struct cmx_context *contexts = cmx_mem_alloc(next->n_contexts * sizeof *contexts);
    struct cmx_gateway gateway;
    cmx_err err;

    if (!contexts)
        return CMX_ENOMEM;
    config_engine(next, &gateway, contexts);
    err = cmx_proxy_reconfigure(w->proxy, &gateway, contexts, next->n_contexts, why);
    if (!err)
        w->sessions_held = false;
    cmx_mem_free(contexts);
    return err;
}

/* While isolation is enabled but its rules cannot be installed, no session may exist: all sessions end, and start again
 * once the rules are in force. */
static void proxy_turn(struct wiring *w)
{
    const bool permitted = isolation_permits_sessions(w->isolation);
    struct cmx_gateway gateway;
    struct cmx_why why = {""};
    cmx_err err;

    if (permitted != w->sessions_held)
        return;
    if (permitted) {
        err = proxy_reload(w, w->config, &why);
    } else {
        struct cmx_context *contexts = cmx_mem_alloc(w->config->n_contexts * sizeof *contexts);

        if (!contexts)
            return; /* tried again at the next turn */
        config_engine(w->config, &gateway, contexts);
        err = cmx_proxy_reconfigure(w->proxy, &gateway, contexts, 0, &why);
        cmx_mem_free(contexts);
    }
    if (err)
        cmx_log(CMX_LOG_ERROR, "agent", "the sessions cannot be %s: %s", permitted ? "started again" : "ended",
                cmx_why_text(&why, err));
    else
        w->sessions_held = !permitted;
}

static void proxy_stop(struct wiring *w)
{
    cmx_proxy_destroy(w->proxy);
    w->proxy = NULL;
}

/* ---- the other modules ---- */

static cmx_err credentials_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why)
{
    (void)w;
    return credentials_check(next, why);
}

static cmx_err isolation_row_prepare(struct wiring *w, struct cmx_why *why)
{
    return isolation_open(w->config, w->wake, &w->isolation, why);
}

static void isolation_row_plan(const struct wiring *w, struct confine_plan *p)
{
    isolation_plan(w->isolation, p);
}

static cmx_err isolation_row_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why)
{
    return isolation_reload(w->isolation, next, why);
}

static void isolation_row_turn(struct wiring *w)
{
    isolation_turn(w->isolation, w->config);
}

static int isolation_row_fd(const struct wiring *w)
{
    return isolation_fd(w->isolation);
}

static void isolation_row_stop(struct wiring *w)
{
    isolation_close(w->isolation);
    w->isolation = NULL;
}

static void isolation_row_json(const struct wiring *w, struct cmx_json *j)
{
    isolation_json(w->isolation, j);
}

static void isolation_row_text(const struct wiring *w, struct cmx_buf *out)
{
    isolation_text(w->isolation, out);
}

static void attest_row_plan(const struct wiring *w, struct confine_plan *p)
{
    attest_plan(w->config, p);
}

static cmx_err attest_row_prepare(struct wiring *w, struct cmx_why *why)
{
    return attest_prepare(w->config, why);
}

static cmx_err attest_row_start(struct wiring *w, struct cmx_why *why)
{
    return attest_start(w->config, w->isolation, w->proxy, why);
}

static cmx_err attest_row_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why)
{
    return attest_reload(w->config, next, why);
}

static void attest_row_stop(struct wiring *w)
{
    (void)w;
    attest_stop();
}

static void attest_row_json(const struct wiring *w, struct cmx_json *j)
{
    (void)w;
    attest_json(j);
}

static void ota_row_plan(const struct wiring *w, struct confine_plan *p)
{
    ota_plan(w->config, p);
}

static cmx_err ota_row_prepare(struct wiring *w, struct cmx_why *why)
{
    return ota_prepare(w->config, why);
}

static cmx_err ota_row_start(struct wiring *w, struct cmx_why *why)
{
    return ota_start(w->config, w->isolation, w->proxy, why);
}

static void ota_row_stop(struct wiring *w)
{
    (void)w;
    ota_stop();
}

static void ota_row_json(const struct wiring *w, struct cmx_json *j)
{
    (void)w;
    ota_json(j);
}

/* ---- the table ---- */

/* Any function may be NULL. */
struct module {
    const char *name;
    /* Checks whether the module accepts the configuration. Changes nothing; --check calls it too. */
    cmx_err (*check)(const struct agent_config *c, struct cmx_why *why);
    /* Opens or installs everything that the module can no longer reach after the agent has confined itself. */
    cmx_err (*prepare)(struct wiring *w, struct cmx_why *why);
    /* Adds to the plan the files and ports that the module needs after the agent has confined itself. */
    void (*plan)(const struct wiring *w, struct confine_plan *p);
    cmx_err (*start)(struct wiring *w, struct cmx_why *why);
    /* Applies next; the agent then replaces w->config. On error the module still runs with w->config. */
    cmx_err (*reload)(struct wiring *w, const struct agent_config *next, struct cmx_why *why);
    void (*turn)(struct wiring *w);
    int (*fd)(const struct wiring *w); /* -1: none */
    void (*stop)(struct wiring *w);
    void (*json)(const struct wiring *w, struct cmx_json *j);
    void (*text)(const struct wiring *w, struct cmx_buf *out);
};

static const struct module modules[] = {
    {.name = "credentials", .check = credentials_check, .reload = credentials_reload},
    {.name = "isolation",
     .check = isolation_check,
     .prepare = isolation_row_prepare,
     .plan = isolation_row_plan,
     .reload = isolation_row_reload,
     .turn = isolation_row_turn,
     .fd = isolation_row_fd,
     .stop = isolation_row_stop,
     .json = isolation_row_json,
     .text = isolation_row_text},
    {.name = "proxy",
     .check = proxy_check,
     .start = proxy_start,
     .reload = proxy_reload,
     .turn = proxy_turn,
     .stop = proxy_stop},
    {.name = "attest",
     .prepare = attest_row_prepare,
     .plan = attest_row_plan,
     .start = attest_row_start,
     .reload = attest_row_reload,
     .stop = attest_row_stop,
     .json = attest_row_json},
    {.name = "ota",
     .check = ota_check,
     .prepare = ota_row_prepare,
     .plan = ota_row_plan,
     .start = ota_row_start,
     .stop = ota_row_stop,
     .json = ota_row_json},
};
#define N_MODULES (sizeof modules / sizeof modules[0])

/* If a module gave no reason for its error, sets why to the module's name and the text of the error code. */
static cmx_err explain(cmx_err err, const struct module *m, struct cmx_why *why)
{
    if (err && !why->text[0])
        cmx_why_set(why, "%s: %s", m->name, cmx_err_text(err));
    return err;
}

cmx_err wiring_check(const struct agent_config *c, struct cmx_why *why)
{
    cmx_err err = CMX_OK;

    why->text[0] = 0;
    for (const struct module *m = modules; m < modules + N_MODULES && !err; m++)
        err = m->check ? explain(m->check(c, why), m, why) : CMX_OK;
    return err;
}

void wiring_plan(const struct wiring *w, struct confine_plan *p)
{
    for (const struct module *m = modules; m < modules + N_MODULES; m++)
        if (m->plan)
            m->plan(w, p);
}

cmx_err wiring_prepare(struct wiring *w, struct cmx_why *why)
{
    cmx_err err = CMX_OK;

    why->text[0] = 0;
    for (const struct module *m = modules; m < modules + N_MODULES && !err; m++)
        err = m->prepare ? explain(m->prepare(w, why), m, why) : CMX_OK;
    return err;
}

cmx_err wiring_start(struct wiring *w, struct cmx_why *why)
{
    cmx_err err = CMX_OK;

    why->text[0] = 0;
    for (const struct module *m = modules; m < modules + N_MODULES && !err; m++)
        err = m->start ? explain(m->start(w, why), m, why) : CMX_OK;
    return err;
}

static void reload_back(struct wiring *w, const struct module *failed)
{
    struct cmx_why why = {""};

    for (const struct module *m = failed; m-- > modules;)
        if (m->reload && m->reload(w, w->config, &why) != CMX_OK)
            cmx_log(CMX_LOG_ERROR, "agent", "%s cannot return to its old configuration: %s; restart the agent", m->name,
                    why.text);
}

cmx_err wiring_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why)
{
    why->text[0] = 0;
    for (const struct module *m = modules; m < modules + N_MODULES; m++) {
        cmx_err err = m->reload ? explain(m->reload(w, next, why), m, why) : CMX_OK;

        if (err) {
            reload_back(w, m);
            return err;
        }
    }
    return CMX_OK;
}

size_t wiring_polls(const struct wiring *w, struct pollfd fds[WIRING_POLLS_MAX])
{
    size_t n = 0;

    for (const struct module *m = modules; m < modules + N_MODULES; m++) {
        int fd = m->fd ? m->fd(w) : -1;

        if (fd >= 0 && n < WIRING_POLLS_MAX)
            fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    return n;
}

void wiring_turn(struct wiring *w)
{
    for (const struct module *m = modules; m < modules + N_MODULES; m++)
        if (m->turn)
            m->turn(w);
}

void wiring_stop(struct wiring *w)
{
    for (const struct module *m = modules + N_MODULES; m-- > modules;)
        if (m->stop)
            m->stop(w);
}

void wiring_json(void *wiring, struct cmx_json *j)
{
    for (const struct module *m = modules; m < modules + N_MODULES; m++)
        if (m->json)
            m->json(wiring, j);
}

void wiring_text(void *wiring, struct cmx_buf *out)
{
    for (const struct module *m = modules; m < modules + N_MODULES; m++)
        if (m->text)
            m->text(wiring, out);
}
