#include "cmxsafe/proxy/session_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/crypto.h"

#define TAG "proxy"

/* ---- contexts ---- */

void cmx_session_free_context(struct run *r)
{
    if (!r)
        return;
    cmx_lookup_release(r->lookup);
    cmx_proxy_context_release(&r->cfg);
    cmx_mem_free(r);
}

/* Copies the gateway, its host key and the session identifier to the status. Without a session the key and the
 * identifier are marked as absent. */
static void copy_session_facts(struct cmx_context_status *st, const struct session *s)
{
    st->gateway = cmx_session_gateway(s)->host;
    st->gateway_port = cmx_session_gateway(s)->port;
    st->has_host_key = s->authenticated;
    st->key_exchange = s->authenticated ? s->key_exchange : NULL;
    memcpy(st->host_key, s->host_key, sizeof st->host_key);
    st->session_id_len = s->authenticated ? s->id_len : 0;
    memcpy(st->session_id, s->id, st->session_id_len);
}

const char *cmx_session_listen_address(const struct run *r)
{
    return r->address[0] ? r->address : r->cfg.remote_address;
}

void cmx_session_publish(struct run *r)
{
    struct engine *e = r->session->engine;

    copy_session_facts(&r->live, r->session);
    cmx_port_mutex_lock(&e->lock);
    r->shared = r->live;
    cmx_port_mutex_unlock(&e->lock);
    r->dirty = false;
}

static void record_error(struct cmx_context_status *st, cmx_err err, const char *text)
{
    st->last_error = err;
    st->last_error_ms = cmx_port_now_ms();
    snprintf(st->last_error_text, sizeof st->last_error_text, "%s", text && *text ? text : cmx_err_text(err));
}

static void enter_state(struct cmx_context_status *st, cmx_context_state state)
{
    cmx_log(CMX_LOG_DEBUG, TAG, "%s: %s -> %s", st->name, cmx_context_state_name(st->state),
            cmx_context_state_name(state));
    st->state = state;
    st->since_ms = cmx_port_now_ms();
    if (state == CMX_STATE_UP)
        cmx_log_limited(CMX_LOG_INFO, TAG, "%s: up (%s port %u)", st->name,
                        st->direction == CMX_REVERSE ? "gateway" : "local",
                        st->direction == CMX_REVERSE ? st->remote_port : st->local_port);
}

void cmx_session_set_context(struct run *r, cmx_context_state state, cmx_err err, const char *text)
{
    struct cmx_context_status *st = &r->live;
    bool news = err && (st->last_error != err || st->state != state);

    if (err)
        record_error(st, err, text);
    if (st->state != state)
        enter_state(st, state);
    if (news && state == CMX_STATE_FORWARDING)
        cmx_log_limited(CMX_LOG_WARN, TAG, "%s: %s", st->name, st->last_error_text);
    cmx_session_publish(r);
}

void cmx_session_forward_failed(struct run *r, cmx_err err, const char *fmt, ...)
{
    char text[sizeof r->live.last_error_text];
    va_list ap;

    va_start(ap, fmt);
    cmx_text_format(text, sizeof text, fmt, ap);
    va_end(ap);
    r->retry_ms = cmx_session_in(r->session,
                                 CMX_PROXY_FORWARD_RETRY_MS / 2u + cmx_session_random(0) % CMX_PROXY_FORWARD_RETRY_MS);
    cmx_session_set_context(r, CMX_STATE_FORWARDING, err, text);
}

bool cmx_session_lacks_heap(const struct run *r, size_t least, const char *outcome)
{
    const size_t heap = cmx_port_heap_free();

    if (heap >= least)
        return false;
    cmx_log_limited(CMX_LOG_WARN, TAG, "%s: connection %s: only %u bytes of heap are free", r->cfg.name, outcome,
                    (unsigned)heap);
    return true;
}

/* ---- the session ---- */

void cmx_session_set_state(struct session *s, cmx_context_state state, cmx_err err, const char *text)
{
    for (struct run *r = s->runs; r; r = r->next)
        cmx_session_set_context(r, state, err, text);
}

void cmx_session_announce(struct session *s, bool up, cmx_err err)
{
    const struct cmx_proxy_hooks *h = &s->engine->hooks;

    if (s->announced_up == up)
        return;
    s->announced_up = up;
    if (h->session)
        h->session(h->arg, s->name, cmx_session_gateway(s)->host, up, err);
}

void cmx_session_say(struct session *s, const char *what, const char *why)
{
    snprintf(s->text, sizeof s->text, "%s%s", what, why);
}

const struct cmx_gateway_host *cmx_session_gateway(const struct session *s)
{
    return &s->config->gateways.at[s->gateway];
}

bool cmx_session_stopping(struct session *s)
{
    bool stop;

    cmx_port_mutex_lock(&s->engine->lock);
    stop = s->stop;
    cmx_port_mutex_unlock(&s->engine->lock);
    return stop;
}

void cmx_session_alive(struct session *s)
{
    cmx_session_rests(s, 0);
}

void cmx_session_rests(struct session *s, uint32_t ms)
{
    atomic_store(&s->alive, (unsigned)cmx_port_now_ms() + ms);
    cmx_port_watchdog_feed(ms);
}

void cmx_session_wake(struct session *s)
{
    cmx_port_wake(s->wake);
}

uint32_t cmx_session_silent_ms(struct session *s)
{
    const uint32_t silent = (uint32_t)cmx_port_now_ms() - (uint32_t)atomic_load(&s->alive);

    return silent > INT32_MAX ? 0 : silent; /* above INT32_MAX: a wait that the task announced has not ended yet */
}

void cmx_session_set_fd(struct session *s, int fd)
{
    cmx_port_mutex_lock(&s->engine->lock);
    s->fd = fd;
    s->broken = false;
    cmx_port_mutex_unlock(&s->engine->lock);
}

uint32_t cmx_session_random(uint32_t otherwise)
{
    uint32_t bits;

    return cmx_crypto_random(&bits, sizeof bits) ? otherwise : bits;
}

cmx_err cmx_session_wait_ready(struct session *s, int fd, short events, uint64_t deadline)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left = (int64_t)(deadline - cmx_port_now_ms());

        if (cmx_session_stopping(s))
            return CMX_ECLOSED;
        if (left <= 0)
            return CMX_ETIMEOUT;
        cmx_session_alive(s);
        if (poll(&p, 1, left < CMX_SESSION_TICK_MS ? (int)left : CMX_SESSION_TICK_MS) > 0)
            return CMX_OK;
    }
}

/* Makes the next turn of the event loop begin at `at` or earlier. */
static void run_at(struct session *s, uint64_t at)
{
    if (at < s->due_ms)
        s->due_ms = at;
}

uint64_t cmx_session_in(struct session *s, uint32_t ms)
{
    const uint64_t at = s->now_ms + ms;

    run_at(s, at);
    return at;
}

bool cmx_session_past(struct session *s, uint64_t at)
{
    if (s->now_ms >= at)
        return true;
    run_at(s, at);
    return false;
}
