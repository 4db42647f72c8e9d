/* service_trial.c - the trial of a new image: confirms it, or rolls it back and restarts. A step that fails is tried
 * again after a pause, which doubles each time. An outcome is not reported until it is final. */
#include "cmxsafe/core/log.h"
#include "cmxsafe/ota/service_state.h"

#define TAG "ota"

enum { PAUSE_MIN_MS = 2000, PAUSE_MAX_MS = 60000 };

/* Call when a step has failed. Stores the reason, which GET /update shows, and sets the time of the next attempt. */
static void trial_failed(struct cmx_ota_service *s, const char *step, cmx_err err, const struct cmx_why *why)
{
    struct cmx_ota_trial *t = &s->trial;

    t->pause_ms = t->pause_ms ? 2 * t->pause_ms : PAUSE_MIN_MS;
    if (t->pause_ms > PAUSE_MAX_MS)
        t->pause_ms = PAUSE_MAX_MS;
    t->last_ms = cmx_ota_now_ms();
    cmx_ota_lock(s);
    cmx_ota_failed(s, step, cmx_why_text(why, err));
    cmx_ota_unlock(s);
}

static void trial_step(struct cmx_ota_service *s, cmx_ota_trial_step step)
{
    cmx_ota_lock(s);
    cmx_ota_set_trial(s, step);
    cmx_ota_unlock(s);
}

static bool trial_due(const struct cmx_ota_service *s)
{
    return cmx_ota_now_ms() - s->trial.last_ms >= s->trial.pause_ms;
}

/* trial_confirm, trial_rollback, trial_restart and trial_decide expect *why to be empty, and store a reason in it. */
static void trial_confirm(struct cmx_ota_service *s, struct cmx_why *why)
{
    cmx_err err = s->config->slots.confirm(s->config->slots.arg, why);

    cmx_ota_read_slots(s);
    if (err && s->slots.pending) {
        s->trial.confirm_failed = true;
        trial_failed(s, "confirming", err, why);
        return;
    }
    cmx_ota_lock(s);
    cmx_ota_set_error(s, why->text);
    cmx_ota_set_trial(s, TRIAL_OVER);
    cmx_ota_unlock(s);
    if (err) { /* nothing is on trial: the running image is not the new image */
        cmx_log(CMX_LOG_WARN, TAG, "nothing to confirm: %s", why->text);
        cmx_ota_event_send(s, CMX_OTA_EVENT_ROLLBACK, why->text);
        return;
    }
    cmx_log(CMX_LOG_INFO, TAG, "version %s is confirmed", s->slots.version);
    cmx_ota_event_send(s, CMX_OTA_EVENT_CONFIRMED, s->slots.version);
}

static void trial_rollback(struct cmx_ota_service *s, struct cmx_why *why)
{
    cmx_err err = s->config->slots.rollback(s->config->slots.arg, s->trial.because, why);

    if (err == CMX_ENOENT) {
        s->trial.no_way_back = true;
        cmx_ota_lock(s);
        cmx_ota_failed(s, "rolling back", "there is no other image");
        cmx_ota_set_trial(s, TRIAL_RUNNING);
        cmx_ota_unlock(s);
    } else if (err) {
        trial_failed(s, "rolling back", err, why);
    } else {
        cmx_log(CMX_LOG_ERROR, TAG, "version %s is rolled back: %s", s->slots.version, s->trial.because);
        cmx_ota_event_send(s, CMX_OTA_EVENT_ROLLBACK, s->trial.because);
        trial_step(s, TRIAL_RESTART);
    }
}

static cmx_confirm_decision trial_restart(struct cmx_ota_service *s, struct cmx_why *why)
{
    cmx_err err = s->config->restart(why);

    if (err) {
        trial_failed(s, "restarting", err, why);
        return CMX_CONFIRM_WAIT;
    }
    s->trial.last_ms = cmx_ota_now_ms();
    s->trial.pause_ms = CMX_OTA_RESTART_WAIT_MS;
    return CMX_CONFIRM_ROLLBACK;
}

static void trial_decide(struct cmx_ota_service *s, const struct cmx_confirm_facts *facts, struct cmx_why *why)
{
    struct cmx_confirm_facts f = *facts;
    cmx_confirm_decision decision;

    f.confirm_failed = s->trial.confirm_failed;
    decision = cmx_confirm_decide(cmx_ota_now_ms() - s->trial.since_ms, s->config->confirm_deadline_ms, &f);
    if (decision == CMX_CONFIRM_NOW && trial_due(s)) {
        trial_confirm(s, why);
    } else if (decision == CMX_CONFIRM_ROLLBACK && !s->trial.no_way_back) {
        s->trial.because = cmx_confirm_unmet(&f);
        trial_step(s, TRIAL_ROLLBACK);
    }
}

cmx_confirm_decision cmx_ota_watch(struct cmx_ota_service *s, const struct cmx_confirm_facts *facts)
{
    struct cmx_why why;

    cmx_why_clear(&why);
    if (s->trial.step == TRIAL_RUNNING)
        trial_decide(s, facts, &why);
    if (s->trial.step == TRIAL_ROLLBACK && trial_due(s))
        trial_rollback(s, &why);
    if (s->trial.step == TRIAL_RESTART && trial_due(s))
        return trial_restart(s, &why);
    return s->trial.step == TRIAL_OVER ? CMX_CONFIRM_NOW : CMX_CONFIRM_WAIT;
}
