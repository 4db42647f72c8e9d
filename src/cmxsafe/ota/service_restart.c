/* service_restart.c - restarts into an activated image: after an update, or for POST /restart. If the restart is
 * refused or does not happen, the service stores the reason and returns to OTA_READY, so that a client can request the
 * restart again. */
#include "cmxsafe/core/log.h"
#include "cmxsafe/ota/service_state.h"

#define TAG "ota"

static void restart_task(void *arg)
{
    struct cmx_ota_service *s = arg;
    struct cmx_why why;
    cmx_err err;

    cmx_why_clear(&why);
    cmx_port_sleep_ms(s->config->restart_grace_ms ? s->config->restart_grace_ms : CMX_OTA_RESTART_GRACE_MS);
    err = s->config->restart(&why);
    cmx_ota_lock(s);
    if (err) {
        cmx_ota_failed(s, "restarting", cmx_why_text(&why, err));
        cmx_ota_set_state(s, OTA_READY);
    }
    s->restart_running = false;
    cmx_ota_unlock(s);
}

void cmx_ota_schedule_restart(struct cmx_ota_service *s)
{
    bool first;

    cmx_ota_lock(s);
    first = s->state == OTA_READY;
    if (first) {
        cmx_why_clear(&s->error);
        s->restart_running = true;
        cmx_ota_set_state(s, OTA_RESTARTING);
    }
    cmx_ota_unlock(s);
    if (!first)
        return;
    cmx_log(CMX_LOG_INFO, TAG, "restarting into the new image");
    if (cmx_port_task_start("ota-restart", 4096, restart_task, s) != CMX_OK)
        restart_task(s);
}

cmx_err cmx_ota_restart_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    struct cmx_ota_service *s = ctx;
    cmx_err err = CMX_OK;
    bool ready;

    if (cmx_ota_refused(s, r, &err))
        return err;
    cmx_ota_lock(s);
    cmx_ota_expire(s);
    ready = s->state == OTA_READY;
    cmx_ota_unlock(s);
    if (!ready)
        return cmx_http_reply_text(r, 409, "error: no update is ready\n");
    *state = s;
    return cmx_http_reply_text(r, 200, "OK restarting\n");
}

void cmx_ota_restart_done(void *ctx, void *state, bool complete)
{
    if (state && complete)
        cmx_ota_schedule_restart(ctx);
}
