#include "agent/wiring.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent_attest.h"
#include "agent/agent_identity.h"
#include "agent/credentials.h"
#include "agent/isolation/agent_isolation.h"
#include "agent/ota/agent_ota.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/proxy.h"
#include "cmxsafe/proxy/proxy_config.h"

#define RETRY_MS 60000

/* ---- the proxy ---- */

static void on_session(void *arg, const char *session, const char *gateway, bool up, cmx_err err)
{
    const struct wiring *w = arg;

    (void)session;
    (void)gateway;
    (void)up;
    (void)err;
    credentials_forget(); /* the session's own thread calls this hook, after a login that succeeded or failed */
    cmx_port_wake(w->wake);
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
                e->cause == CMX_EBUSY ? "max_connections is reached" : cmx_err_text(e->cause));
        break;
    }
}

static cmx_err on_socket(void *arg, cmx_socket_kind kind, const struct sockaddr *local, const struct sockaddr *peer,
                         bool opens)
{
    const struct wiring *w = arg;

    (void)local;
    if (!w->isolation || kind != CMX_SOCKET_SESSION)
        return CMX_OK;
    if (opens)
        return isolation_session_opens(w->isolation, peer);
    isolation_session_closed(w->isolation, peer);
    return CMX_OK;
}

static void on_resolve(void *arg, bool begins)
{
    const struct wiring *w = arg;

    if (w->isolation)
        isolation_resolve(w->isolation, begins);
}

/* Sets *gateway, and returns an array of the contexts; free it with cmx_mem_free. Both borrow their strings from c.
 * NULL: out of memory. */
static struct cmx_context *engine_settings(const struct agent_config *c, struct cmx_gateway *gateway)
{
    struct cmx_context *contexts = cmx_mem_alloc(c->n_contexts * sizeof *contexts);

    if (contexts)
        config_engine(c, gateway, contexts);
    return contexts;
}

static cmx_err proxy_check(const struct agent_config *c, struct cmx_why *why)
{
    struct cmx_proxy_config *trial;
    struct cmx_gateway gateway;
    struct cmx_context *contexts = engine_settings(c, &gateway);
    cmx_err err;

    if (!contexts)
        return CMX_ENOMEM;
    err = cmx_proxy_config_new(&trial, &gateway, contexts, c->n_contexts, why);
    cmx_proxy_config_free(trial);
    cmx_mem_free(contexts);
    return err;
}

/* Starts the engine without contexts; proxy_follow adds them. */
static cmx_err proxy_start(struct wiring *w, struct cmx_why *why)
{
    struct cmx_proxy_hooks hooks = {
        .arg = w, .session = on_session, .relay = on_relay, .socket_change = on_socket, .resolve = on_resolve};
    struct cmx_gateway gateway;
    struct cmx_context *contexts = engine_settings(w->config, &gateway);
    cmx_err err = CMX_ENOMEM;

    if (contexts)
        err = cmx_proxy_create(&w->proxy, &gateway, contexts, 0, &hooks, 0, why);
    cmx_mem_free(contexts);
    return err;
}

/* True if the context leads to one of the agent's own services, and this service does not run. Another process may
 * listen on the service's port, and must not get the gateway's requests. */
static bool lacks_service(const struct agent_config *c, const struct cmx_context *x)
{
    const uint16_t attest = attest_off(c), ota = ota_off(c);

    return x->direction == CMX_REVERSE && x->local_port && (x->local_port == attest || x->local_port == ota) &&
           config_covers_loopback(x->local_host);
}

/* Returns the number of contexts that the engine may have. contexts: the array of engine_settings, or NULL; contexts
 * that the engine may not have are removed from it. */
static size_t keep_served(const struct agent_config *c, struct cmx_context *contexts)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n_contexts; i++) {
        if (!lacks_service(c, &c->contexts[i].options)) {
            if (contexts)
                contexts[n] = contexts[i];
            n++;
        } else if (contexts) {
            cmx_log(
                CMX_LOG_ERROR, "agent",
                "[context %s] is left out while the agent does not serve port %u: another process could answer there",
                c->contexts[i].name, (unsigned)contexts[i].local_port);
        }
    }
    return n;
}

/* Gives the engine the settings of c. permitted false: no session may exist, so the engine gets no contexts. */
static cmx_err proxy_change(struct wiring *w, const struct agent_config *c, bool permitted, struct cmx_why *why)
{
    struct cmx_gateway gateway;
    struct cmx_context *contexts = engine_settings(c, &gateway);
    const size_t n = contexts && permitted ? keep_served(c, contexts) : 0;
    cmx_err err = CMX_ENOMEM;

    if (contexts)
        err = cmx_proxy_reconfigure(w->proxy, &gateway, contexts, n, why);
    if (!err)
        w->given = n;
    cmx_mem_free(contexts);
    return err;
}

static cmx_err proxy_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why)
{
    return w->proxy ? proxy_change(w, next, true, why) : CMX_OK;
}

/* Gives the engine the contexts that it may have now. While isolation is enabled but its rules cannot be installed, no
 * session may exist: all sessions end, and start again once the rules are in force. */
static void proxy_follow(struct wiring *w)
{
    const bool permitted = isolation_permits_sessions(w->isolation);
    const size_t n = permitted ? keep_served(w->config, NULL) : 0;
    struct cmx_why why = {""};
    cmx_err err = n != w->given ? proxy_change(w, w->config, permitted, &why) : CMX_OK;

    if (err)
        cmx_log(CMX_LOG_ERROR, "agent", "the sessions cannot be %s: %s", permitted ? "started" : "ended",
                cmx_why_text(&why, err));
}

static void proxy_stop(struct wiring *w)
{
    cmx_proxy_destroy(w->proxy);
    w->proxy = NULL;
}

static const struct module proxy_module = {
    .name = "proxy", .check = proxy_check, .start = proxy_start, .reload = proxy_reload, .stop = proxy_stop};

/* ---- the table ---- */

static const struct module *const modules[] = {&isolation_module, &identity_module, &proxy_module, &attest_module,
                                               &ota_module};
#define N_MODULES (sizeof modules / sizeof modules[0])

/* If a module gave no reason for its error, sets why to the module's name and the text of the error code. */
static cmx_err explain(cmx_err err, const struct module *m, struct cmx_why *why)
{
    return err && !why->text[0] ? cmx_why_fail(why, err, "%s: %s", m->name, cmx_err_text(err)) : err;
}

cmx_err wiring_check(const struct agent_config *c, struct cmx_why *why)
{
    cmx_err err = CMX_OK;

    cmx_why_clear(why);
    for (size_t i = 0; i < N_MODULES && !err; i++)
        err = modules[i]->check ? explain(modules[i]->check(c, why), modules[i], why) : CMX_OK;
    return err;
}

void wiring_plan(const struct wiring *w, struct confine_plan *p)
{
    for (size_t i = 0; i < N_MODULES; i++)
        if (modules[i]->plan)
            modules[i]->plan(w, p);
}

cmx_err wiring_prepare(struct wiring *w, struct cmx_why *why)
{
    cmx_err err = CMX_OK;

    cmx_why_clear(why);
    for (size_t i = 0; i < N_MODULES && !err; i++)
        err = modules[i]->prepare ? explain(modules[i]->prepare(w, why), modules[i], why) : CMX_OK;
    return err;
}

cmx_err wiring_start(struct wiring *w, struct cmx_why *why)
{
    cmx_err err = CMX_OK;

    cmx_why_clear(why);
    for (size_t i = 0; i < N_MODULES && !err; i++)
        err = modules[i]->start ? explain(modules[i]->start(w, why), modules[i], why) : CMX_OK;
    if (!err)
        proxy_follow(w);
    w->retry_at_ms = cmx_port_now_ms() + RETRY_MS;
    return err;
}

/* Reloads the configuration in force into the first n modules, after another module refused a new one. */
static void reload_back(struct wiring *w, size_t n)
{
    struct cmx_why why = {""};

    while (n-- > 0)
        if (modules[n]->reload && modules[n]->reload(w, w->config, &why) != CMX_OK)
            cmx_log(CMX_LOG_ERROR, "agent", "%s cannot return to its old configuration: %s; restart the agent",
                    modules[n]->name, why.text);
}

cmx_err wiring_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why)
{
    cmx_err err = wiring_check(next, why);

    for (size_t i = 0; i < N_MODULES && !err; i++) {
        err = modules[i]->reload ? explain(modules[i]->reload(w, next, why), modules[i], why) : CMX_OK;

        if (err)
            reload_back(w, i);
    }
    return err;
}

size_t wiring_polls(const struct wiring *w, struct pollfd fds[WIRING_POLLS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < N_MODULES; i++) {
        int fd = modules[i]->fd ? modules[i]->fd(w) : -1;

        if (fd >= 0 && n < WIRING_POLLS_MAX)
            fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    return n;
}

void wiring_turn(struct wiring *w)
{
    const uint64_t now_ms = cmx_port_now_ms();

    w->retry = now_ms >= w->retry_at_ms;
    if (w->retry)
        w->retry_at_ms = now_ms + RETRY_MS;
    for (size_t i = 0; i < N_MODULES; i++)
        if (modules[i]->turn)
            modules[i]->turn(w);
    if (w->proxy)
        proxy_follow(w); /* last, because the contexts depend on the modules */
}

void wiring_stop(struct wiring *w)
{
    for (size_t i = N_MODULES; i-- > 0;)
        if (modules[i]->stop)
            modules[i]->stop(w);
}

void wiring_json(void *wiring, struct cmx_json *j)
{
    for (size_t i = 0; i < N_MODULES; i++)
        if (modules[i]->json)
            modules[i]->json(wiring, j);
}

void wiring_text(void *wiring, struct cmx_buf *out)
{
    for (size_t i = 0; i < N_MODULES; i++)
        if (modules[i]->text)
            modules[i]->text(wiring, out);
}
