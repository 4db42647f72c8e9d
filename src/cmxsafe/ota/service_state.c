#include "cmxsafe/ota/service_state.h"

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"

#define TAG "ota"

uint32_t cmx_ota_now_ms(void)
{
    return (uint32_t)cmx_port_now_ms();
}

void cmx_ota_lock(struct cmx_ota_service *s)
{
    cmx_port_mutex_lock(&s->lock);
}

void cmx_ota_unlock(struct cmx_ota_service *s)
{
    cmx_port_mutex_unlock(&s->lock);
}

const char *cmx_ota_state_text(cmx_ota_state_name state)
{
    static const char *const names[] = {"idle", "receiving", "interrupted", "checking", "ready", "restarting"};

    return names[state];
}

void cmx_ota_set_state(struct cmx_ota_service *s, cmx_ota_state_name state)
{
    if (s->state == state)
        return;
    cmx_log(CMX_LOG_DEBUG, TAG, "%s -> %s", cmx_ota_state_text(s->state), cmx_ota_state_text(state));
    s->state = state;
    s->state_ms = cmx_ota_now_ms();
}

void cmx_ota_set_trial(struct cmx_ota_service *s, cmx_ota_trial_step step)
{
    static const char *const names[] = {"over", "running", "rollback", "restart"};

    if (s->trial.step == step)
        return;
    cmx_log(CMX_LOG_DEBUG, TAG, "trial: %s -> %s", names[s->trial.step], names[step]);
    s->trial.step = step;
    s->trial.pause_ms = 0;
}

void cmx_ota_set_error(struct cmx_ota_service *s, const char *why)
{
    cmx_why_set(&s->error, "%s", why);
}

void cmx_ota_failed(struct cmx_ota_service *s, const char *step, const char *why)
{
    cmx_log(CMX_LOG_ERROR, TAG, "%s failed: %s", step, why);
    cmx_ota_set_error(s, why);
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

void cmx_ota_expire(struct cmx_ota_service *s)
{
    const uint32_t lasted_ms = cmx_ota_now_ms() - s->state_ms;

    if (s->state == OTA_INTERRUPTED && lasted_ms >= CMX_OTA_RESUME_MS)
        cmx_ota_drop_upload(s);
    if (s->state == OTA_RESTARTING && !s->restart_running && lasted_ms >= CMX_OTA_RESTART_WAIT_MS) {
        cmx_ota_failed(s, "restarting", "the restart was requested but did not happen");
        cmx_ota_set_state(s, OTA_READY);
    }
}

void cmx_ota_read_slots(struct cmx_ota_service *s)
{
    struct cmx_slots_status now;

    if (s->config->slots.status(s->config->slots.arg, &now) != CMX_OK) {
        cmx_log(CMX_LOG_WARN, TAG, "the slots cannot be read");
        return;
    }
    cmx_ota_lock(s);
    s->slots = now;
    cmx_ota_unlock(s);
}

void cmx_ota_event_send(struct cmx_ota_service *s, cmx_ota_event e, const char *text)
{
    if (s->config->event)
        s->config->event(e, text);
}
