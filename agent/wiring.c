#include "wiring.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "attest.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/proxy.h"
#include "credentials.h"
#include "isolation.h"
#include "ota.h"

/* ---- the proxy ---- */

static void on_session(void *arg, const char *session, bool up, cmx_err err)
{
    struct agent *a = arg;
    uint64_t one = 1;

    (void)session;
    (void)up;
    (void)err;
    credentials_forget(); /* in the session's own thread, which has just logged in, or failed to */
    if (write(a->wake, &one, sizeof one) < 0)
        return; /* the counter is full: it is awake already */
}

static void on_relay(void *arg, const struct cmx_relay_event *e)
{
    const char *context = e->context ? e->context : e->session;
    const char *from = *e->from ? e->from : "nobody known";

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

static cmx_err proxy_check(const struct agent_config *c, char *why, size_t cap)
{
    struct cmx_context *contexts = cmx_mem_alloc(CMX_PROXY_CONTEXTS_MAX * sizeof *contexts);
    struct cmx_proxy *trial = NULL;
    struct cmx_gateway gateway;
    cmx_err err;

    if (!contexts)
        return CMX_ENOMEM;
    config_engine(c, &gateway, contexts);
    err = cmx_proxy_create(&trial, &gateway, contexts, c->n_contexts, NULL, why, cap);
    cmx_proxy_destroy(trial);
    cmx_mem_free(contexts);
    return err;
}

static cmx_err proxy_start(struct agent *a, char *why, size_t cap)
{
    struct cmx_proxy_hooks hooks = {.arg = a, .session = on_session, .relay = on_relay};
    struct cmx_context *contexts = cmx_mem_alloc(CMX_PROXY_CONTEXTS_MAX * sizeof *contexts);
    struct cmx_gateway gateway;
    cmx_err err;

    if (!contexts)
        return CMX_ENOMEM;
    isolation_hooks(&hooks);
    config_engine(a->config, &gateway, contexts);
    err = cmx_proxy_create(&a->proxy, &gateway, contexts, a->config->n_contexts, &hooks, why, cap);
    if (!err)
        err = cmx_proxy_start(a->proxy, 0);
    cmx_mem_free(contexts);
    return err;
}

static cmx_err proxy_reload(struct agent *a, const struct agent_config *next, char *why, size_t cap)
{
    struct cmx_context *contexts = cmx_mem_alloc(CMX_PROXY_CONTEXTS_MAX * sizeof *contexts);
    struct cmx_gateway gateway;
    cmx_err err;

    if (!contexts)
        return CMX_ENOMEM;
    config_engine(next, &gateway, contexts);
    err = cmx_proxy_reconfigure(a->proxy, &gateway, contexts, next->n_contexts, why, cap);
    cmx_mem_free(contexts);
    return err;
}

static void proxy_stop(struct agent *a)
{
    cmx_proxy_destroy(a->proxy);
    a->proxy = NULL;
}

/* ---- the table ---- */

static const struct agent_module modules[] = {
    {.name = "credentials", .check = credentials_check, .reload = credentials_reload},
    {.name = "isolation",
     .check = isolation_check,
     .prepare = isolation_prepare,
     .reload = isolation_reload,
     .stop = isolation_stop,
     .json = isolation_json,
     .text = isolation_text},
    {.name = "proxy", .check = proxy_check, .start = proxy_start, .reload = proxy_reload, .stop = proxy_stop},
    {.name = "attest",
     .plan = attest_plan,
     .prepare = attest_prepare,
     .start = attest_start,
     .reload = attest_reload,
     .stop = attest_stop,
     .json = attest_json},
    {.name = "ota",
     .check = ota_check,
     .plan = ota_plan,
     .prepare = ota_prepare,
     .start = ota_start,
     .reload = ota_reload,
     .stop = ota_stop},
};
#define N_MODULES (sizeof modules / sizeof modules[0])

/* Completes an error that left no sentence. */
static cmx_err explain(cmx_err err, const struct agent_module *m, char *why, size_t cap)
{
    if (err && !why[0])
        snprintf(why, cap, "%s: %s", m->name, cmx_err_text(err));
    return err;
}

cmx_err wiring_check(const struct agent_config *c, char *why, size_t cap)
{
    cmx_err err = CMX_OK;

    why[0] = 0;
    for (const struct agent_module *m = modules; m < modules + N_MODULES && !err; m++)
        err = m->check ? explain(m->check(c, why, cap), m, why, cap) : CMX_OK;
    return err;
}

void wiring_plan(struct agent *a, struct confine_plan *p)
{
    for (const struct agent_module *m = modules; m < modules + N_MODULES; m++)
        if (m->plan)
            m->plan(a, p);
}

cmx_err wiring_prepare(struct agent *a, char *why, size_t cap)
{
    cmx_err err = CMX_OK;

    why[0] = 0;
    for (const struct agent_module *m = modules; m < modules + N_MODULES && !err; m++)
        err = m->prepare ? explain(m->prepare(a, why, cap), m, why, cap) : CMX_OK;
    return err;
}

cmx_err wiring_start(struct agent *a, char *why, size_t cap)
{
    cmx_err err = CMX_OK;

    why[0] = 0;
    for (const struct agent_module *m = modules; m < modules + N_MODULES && !err; m++)
        err = m->start ? explain(m->start(a, why, cap), m, why, cap) : CMX_OK;
    return err;
}

static void reload_back(struct agent *a, const struct agent_module *failed)
{
    char why[160] = "";

    for (const struct agent_module *m = failed; m-- > modules;)
        if (m->reload && m->reload(a, a->config, why, sizeof why) != CMX_OK)
            cmx_log(CMX_LOG_ERROR, "agent", "%s does not take its old configuration back: %s; restart the agent",
                    m->name, why);
}

cmx_err wiring_reload(struct agent *a, const struct agent_config *next, char *why, size_t cap)
{
    why[0] = 0;
    for (const struct agent_module *m = modules; m < modules + N_MODULES; m++) {
        cmx_err err = m->reload ? explain(m->reload(a, next, why, cap), m, why, cap) : CMX_OK;

        if (err) {
            reload_back(a, m);
            return err;
        }
    }
    return CMX_OK;
}

void wiring_stop(struct agent *a)
{
    for (const struct agent_module *m = modules + N_MODULES; m-- > modules;)
        if (m->stop)
            m->stop(a);
}

void wiring_json(void *agent, struct cmx_json *j)
{
    for (const struct agent_module *m = modules; m < modules + N_MODULES; m++)
        if (m->json)
            m->json(agent, j);
}

void wiring_text(void *agent, struct cmx_buf *out)
{
    for (const struct agent_module *m = modules; m < modules + N_MODULES; m++)
        if (m->text)
            m->text(agent, out);
}

/* ---- control commands ---- */

/* status [json | table [color]] */
static cmx_err command_status(void *arg, const struct control_request *r, struct cmx_buf *out)
{
    struct status_view *v = cmx_mem_alloc(sizeof *v);
    bool table = r->n > 1 && strcmp(r->word[1], "table") == 0;
    cmx_err err = CMX_EINVAL;

    if (!v)
        return CMX_ENOMEM;
    agent_view(arg, v);
    if (table)
        err = status_table(v, r->n > 2 && strcmp(r->word[2], "color") == 0, out);
    else if (r->n == 1 || strcmp(r->word[1], "json") == 0)
        err = status_json(v, out);
    cmx_mem_free(v);
    return err;
}

const struct control_command wiring_commands[] = {
    {"status", false, command_status},
};
const size_t wiring_n_commands = sizeof wiring_commands / sizeof wiring_commands[0];
