/* probe.c - does the gateway's listener still lead here? The device opens its own gateway address through its own
 * session, sends a random token, and looks for it in the connections that arrive. A listener that does not bring it
 * back is asked for anew. */
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/crypto.h"
#include "cmxsafe/proxy/engine.h"

#define TAG CMX_LOG_PROXY

static size_t ignore_data(void *arg, const uint8_t *data, size_t len)
{
    (void)arg;
    (void)data;
    return len;
}

static void ignore_eof(void *arg)
{
    (void)arg;
}

static void note_gone(void *arg)
{
    ((struct probe *)arg)->gone = true;
}

static const struct cmx_ssh_handlers handlers = {ignore_data, ignore_eof, note_gone};

bool cmx_probe_is_out(const struct run *r)
{
    return r->probe.state == PROBE_OPENING || r->probe.state == PROBE_SENT;
}

static void drop_channel(struct probe *p)
{
    cmx_ssh_channel_free(p->channel);
    p->channel = NULL;
}

void cmx_probe_reset(struct run *r)
{
    drop_channel(&r->probe);
    memset(&r->probe, 0, sizeof r->probe);
}

static void wait_again(struct run *r)
{
    drop_channel(&r->probe);
    r->probe.state = PROBE_WAITING;
    r->probe.next_ms = cmx_session_in(r->session, r->cfg.probe_interval_s);
    r->probe.seen = false;
    r->probe.gone = false;
}

/* Wildcards are listened on, not connected to. */
static const char *target(const struct run *r)
{
    const char *a = r->cfg.remote_address;

    return !a || !*a || strcmp(a, "*") == 0 || strcmp(a, "0.0.0.0") == 0 || strcmp(a, "::") == 0 ? "localhost" : a;
}

static void start(struct session *s, struct run *r)
{
    struct probe *p = &r->probe;

    p->next_ms = s->now_ms + CMX_PROBE_TIMEOUT_MS;
    if (cmx_crypto_random(p->token, sizeof p->token) || cmx_ssh_channel_new(s->ssh, &handlers, p, &p->channel)) {
        wait_again(r);
        return;
    }
    p->state = PROBE_OPENING;
}

/* The listener does not lead here. Once: ask for it anew; twice in a row: the whole session. */
static cmx_err failed(struct session *s, struct run *r, const char *why)
{
    unsigned failures = ++r->probe.failures;
    char text[sizeof r->live.last_error_text];

    wait_again(r);
    r->probe.failures = failures;
    snprintf(text, sizeof text, "probe of port %u: %s; replacing the listener", (unsigned)r->cfg.remote_port, why);
    cmx_module_log(CMX_LOG_WARN | TAG, "%s: %s", s->name, text);
    if (failures > 1)
        return CMX_EFORWARD;
    r->listening = false;
    r->cancelling = true;
    r->retry_ms = 0;
    cmx_run_set_state(r, CMX_STATE_FORWARDING, CMX_EFORWARD, text);
    return CMX_OK;
}

static cmx_err step_opening(struct session *s, struct run *r)
{
    struct probe *p = &r->probe;
    size_t sent;
    cmx_err err = cmx_ssh_channel_connect(p->channel, target(r), r->cfg.remote_port);

    if (err == CMX_EAGAIN)
        return cmx_session_past(s, p->next_ms) ? failed(s, r, "no answer") : CMX_OK;
    if (err == CMX_EPERM) {
        cmx_module_log(CMX_LOG_INFO | TAG, "%s: the gateway permits no probes (permitopen): off", r->cfg.name);
        drop_channel(p);
        p->state = PROBE_OFF;
        return CMX_OK;
    }
    if (err == CMX_EREFUSED)
        return failed(s, r, "nobody listens");
    if (err)
        return err;
    err = cmx_ssh_channel_write(p->channel, p->token, sizeof p->token, &sent);
    p->state = PROBE_SENT;
    return err;
}

cmx_err cmx_probe_step(struct session *s, struct run *r)
{
    struct probe *p = &r->probe;

    if (!r->listening || r->cfg.probe_interval_s == 0 || r->cfg.direction != CMX_REVERSE)
        return CMX_OK;
    switch (p->state) {
    case PROBE_OFF:
        if (p->next_ms == 0)
            wait_again(r);
        return CMX_OK;
    case PROBE_WAITING:
        if (cmx_session_past(s, p->next_ms))
            start(s, r);
        return CMX_OK;
    case PROBE_OPENING:
        return step_opening(s, r);
    case PROBE_SENT:
        if (p->seen) {
            p->failures = 0;
            wait_again(r);
        } else if (p->gone || cmx_session_past(s, p->next_ms)) {
            return failed(s, r, "the token did not come back");
        }
        return CMX_OK;
    }
    return CMX_OK;
}

uint64_t cmx_probe_due(const struct run *r)
{
    return r->listening && r->probe.state != PROBE_OFF ? r->probe.next_ms : UINT64_MAX;
}
