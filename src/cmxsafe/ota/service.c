#include "cmxsafe/ota/service.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/json.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/ota/origin.h"
#include "cmxsafe/ota/page.h"
#include "cmxsafe/ota/service_state.h"

#define TAG CMX_LOG_OTA

enum { STATUS_MAX = 1536 };

static const char *state_name(cmx_ota_state_name s)
{
    return cmx_text_nth("idle\0receiving\0interrupted\0checking\0ready\0restarting", s);
}

void cmx_ota_event_send(struct cmx_ota_service *s, cmx_ota_event e, const char *text)
{
    if (s->config.event)
        s->config.event(s->config.event_arg, e, text);
}

void cmx_ota_set_state(struct cmx_ota_service *s, cmx_ota_state_name state)
{
    if (s->state == state)
        return;
    cmx_module_log(CMX_LOG_DEBUG | TAG, "%s -> %s", state_name(s->state), state_name(state));
    s->state = state;
}

void cmx_ota_drop_upload(struct cmx_ota_service *s)
{
    if (s->upload) {
        s->ready = s->ready && !s->upload->begun;
        cmx_upload_abort(s->upload);
    }
    cmx_mem_free(s->upload);
    s->upload = NULL;
    s->received = 0;
    s->total = 0;
    s->crc = 0;
    cmx_ota_set_state(s, s->ready ? OTA_READY : OTA_IDLE);
}

void cmx_ota_look_at_slots(struct cmx_ota_service *s)
{
    if (s->config.slots.status(s->config.slots.arg, &s->slots) != CMX_OK)
        cmx_module_log(CMX_LOG_WARN | TAG, "the slots cannot be read");
}

/* ---- who may ---- */

/* True: answered with a refusal. */
static bool foreign_name(struct cmx_ota_service *s, struct cmx_http_request *r, cmx_err *err)
{
    const char *host = cmx_http_header_get(r, "Host");

    if (cmx_origin_host_ok(host, s->config.hosts, s->config.n_hosts))
        return false;
    *err = cmx_http_reply_text(
        r, 403, "error: this device is not known by the name '%.64s'; use its address or configure the name\n",
        host ? host : "");
    return true;
}

bool cmx_ota_refused(struct cmx_ota_service *s, struct cmx_http_request *r, cmx_err *err)
{
    return foreign_name(s, r, err) || cmx_origin_refused(r, err);
}

cmx_err cmx_ota_no_memory(struct cmx_http_request *r)
{
    return cmx_http_reply_text(r, 503, "error: no memory\n");
}

/* ---- GET /, /serverIndex ---- */

static cmx_err page_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    static const struct cmx_http_header headers[] = {{"Content-Security-Policy", cmx_ota_page_csp},
                                                     {"X-Content-Type-Options", "nosniff"},
                                                     {"Content-Encoding", "gzip"},
                                                     {"Cache-Control", "no-store"}};
    cmx_err err;

    (void)state;
    if (foreign_name(ctx, r, &err))
        return err;
    return cmx_http_reply_static(r, 200, "text/html; charset=utf-8", cmx_ota_page, cmx_ota_page_len, headers,
                                 sizeof headers / sizeof headers[0]);
}

static cmx_err index_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    static const struct cmx_http_header to = {"Location", "/"};

    (void)ctx;
    (void)state;
    return cmx_http_reply(r, 302, "text/plain", "see /\n", 6, &to, 1);
}

/* ---- GET /update ---- */

static void status_upload(struct cmx_ota_service *s, struct cmx_json *j)
{
    char crc[9];

    cmx_json_str(j, "state", state_name(s->state));
    cmx_json_u64(j, "received", s->received);
    if (s->total)
        cmx_json_u64(j, "total", s->total);
    else
        cmx_json_null(j, "total");
    snprintf(crc, sizeof crc, "%08" PRIx32, s->crc);
    cmx_json_str(j, "crc32", crc);
    cmx_json_str(j, "error", s->error[0] ? s->error : NULL);
}

static void status_slots(struct cmx_ota_service *s, struct cmx_json *j)
{
    const struct cmx_slots_status *t = &s->slots;

    cmx_json_object(j, "running");
    cmx_json_str(j, "slot", t->running);
    cmx_json_u64(j, "offset", t->running_offset);
    cmx_json_str(j, "version", t->version);
    cmx_json_str(j, "project", t->project);
    cmx_json_u64(j, "secure_version", t->secure_version);
    cmx_json_bool(j, "confirmed", !t->pending);
    cmx_json_end(j);
    cmx_json_object(j, "target");
    cmx_json_str(j, "slot", t->target);
    cmx_json_u64(j, "size", t->target_size);
    cmx_json_end(j);
    if (!t->rolled_back) {
        cmx_json_null(j, "rolled_back");
        return;
    }
    cmx_json_object(j, "rolled_back");
    cmx_json_str(j, "version", t->rolled_back_version);
    cmx_json_str(j, "why", t->rolled_back_why);
    cmx_json_end(j);
}

static cmx_err status_write(struct cmx_ota_service *s, struct cmx_buf *out)
{
    struct cmx_json j;

    cmx_json_init(&j, out);
    cmx_json_object(&j, NULL);
    cmx_json_str(&j, "device", s->config.name ? s->config.name : "device");
    cmx_json_hex(&j, "boot", s->boot, sizeof s->boot);
    cmx_json_u64(&j, "uptime_ms", cmx_port_now_ms() - s->started_ms);
    cmx_json_bool(&j, "signature_required", s->config.policy.keys.n > 0);
    status_upload(s, &j);
    status_slots(s, &j);
    cmx_json_end(&j);
    return cmx_json_finish(&j);
}

void cmx_ota_expire(struct cmx_ota_service *s)
{
    if (s->state == OTA_INTERRUPTED && cmx_port_now_ms() - s->interrupted_ms >= CMX_OTA_RESUME_MS)
        cmx_ota_drop_upload(s);
}

static cmx_err status_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    static const struct cmx_http_header headers[] = {{"Cache-Control", "no-store"},
                                                     {"X-Content-Type-Options", "nosniff"}};
    struct cmx_ota_service *s = ctx;
    struct cmx_buf out;
    cmx_err err = CMX_OK;
    uint8_t *text;

    (void)state;
    if (cmx_ota_refused(s, r, &err))
        return err;
    text = cmx_mem_alloc(STATUS_MAX);
    if (!text)
        return cmx_ota_no_memory(r);
    cmx_buf_init(&out, text, STATUS_MAX);
    cmx_port_mutex_lock(&s->lock);
    cmx_ota_expire(s);
    err = status_write(s, &out);
    cmx_port_mutex_unlock(&s->lock);
    if (!err)
        err = cmx_http_reply(r, 200, "application/json", cmx_buf_data(&out), cmx_buf_len(&out), headers, 2);
    cmx_mem_free(text);
    return err;
}

/* ---- restarting ---- */

static void restart_now(struct cmx_ota_service *s)
{
    if (s->config.restart)
        s->config.restart(s->config.restart_arg);
    else
        cmx_port_restart();
}

static void restart_task(void *arg)
{
    struct cmx_ota_service *s = arg;

    cmx_port_sleep_ms(s->config.restart_grace_ms ? s->config.restart_grace_ms : CMX_OTA_RESTART_GRACE_MS);
    restart_now(s);
    cmx_port_mutex_lock(&s->lock);
    s->restart_over = true;
    cmx_port_mutex_unlock(&s->lock);
}

void cmx_ota_schedule_restart(struct cmx_ota_service *s)
{
    bool first;

    cmx_port_mutex_lock(&s->lock);
    first = s->state == OTA_READY;
    if (first)
        cmx_ota_set_state(s, OTA_RESTARTING);
    cmx_port_mutex_unlock(&s->lock);
    if (!first)
        return;
    cmx_module_log(CMX_LOG_INFO | TAG, "restarting into the new image");
    if (cmx_port_task_start("ota-restart", 4096, restart_task, s) != CMX_OK)
        restart_task(s);
}

static cmx_err restart_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    struct cmx_ota_service *s = ctx;
    cmx_err err = CMX_OK;
    bool ready;

    if (cmx_ota_refused(s, r, &err))
        return err;
    cmx_port_mutex_lock(&s->lock);
    ready = s->state == OTA_READY;
    cmx_port_mutex_unlock(&s->lock);
    if (!ready)
        return cmx_http_reply_text(r, 409, "error: no update is ready\n");
    *state = s;
    return cmx_http_reply_text(r, 200, "OK restarting\n");
}

static void restart_done(void *ctx, void *state, bool complete)
{
    if (state && complete)
        cmx_ota_schedule_restart(ctx);
}

/* ---- life ---- */

static const struct cmx_http_route routes[] = {
    {.method = "GET", .path = "/", .begin = page_begin},
    {.method = "GET", .path = "/serverIndex", .begin = index_begin},
    {.method = "GET", .path = "/update", .begin = status_begin},
    {.method = "POST",
     .path = "/update",
     .begin = cmx_ota_update_begin,
     .body = cmx_ota_update_body,
     .end = cmx_ota_update_end,
     .done = cmx_ota_update_done},
    {.method = "POST", .path = "/restart", .begin = restart_begin, .done = restart_done},
};

static void describe_http(struct cmx_ota_service *s)
{
    s->http.name = "ota";
    s->http.address = s->config.address;
    s->http.port = s->config.port;
    s->http.max_connections = 4;
    s->http.idle_timeout_s = s->config.idle_timeout_s ? s->config.idle_timeout_s : CMX_OTA_IDLE_TIMEOUT_S;
    s->http.routes = routes;
    s->http.n_routes = sizeof routes / sizeof routes[0];
    s->http.ctx = s;
}

static void greet(struct cmx_ota_service *s)
{
    const struct cmx_slots_status *t = &s->slots;

    cmx_module_log(CMX_LOG_INFO | TAG, "running version %s from %s%s", t->version[0] ? t->version : "unknown",
                   t->running, t->pending ? ", on trial" : "");
    if (t->rolled_back) {
        cmx_module_log(CMX_LOG_WARN | TAG, "version %s was rolled back: %s", t->rolled_back_version,
                       t->rolled_back_why);
        cmx_ota_event_send(s, CMX_OTA_EVENT_ROLLBACK, t->rolled_back_why);
    }
    if (s->config.policy.keys.n == 0 && !s->config.policy.secure_boot)
        cmx_module_log(CMX_LOG_WARN | TAG, "no update key: unsigned images are accepted");
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
    s->config = *config;
    s->started_ms = cmx_port_now_ms();
    err = cmx_port_mutex_init(&s->lock);
    if (err) {
        cmx_mem_free(s);
        return err;
    }
    describe_http(s);
    err = s->config.slots.status(s->config.slots.arg, &s->slots);
    if (!err)
        err = cmx_crypto_random(s->boot, sizeof s->boot);
    if (!err) {
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

static void confirmed(struct cmx_ota_service *s)
{
    cmx_err err = s->config.slots.confirm(s->config.slots.arg);

    cmx_ota_look_at_slots(s);
    if (err) {
        cmx_module_log(CMX_LOG_ERROR | TAG, "confirming failed: %s", cmx_err_text(err));
        return; /* tried again at the next call, until the deadline */
    }
    s->confirm_over = true;
    cmx_module_log(CMX_LOG_INFO | TAG, "version %s is confirmed", s->slots.version);
    cmx_ota_event_send(s, CMX_OTA_EVENT_CONFIRMED, s->slots.version);
}

static void rolled_back(struct cmx_ota_service *s, const char *why)
{
    cmx_err err = s->config.slots.rollback(s->config.slots.arg, why);

    s->confirm_over = true;
    if (err) {
        cmx_module_log(CMX_LOG_ERROR | TAG, "no way back from version %s (%s): %s", s->slots.version, why,
                       cmx_err_text(err));
        return;
    }
    cmx_module_log(CMX_LOG_ERROR | TAG, "version %s is rolled back: %s", s->slots.version, why);
    cmx_ota_event_send(s, CMX_OTA_EVENT_ROLLBACK, why);
}

cmx_confirm_decision cmx_ota_watch(struct cmx_ota_service *s, const struct cmx_confirm_facts *facts)
{
    cmx_confirm_decision decision = CMX_CONFIRM_NOW;
    const char *why = "";

    cmx_port_mutex_lock(&s->lock);
    if (!s->slots.pending)
        s->confirm_over = true;
    if (!s->confirm_over) {
        decision = cmx_confirm_decide(s->started_ms, s->config.confirm_deadline_ms, cmx_port_now_ms(), facts, &why);
        if (decision == CMX_CONFIRM_NOW)
            confirmed(s);
        else if (decision == CMX_CONFIRM_ROLLBACK)
            rolled_back(s, why);
        if (decision == CMX_CONFIRM_NOW && !s->confirm_over)
            decision = CMX_CONFIRM_WAIT;
    }
    cmx_port_mutex_unlock(&s->lock);
    if (decision == CMX_CONFIRM_ROLLBACK)
        restart_now(s);
    return decision;
}

/* A device never gets here while it restarts; a program that only pretends to restart may. */
static bool restarting(struct cmx_ota_service *s)
{
    bool yes;

    cmx_port_mutex_lock(&s->lock);
    yes = s->state == OTA_RESTARTING && !s->restart_over;
    cmx_port_mutex_unlock(&s->lock);
    return yes;
}

void cmx_ota_stop(struct cmx_ota_service *s)
{
    if (!s)
        return;
    cmx_http_stop(s->server);
    while (restarting(s))
        cmx_port_sleep_ms(10);
    service_free(s);
}
