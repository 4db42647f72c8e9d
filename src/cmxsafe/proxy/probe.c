#include "cmxsafe/proxy/probe.h"

#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/crypto.h"

#define TAG "proxy"

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

/* ---- state ---- */

static const char *state_name(probe_state state)
{
    static const char *const names[] = {
        [PROBE_OFF] = "off",
        [PROBE_WAITING] = "waiting",
        [PROBE_OPENING] = "opening",
        [PROBE_SENT] = "sent",
    };

    return names[state];
}

static void probe_set_state(struct run *r, probe_state state, const char *event)
{
    struct probe *p = &r->probe;

    if (p->state == state)
        return;
    cmx_log(CMX_LOG_DEBUG, TAG, "%s: probe: %s -> %s: %s", r->cfg.name, state_name(p->state), state_name(state), event);
    p->state = state;
}

bool cmx_probe_is_out(const struct run *r)
{
    return r->probe.state == PROBE_OPENING || r->probe.state == PROBE_SENT;
}

probe_match cmx_probe_match(struct run *r, const uint8_t *data, size_t len)
{
    struct probe *p = &r->probe;

    if (!cmx_secret_equal(data, p->token, len < sizeof p->token ? len : sizeof p->token))
        return PROBE_OTHER;
    if (len < sizeof p->token)
        return PROBE_TOO_SHORT;
    p->seen = true;
    return PROBE_TOKEN;
}

static void drop_channel(struct probe *p)
{
    cmx_ssh_channel_free(p->channel);
    p->channel = NULL;
}

void cmx_probe_reset(struct run *r)
{
    drop_channel(&r->probe);
    probe_set_state(r, PROBE_OFF, "reset");
    memset(&r->probe, 0, sizeof r->probe);
}

static void probe_wait(struct run *r, const char *event)
{
    drop_channel(&r->probe);
    probe_set_state(r, PROBE_WAITING, event);
    r->probe.next_ms = cmx_session_in(r->session, r->cfg.probe_interval_s * 1000);
    r->probe.seen = false;
    r->probe.gone = false;
}

/* ---- one probe ---- */

/* Returns the address that the probe connects to: the listener's, or "localhost" for a listener on all addresses. */
static const char *target(const struct run *r)
{
    const char *a = cmx_session_listen_address(r);

    return !*a || strcmp(a, "*") == 0 || strcmp(a, "0.0.0.0") == 0 || strcmp(a, "::") == 0 ? "localhost" : a;
}

static void probe_start(struct session *s, struct run *r)
{
    struct probe *p = &r->probe;

    p->next_ms = cmx_session_in(s, CMX_PROBE_TIMEOUT_MS);
    if (cmx_crypto_random(p->token, sizeof p->token) || cmx_ssh_channel_new(s->ssh, &handlers, p, &p->channel)) {
        probe_wait(r, "out of memory or no random bytes");
        return;
    }
    probe_set_state(r, PROBE_OPENING, "interval over");
}

/* Called when the listener did not forward to this device. After the first failure the session stays, and the
 * listener is requested again. After a second failure in a row the session ends, and a new one replaces it. */
static cmx_err probe_failed(struct session *s, struct run *r, const char *why)
{
    probe_wait(r, why);
    r->listening = false;
    r->cancelling = true;
    cmx_session_forward_failed(r, CMX_EFORWARD, "probe of port %u: %s; replacing the listener",
                               (unsigned)r->cfg.remote_port, why);
    r->retry_ms = cmx_session_in(s, 0);
    return ++r->probe.failures > 1 ? CMX_EFORWARD : CMX_OK;
}

static cmx_err step_opening(struct session *s, struct run *r)
{
    struct probe *p = &r->probe;
    size_t sent;
    cmx_err err = cmx_ssh_channel_connect(p->channel, target(r), r->cfg.remote_port);

    if (err == CMX_EAGAIN)
        return cmx_session_past(s, p->next_ms) ? probe_failed(s, r, "no answer") : CMX_OK;
    if (err == CMX_EPERM) {
        cmx_log_limited(CMX_LOG_INFO, TAG, "%s: probes are off: the gateway does not permit them (permitopen)",
                        r->cfg.name);
        drop_channel(p);
        probe_set_state(r, PROBE_OFF, "not permitted");
        return CMX_OK;
    }
    if (err == CMX_EREFUSED)
        return probe_failed(s, r, "nothing listens there");
    if (err)
        return err;
    err = cmx_ssh_channel_write(p->channel, p->token, sizeof p->token, &sent);
    p->next_ms = cmx_session_in(s, CMX_PROBE_TIMEOUT_MS);
    probe_set_state(r, PROBE_SENT, "token sent");
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
            probe_wait(r, "forward granted");
        return CMX_OK;
    case PROBE_WAITING:
        if (cmx_session_past(s, p->next_ms))
            probe_start(s, r);
        return p->state == PROBE_OPENING ? step_opening(s, r) : CMX_OK; /* send the request now */
    case PROBE_OPENING:
        return step_opening(s, r);
    case PROBE_SENT:
        if (p->seen) {
            p->failures = 0;
            probe_wait(r, "the listener forwards");
        } else if (p->gone || cmx_session_past(s, p->next_ms)) {
            return probe_failed(s, r, "the token did not come back");
        }
        return CMX_OK;
    }
    return CMX_OK;
}
