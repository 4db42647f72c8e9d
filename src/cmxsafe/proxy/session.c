/* session.c - the life of a session: log in, serve, wait, again; for ever (invariant 5 of the design). */
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/crypto.h"
#include "cmxsafe/proxy/engine.h"

#define TAG CMX_LOG_PROXY

void cmx_run_free(struct run *r)
{
    if (!r)
        return;
    cmx_context_release(&r->cfg);
    cmx_mem_free(r);
}

bool cmx_session_stopping(struct session *s)
{
    bool stop;

    cmx_port_mutex_lock(&s->proxy->lock);
    stop = s->stop;
    cmx_port_mutex_unlock(&s->proxy->lock);
    return stop;
}

uint64_t cmx_session_in(const struct session *s, unsigned seconds)
{
    return s->now_ms + seconds * 1000ull;
}

bool cmx_session_past(const struct session *s, uint64_t at)
{
    return s->now_ms >= at;
}

/* ---- states ---- */

/* Who the gateway is and which session this is, as long as it stands. */
static void note_session(struct cmx_context_status *st, const struct session *s)
{
    st->has_host_key = s->authenticated;
    memcpy(st->host_key, s->host_key, sizeof st->host_key);
    st->session_id_len = s->authenticated ? s->id_len : 0;
    memcpy(st->session_id, s->id, st->session_id_len);
}

void cmx_run_publish(struct run *r)
{
    struct cmx_proxy *p = r->session->proxy;

    note_session(&r->live, r->session);
    cmx_port_mutex_lock(&p->lock);
    r->shared = r->live;
    cmx_port_mutex_unlock(&p->lock);
    r->dirty = false;
}

static void note_error(struct cmx_context_status *st, cmx_err err, const char *text)
{
    st->last_error = err;
    st->last_error_ms = cmx_port_now_ms();
    snprintf(st->last_error_text, sizeof st->last_error_text, "%s", text && *text ? text : cmx_err_text(err));
}

void cmx_run_set_state(struct run *r, cmx_context_state state, cmx_err err, const char *text)
{
    struct cmx_context_status *st = &r->live;
    bool news = err && (st->last_error != err || st->state != state);

    if (err)
        note_error(st, err, text);
    if (st->state != state) {
        cmx_module_log(CMX_LOG_DEBUG | TAG, "%s: %s -> %s", st->name, cmx_context_state_name(st->state),
                       cmx_context_state_name(state));
        st->state = state;
        st->since_ms = cmx_port_now_ms();
        if (state == CMX_STATE_UP)
            cmx_module_log(CMX_LOG_INFO | TAG, "%s: up (%s port %u)", st->name,
                           st->direction == CMX_REVERSE ? "gateway" : "local",
                           st->direction == CMX_REVERSE ? st->remote_port : st->local_port);
    }
    if (news && state == CMX_STATE_FORWARDING)
        cmx_module_log(CMX_LOG_WARN | TAG, "%s: %s", st->name, st->last_error_text);
    cmx_run_publish(r);
}

void cmx_session_set_state(struct session *s, cmx_context_state state, cmx_err err, const char *text)
{
    for (struct run *r = s->runs; r; r = r->next)
        cmx_run_set_state(r, state, err, text);
}

/* ---- hooks ---- */

cmx_err cmx_socket_tell_open(struct cmx_proxy *p, struct tracked_socket *t, cmx_socket_kind kind, const char *context,
                             const struct sockaddr_storage *local, const struct sockaddr *peer)
{
    cmx_err err;

    memset(t, 0, sizeof *t);
    if (!p->hooks.socket_open)
        return CMX_OK;
    t->kind = kind;
    t->local = *local;
    if (peer)
        memcpy(&t->peer, peer, peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    err = p->hooks.socket_open(p->hooks.arg, kind, context, (const struct sockaddr *)local, peer);
    t->told = !err;
    return err;
}

void cmx_socket_tell_close(struct cmx_proxy *p, struct tracked_socket *t, const char *context)
{
    if (!t->told)
        return;
    t->told = false;
    if (p->hooks.socket_close)
        p->hooks.socket_close(p->hooks.arg, t->kind, context, (const struct sockaddr *)&t->local,
                              t->peer.ss_family ? (const struct sockaddr *)&t->peer : NULL);
}

/* ---- waiting ---- */

/* A host key or credential that is wrong stays wrong until a person acts. */
static bool needs_a_person(cmx_err err)
{
    return err == CMX_EHOSTKEY || err == CMX_EAUTH || err == CMX_ENOKEY;
}

static void wait_before_next(struct session *s, cmx_err err, const char *text)
{
    struct cmx_backoff *b = needs_a_person(err) ? &s->slow : &s->backoff;
    uint32_t random = 0;
    uint64_t until;
    uint32_t ms;

    if (cmx_crypto_random(&random, sizeof random))
        random = UINT32_MAX; /* no entropy: the longest wait is the polite one */
    ms = cmx_backoff_next(b, random);
    until = cmx_port_now_ms() + ms;
    cmx_module_log((err == CMX_EHOSTKEY ? CMX_LOG_ERROR : CMX_LOG_WARN) | TAG, "%s: %s; next attempt in %u.%u s",
                   s->name, text, (unsigned)(ms / 1000), (unsigned)(ms % 1000 / 100));
    for (struct run *r = s->runs; r; r = r->next)
        r->live.retry_at_ms = until;
    cmx_session_set_state(s, CMX_STATE_WAITING, err, text);
    while (cmx_port_now_ms() < until && !cmx_session_stopping(s)) {
        uint64_t left = until - cmx_port_now_ms();

        cmx_port_sleep_ms(left < CMX_SESSION_TICK_MS ? (uint32_t)left : CMX_SESSION_TICK_MS);
        cmx_port_watchdog_feed();
    }
}

/* ---- one attempt ---- */

static void announce_down(struct session *s, cmx_err err)
{
    if (!s->announced_up)
        return;
    s->announced_up = false;
    if (s->proxy->hooks.session)
        s->proxy->hooks.session(s->proxy->hooks.arg, s->name, false, err);
}

static void forget_forwards(struct session *s)
{
    for (struct run *r = s->runs; r; r = r->next) {
        r->listening = false;
        r->cancelling = false;
        r->retry_ms = 0;
        r->pressed = false;
        cmx_probe_reset(r);
    }
    s->request = REQUEST_NONE;
    s->request_run = NULL;
}

static void disconnect(struct session *s, cmx_err cause)
{
    cmx_session_drop_relays(s, cause);
    forget_forwards(s);
    cmx_ssh_free(s->ssh);
    s->ssh = NULL;
    s->authenticated = false;
    cmx_socket_tell_close(s->proxy, &s->socket, s->name);
}

static cmx_err attempt(struct session *s)
{
    cmx_err err = cmx_session_login(s);

    if (!err) {
        s->authenticated = true;
        s->id_len = cmx_ssh_session_id(s->ssh, s->id);
        cmx_module_log(CMX_LOG_INFO | TAG, "%s: session with %s up", s->name, s->config->gateway.host);
        for (struct run *r = s->runs; r; r = r->next)
            r->live.sessions++;
        cmx_session_set_state(s, CMX_STATE_FORWARDING, CMX_OK, NULL);
        cmx_port_read_ahead(cmx_ssh_fd(s->ssh)); /* libssh reads 4 KB at a time */
        err = cmx_session_serve(s);
        cmx_session_say(s, "session lost: ", cmx_err_text(err));
    }
    disconnect(s, err);
    announce_down(s, err);
    return err;
}

/* Goes on in a task whose stack is large enough for the key type that is left. It is kept: at a key re-exchange the
 * gateway shows the same key again. */
static bool moved_to_larger_stack(struct session *s)
{
    const size_t before = s->stack_bytes;

    s->stack_bytes = CMX_ED25519_STACK;
    cmx_module_log(CMX_LOG_INFO | TAG, "%s: an Ed25519 host key needs a stack of %u: moving", s->name,
                   (unsigned)s->stack_bytes);
    if (cmx_session_start(s) == CMX_OK)
        return true;
    s->stack_bytes = before;
    return false;
}

void cmx_session_task(void *arg)
{
    struct session *s = arg;

    while (!cmx_session_stopping(s)) {
        cmx_err err;

        cmx_session_update_runs(s);
        s->text[0] = 0;
        if (!cmx_session_lacks_stack(s)) {
            err = attempt(s);
        } else if (moved_to_larger_stack(s)) {
            cmx_port_task_done();
            return;
        } else {
            err = CMX_ENOMEM;
        }
        if (cmx_session_stopping(s))
            break;
        /* The gateway has several host keys and a fingerprint does not say of which type the pinned one is: the next
         * connection asks for another type, at once, until all have been seen. */
        if (!cmx_session_types_left(s, err))
            wait_before_next(s, err, s->text[0] ? s->text : cmx_err_text(err));
    }
    cmx_session_set_state(s, CMX_STATE_IDLE, CMX_OK, NULL);
    cmx_port_task_done();
    cmx_port_mutex_lock(&s->proxy->lock);
    s->finished = true;
    cmx_port_mutex_unlock(&s->proxy->lock);
}
