/* service_run.c - starts and stops the update service. */
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/ota/service_state.h"
#include "cmxsafe/port/crypto.h"

#define TAG "ota"

static const struct cmx_http_route routes[] = {
    {.method = "GET", .path = "/", .begin = cmx_ota_page_begin},
    {.method = "GET", .path = "/serverIndex", .begin = cmx_ota_index_begin},
    {.method = "GET", .path = "/update", .begin = cmx_ota_status_begin},
    {.method = "POST",
     .path = "/update",
     .begin = cmx_ota_update_begin,
     .body = cmx_ota_update_body,
     .end = cmx_ota_update_end,
     .done = cmx_ota_update_done},
    {.method = "POST", .path = "/restart", .begin = cmx_ota_restart_begin, .done = cmx_ota_restart_done},
};

static void describe_http(struct cmx_ota_service *s)
{
    s->http.name = "ota";
    s->http.address = s->config->address;
    s->http.port = s->config->port;
    s->http.max_connections = 4;
    s->http.idle_timeout_s = s->config->idle_timeout_s ? s->config->idle_timeout_s : CMX_OTA_IDLE_TIMEOUT_S;
    s->http.routes = routes;
    s->http.n_routes = sizeof routes / sizeof routes[0];
    s->http.ctx = s;
}

/* Sets the service's state from the slots: an activated update, or a trial. */
static void take_slots(struct cmx_ota_service *s)
{
    const struct cmx_slots_status *t = &s->slots;

    s->ready = t->activated;
    if (t->activated)
        cmx_ota_set_state(s, OTA_READY);
    if (t->pending) {
        s->trial.since_ms = cmx_ota_now_ms() - t->trial_ms;
        cmx_ota_set_trial(s, TRIAL_RUNNING);
    }
}

static void greet(struct cmx_ota_service *s)
{
    const struct cmx_slots_status *t = &s->slots;

    cmx_log(CMX_LOG_INFO, TAG, "running version %s from %s%s", t->version[0] ? t->version : "unknown", t->running,
            t->pending ? ", on trial" : "");
    if (t->problem) {
        cmx_log(CMX_LOG_WARN, TAG, "%s", t->problem);
        cmx_ota_set_error(s, t->problem);
    }
    if (t->rolled_back) {
        cmx_log(CMX_LOG_WARN, TAG, "version %s was rolled back: %s",
                t->rolled_back_version[0] ? t->rolled_back_version : "unknown", t->rolled_back_why);
        cmx_ota_event_send(s, CMX_OTA_EVENT_ROLLBACK, t->rolled_back_why);
    }
    if (s->config->policy.keys.n == 0 && !s->config->policy.secure_boot)
        cmx_log(CMX_LOG_WARN, TAG, "no update key: unsigned images are accepted");
}

static void service_free(struct cmx_ota_service *s)
{
    cmx_ota_drop_upload(s);
    cmx_port_mutex_destroy(&s->lock);
    cmx_mem_free(s);
}

cmx_err cmx_ota_start(struct cmx_ota_service **out, const struct cmx_ota_config *config)
{
    struct cmx_ota_service *s = cmx_mem_alloc(sizeof *s);
    cmx_err err;

    if (!s)
        return CMX_ENOMEM;
    s->config = config;
    s->started_ms = cmx_port_now_ms();
    cmx_port_mutex_init(&s->lock);
    describe_http(s);
    err = s->config->slots.status(s->config->slots.arg, &s->slots);
    if (!err && config->boot)
        memcpy(s->boot, config->boot, sizeof s->boot);
    else if (!err)
        err = cmx_crypto_random(s->boot, sizeof s->boot);
    if (!err) {
        take_slots(s);
        greet(s);
        err = cmx_http_serve(&s->http, &s->server);
    }
    if (err) {
        service_free(s);
        return err;
    }
    *out = s;
    return CMX_OK;
}

uint16_t cmx_ota_port(const struct cmx_ota_service *s)
{
    return cmx_http_port(s->server);
}

static bool restart_running(struct cmx_ota_service *s)
{
    bool yes;

    cmx_ota_lock(s);
    yes = s->restart_running;
    cmx_ota_unlock(s);
    return yes;
}

void cmx_ota_stop(struct cmx_ota_service *s)
{
    if (!s)
        return;
    cmx_http_stop(s->server);
    while (restart_running(s))
        cmx_port_sleep_ms(10);
    service_free(s);
}
