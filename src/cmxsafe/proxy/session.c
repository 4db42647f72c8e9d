#include "cmxsafe/proxy/session.h"

#include <stdio.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/port/poll.h"
#include "cmxsafe/proxy/probe.h"
#include "cmxsafe/proxy/session_gateway.h"
#include "cmxsafe/proxy/session_login.h"
#include "cmxsafe/proxy/session_serve.h"

#define TAG "proxy"
#define HOLD_MS 5

/* ---- waiting ---- */

static void session_sleep(struct session *s, uint64_t until)
{
    uint64_t now;

    while ((now = cmx_port_now_ms()) < until && !cmx_session_stopping(s)) {
        struct pollfd p = {.fd = s->wake, .events = POLLIN};
        uint32_t left = (uint32_t)(until - now);

        if (s->wake < 0 && left > CMX_SESSION_TICK_MS)
            left = CMX_SESSION_TICK_MS;
        cmx_session_rests(s, left);
        if (s->wake < 0)
            cmx_port_sleep_ms(left);
        else if (poll(&p, 1, (int)left) > 0)
            cmx_port_wake_clear(s->wake);
    }
}

/* Waits before the next attempt. last: every gateway has been tried in this round. */
static void wait_before_next(struct session *s, cmx_err err, const char *text, bool last)
{
    struct cmx_backoff *b = last && cmx_session_needs_person(err) ? &s->slow : &s->backoff;
    const uint32_t ms = cmx_backoff_next(b, cmx_session_random(UINT32_MAX)); /* without random bits: the longest wait */
    const uint64_t until = cmx_port_now_ms() + ms;

    cmx_log(err == CMX_EHOSTKEY ? CMX_LOG_ERROR : CMX_LOG_WARN, TAG, "%s: %s: %s; next attempt in %u.%u s", s->name,
            cmx_session_gateway(s)->host, text, (unsigned)(ms / 1000), (unsigned)(ms % 1000 / 100));
    for (struct run *r = s->runs; r; r = r->next)
        r->live.retry_at_ms = until;
    cmx_session_set_state(s, CMX_STATE_WAITING, err, text);
    session_sleep(s, until);
}

/* ---- one attempt ---- */

static void forget_forwards(struct session *s)
{
    for (struct run *r = s->runs; r; r = r->next) {
        r->listening = false;
        r->cancelling = false;
        r->retry_ms = 0;
        r->pressed = false;
        r->address[0] = '\0';
        cmx_probe_reset(r);
    }
    s->request = REQUEST_NONE;
    s->request_run = NULL;
}

static void session_disconnect(struct session *s, cmx_err cause)
{
    cmx_session_serve_end(s, cause);
    forget_forwards(s);
    cmx_session_set_fd(s, -1);
    cmx_ssh_free(s->ssh);
    s->ssh = NULL;
    if (s->authenticated)
        cmx_session_gateway_leave(s);
    s->authenticated = false;
    cmx_tracked_socket_close(&s->socket);
}

static cmx_err serve_login(struct session *s)
{
    const uint64_t up_ms = cmx_port_now_ms();
    cmx_err err = cmx_session_gateway_join(s);

    if (!err) {
        s->authenticated = true;
        s->id_len = cmx_ssh_session_id(s->ssh, s->id);
        s->key_exchange = cmx_ssh_key_exchange(s->ssh);
        cmx_log(CMX_LOG_INFO, TAG, "%s: session with %s up", s->name, cmx_session_gateway(s)->host);
        cmx_port_read_ahead(cmx_ssh_fd(s->ssh)); /* saves system calls: libssh reads only 4 KB at a time */
        err = cmx_session_serve(s);
        cmx_session_say(s, "session lost: ", cmx_err_text(err));
    }
    if (err == CMX_EBUSY)
        cmx_session_say(s, "the device's other sessions have moved to another gateway", "");
    /* Reset the backoff only after a session that lasted. Otherwise a gateway that ends each session right after the
     * login would be tried again at the shortest interval. */
    if (s->announced_up && cmx_port_now_ms() - up_ms >= CMX_SESSION_PROVEN_MS) {
        cmx_backoff_reset(&s->backoff);
        cmx_backoff_reset(&s->slow);
        s->proven = true;
    }
    return err;
}

static cmx_err session_attempt(struct session *s)
{
    cmx_err err = cmx_session_login(s);

    if (!err)
        err = serve_login(s);
    session_disconnect(s, err);
    cmx_session_announce(s, false, err);
    return err;
}

/* ---- the task ---- */

static void session_task(void *arg);

static cmx_err start_task(struct session *s)
{
    char name[16];

    snprintf(name, sizeof name, "cmx-%.11s", s->name);
    return cmx_port_task_start(name, s->stack_bytes, session_task, s);
}

cmx_err cmx_session_start(struct session *s)
{
    cmx_err err;

    atomic_store(&s->alive, (unsigned)cmx_port_now_ms());
    s->finished = false;
    err = start_task(s);
    if (err)
        s->finished = true;
    return err;
}

/* Starts a task whose stack is large enough for the remaining host key type; the session continues in that task. The
 * session never returns to a smaller stack, because each key re-exchange verifies the same key again. */
static bool moved_to_larger_stack(struct session *s)
{
    const size_t before = s->stack_bytes;

    s->stack_bytes = CMX_ED25519_STACK;
    cmx_log(CMX_LOG_INFO, TAG, "%s: Ed25519 host key: moving to a task with a stack of %u bytes", s->name,
            (unsigned)s->stack_bytes);
    if (start_task(s) == CMX_OK)
        return true;
    s->stack_bytes = before;
    return false;
}

static bool is_held(struct session *s)
{
    bool hold;

    cmx_port_mutex_lock(&s->engine->lock);
    hold = s->hold && !s->stop;
    cmx_port_mutex_unlock(&s->engine->lock);
    return hold;
}

static void session_end(struct session *s)
{
    cmx_session_set_state(s, CMX_STATE_IDLE, CMX_OK, NULL);
    cmx_session_login_drop_lookup(s);
    cmx_port_task_done();
    cmx_port_mutex_lock(&s->engine->lock);
    s->finished = true;
    cmx_port_mutex_unlock(&s->engine->lock);
}

static void session_task(void *arg)
{
    struct session *s = arg;

    while (is_held(s))
        session_sleep(s, cmx_port_now_ms() + HOLD_MS);
    while (!cmx_session_stopping(s)) {
        cmx_err err;

        cmx_session_serve_update(s);
        s->text[0] = 0;
        cmx_session_gateway_enter(s);
        if (!cmx_session_login_lacks_stack(s)) {
            err = session_attempt(s);
        } else if (moved_to_larger_stack(s)) {
            cmx_port_task_done();
            return;
        } else {
            err = CMX_ENOMEM;
        }
        if (cmx_session_stopping(s))
            break;
        /* A pinned fingerprint does not name the type of its key, so after a mismatch the pinned key might still be
         * another of the gateway's host keys. The next attempt then follows at once and requests another type, until
         * all types have been tried. */
        if (!cmx_session_login_types_left(s)) {
            bool last = cmx_session_gateway_failed(s, err);

            wait_before_next(s, err, s->text[0] ? s->text : cmx_err_text(err), last);
        }
    }
    session_end(s);
}
