#include "cmxsafe/proxy/proxy.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/proxy/session.h"
#include "cmxsafe/proxy/session_gateway.h"

struct cmx_proxy {
    struct engine engine;
    struct cmx_proxy_config *config; /* owned; every session points to it */
    size_t n_contexts;
    size_t stack_bytes;
};

/* ---- creating and ending sessions ---- */

static struct run *context_new(const struct cmx_context *c, size_t order)
{
    struct run *r = cmx_mem_alloc(sizeof *r);

    if (!r)
        return NULL;
    r->order = order;
    r->listener = -1;
    r->live.direction = c->direction;
    r->live.local_port = c->local_port;
    r->live.remote_port = c->remote_port;
    r->live.since_ms = cmx_port_now_ms();
    if (cmx_proxy_context_copy(&r->cfg, c) || cmx_text_copy(r->live.name, sizeof r->live.name, c->name) ||
        cmx_text_copy(r->live.session, sizeof r->live.session, cmx_proxy_context_session(c))) {
        cmx_session_free_context(r);
        return NULL;
    }
    r->shared = r->live;
    return r;
}

static void session_free(struct session *s)
{
    while (s->runs || s->arrivals) {
        struct run **list = s->runs ? &s->runs : &s->arrivals;
        struct run *r = *list;

        *list = r->next;
        cmx_session_free_context(r);
    }
    cmx_lookup_release(s->lookup);
    if (s->wake >= 0)
        close(s->wake);
    if (s->rest_set >= 0)
        close(s->rest_set);
    cmx_mem_free(s->polls);
    cmx_mem_free(s->scratch);
    cmx_mem_free(s);
}

static void sessions_free(struct session *list)
{
    while (list) {
        struct session *s = list;

        list = s->next;
        session_free(s);
    }
}

static struct session *session_find(struct session *list, const char *name)
{
    for (; list; list = list->next)
        if (!list->stop && strcmp(list->name, name) == 0)
            return list;
    return NULL;
}

static struct session *session_new(struct cmx_proxy *p, const struct cmx_proxy_config *config, const char *name)
{
    const struct cmx_gateway *g = &config->gateway;
    struct session *s = cmx_mem_alloc(sizeof *s);

    if (!s)
        return NULL;
    s->engine = &p->engine;
    s->config = config;
    s->stack_bytes = p->stack_bytes;
    s->finished = true;
    s->fd = -1;
    s->wake = cmx_port_wake_open();
    s->rest_set = -1;
    if (cmx_text_copy(s->name, sizeof s->name, name)) {
        session_free(s);
        return NULL;
    }
    /* The maximum wait is divided by the number of gateways, so that each is tried as often as if it were the only
     * one. */
    cmx_backoff_init(&s->backoff, g->backoff_base_ms, g->backoff_max_ms / (uint32_t)config->gateways.n);
    /* Nobody corrects a wrong host key or credential within seconds. After such an error the upper limit of the wait
     * therefore starts at backoff_max_ms and grows to five times that. */
    cmx_backoff_init(&s->slow, g->backoff_max_ms, g->backoff_max_ms * 5);
    return s;
}

static bool all_finished(struct cmx_proxy *p, const struct session *list)
{
    bool all = true;

    cmx_port_mutex_lock(&p->engine.lock);
    for (; list; list = list->next)
        all = all && list->finished;
    cmx_port_mutex_unlock(&p->engine.lock);
    return all;
}

static void stop_and_wait(struct cmx_proxy *p, struct session *list)
{
    cmx_port_mutex_lock(&p->engine.lock);
    for (struct session *s = list; s; s = s->next) {
        s->stop = true;
        cmx_session_wake(s);
    }
    cmx_port_mutex_unlock(&p->engine.lock);
    while (!all_finished(p, list))
        cmx_port_sleep_ms(5);
}

/* ---- changing the contexts ---- */

static struct run *run_find(struct run *list, const struct cmx_context *c)
{
    for (; list; list = list->next)
        if (!list->removed && cmx_proxy_context_equal(&list->cfg, c))
            return list;
    return NULL;
}

/* Returns the context of s that is equal to c, or NULL. The caller holds the lock. */
static struct run *find_running(struct session *s, const struct cmx_context *c)
{
    struct run *r = run_find(s->runs, c);

    return r ? r : run_find(s->arrivals, c);
}

/* The changes that a new configuration requires, prepared so that applying them cannot fail. */
struct change {
    /* For each index in the new configuration: the running context, if it is unchanged; otherwise NULL. */
    struct run *kept[CMX_PROXY_CONTEXTS_MAX];
    struct run *fresh[CMX_PROXY_CONTEXTS_MAX]; /* new contexts, by the same index */
    struct session *sessions; /* new sessions for contexts in fresh; their tasks wait for change_carry_out */
};

/* Prepares c, the context at index i of the new configuration: keeps the running context that is equal to c, or creates
 * a new one in a session of `live` or ch->sessions. A session that exists in neither is created with `config`. */
static cmx_err prepare_one(struct cmx_proxy *p, const struct cmx_proxy_config *config, const struct cmx_context *c,
                           size_t i, struct session *live, struct change *ch)
{
    const char *name = cmx_proxy_context_session(c);
    struct session *s = session_find(live, name);

    ch->kept[i] = s ? find_running(s, c) : NULL;
    if (ch->kept[i])
        return CMX_OK;
    ch->fresh[i] = context_new(c, i);
    if (!ch->fresh[i])
        return CMX_ENOMEM;
    if (!s)
        s = session_find(ch->sessions, name);
    if (!s) {
        s = session_new(p, config, name);
        if (!s)
            return CMX_ENOMEM;
        s->next = ch->sessions;
        ch->sessions = s;
    }
    ch->fresh[i]->session = s;
    return CMX_OK;
}

/* Prepares the change to the contexts of c. live: the sessions that stay; config: for new sessions. The caller holds
 * the lock unless live is NULL. After an error ch is incomplete and the caller must call change_drop. */
static cmx_err change_prepare(struct cmx_proxy *p, const struct cmx_proxy_config *config,
                              const struct cmx_proxy_config *c, struct session *live, struct change *ch)
{
    cmx_err err = CMX_OK;

    memset(ch, 0, sizeof *ch);
    for (size_t i = 0; !err && i < c->n_contexts; i++)
        err = prepare_one(p, config, &c->contexts[i], i, live, ch);
    for (struct session *s = ch->sessions; s && !err; s = s->next) {
        s->hold = true;
        err = cmx_session_start(s);
    }
    return err;
}

static void change_drop(struct cmx_proxy *p, struct change *ch)
{
    stop_and_wait(p, ch->sessions);
    for (size_t i = 0; i < CMX_PROXY_CONTEXTS_MAX; i++)
        cmx_session_free_context(ch->fresh[i]);
    sessions_free(ch->sessions);
}

static void append(struct run **list, struct run *r)
{
    while (*list)
        list = &(*list)->next;
    *list = r;
}

static void mark_removed(struct run *list)
{
    for (; list; list = list->next)
        list->removed = true;
}

static bool has_work(const struct run *list)
{
    while (list && list->removed)
        list = list->next;
    return list != NULL;
}

/* Applies the prepared changes, which cannot fail. The caller holds the lock. */
static void change_carry_out(struct cmx_proxy *p, size_t n_contexts, struct change *ch)
{
    struct session **end = &p->engine.sessions;

    for (struct session *s = p->engine.sessions; s; s = s->next) {
        mark_removed(s->runs);
        mark_removed(s->arrivals);
    }
    for (size_t i = 0; i < n_contexts; i++) {
        struct run *r = ch->kept[i];

        if (r) {
            r->removed = false;
            r->order = i;
        } else {
            append(&ch->fresh[i]->session->arrivals, ch->fresh[i]);
        }
    }
    p->n_contexts = n_contexts;
    while (*end)
        end = &(*end)->next;
    *end = ch->sessions;
    for (struct session *s = p->engine.sessions; s; s = s->next) {
        s->hold = false;
        if (!has_work(s->runs) && !has_work(s->arrivals))
            s->stop = true;
        cmx_session_wake(s);
    }
}

/* Frees sessions that ended because they had no context left. The caller holds the lock. */
static void reap(struct cmx_proxy *p)
{
    for (struct session **at = &p->engine.sessions; *at;) {
        struct session *s = *at;

        if (!s->stop || !s->finished) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        session_free(s);
    }
}

/* Applies the configuration c, whose gateway has not changed: only contexts change. */
static cmx_err change_contexts(struct cmx_proxy *p, const struct cmx_proxy_config *c)
{
    struct change ch;
    cmx_err err;

    cmx_port_mutex_lock(&p->engine.lock);
    reap(p);
    err = change_prepare(p, p->config, c, p->engine.sessions, &ch); /* p->config, because the caller may free c */
    if (!err)
        change_carry_out(p, c->n_contexts, &ch);
    cmx_port_mutex_unlock(&p->engine.lock);
    if (err)
        change_drop(p, &ch);
    return err;
}

/* Applies the configuration c, whose gateway has changed. Creates the new sessions and starts their tasks before the
 * old sessions end, so that a failure changes nothing. If it succeeds, p owns c. */
static cmx_err change_gateway(struct cmx_proxy *p, struct cmx_proxy_config *c)
{
    struct session *old = p->engine.sessions;
    struct cmx_proxy_config *old_config = p->config;
    struct change ch;
    cmx_err err = change_prepare(p, c, c, NULL, &ch);

    if (err) {
        change_drop(p, &ch);
        return err;
    }
    stop_and_wait(p, old);
    cmx_port_mutex_lock(&p->engine.lock);
    cmx_session_gateway_change(&p->engine, c, old_config);
    p->config = c;
    p->engine.sessions = NULL;
    change_carry_out(p, c->n_contexts, &ch);
    cmx_port_mutex_unlock(&p->engine.lock);
    sessions_free(old);
    cmx_proxy_config_free(old_config);
    return CMX_OK;
}

/* ---- create, reconfigure, destroy ---- */

cmx_err cmx_proxy_create(struct cmx_proxy **out, const struct cmx_gateway *gateway, const struct cmx_context *contexts,
                         size_t n_contexts, const struct cmx_proxy_hooks *hooks, size_t stack_bytes,
                         struct cmx_why *why)
{
    struct cmx_proxy *p = cmx_mem_alloc(sizeof *p);
    cmx_err err;

    *out = NULL;
    if (!p)
        return CMX_ENOMEM;
    cmx_port_mutex_init(&p->engine.lock);
    if (hooks)
        p->engine.hooks = *hooks;
    p->stack_bytes = stack_bytes;
    err = cmx_proxy_config_new(&p->config, gateway, contexts, n_contexts, why);
    if (!err) {
        cmx_session_gateway_begin(&p->engine, p->config);
        err = change_contexts(p, p->config);
    }
    if (err) {
        cmx_proxy_destroy(p);
        return err;
    }
    *out = p;
    return CMX_OK;
}

cmx_err cmx_proxy_set_contexts(struct cmx_proxy *p, const struct cmx_gateway *gateway,
                               const struct cmx_context *contexts, size_t n_contexts, struct cmx_why *why)
{
    struct cmx_proxy_config *c;
    cmx_err err = cmx_proxy_config_new(&c, gateway, contexts, n_contexts, why);

    if (err)
        return err;
    err = change_contexts(p, c);
    cmx_proxy_config_free(c);
    return err;
}

cmx_err cmx_proxy_reconfigure(struct cmx_proxy *p, const struct cmx_gateway *gateway,
                              const struct cmx_context *contexts, size_t n_contexts, struct cmx_why *why)
{
    struct cmx_proxy_config *c;
    cmx_err err = cmx_proxy_config_new(&c, gateway, contexts, n_contexts, why);

    if (err)
        return err;
    if (cmx_proxy_config_same_gateway(p->config, c))
        err = change_contexts(p, c);
    else if ((err = change_gateway(p, c)) == CMX_OK)
        return CMX_OK; /* p owns c */
    cmx_proxy_config_free(c);
    return err;
}

void cmx_proxy_destroy(struct cmx_proxy *p)
{
    if (!p)
        return;
    stop_and_wait(p, p->engine.sessions);
    sessions_free(p->engine.sessions);
    cmx_proxy_config_free(p->config);
    cmx_port_mutex_destroy(&p->engine.lock);
    cmx_mem_free(p);
}

/* ---- watching ---- */

/* Call this with the lock held. */
static bool is_stuck(struct session *s)
{
    return !s->finished && cmx_session_silent_ms(s) >= CMX_SESSION_STUCK_MS;
}

void cmx_proxy_watch(struct cmx_proxy *p)
{
    cmx_port_mutex_lock(&p->engine.lock);
    for (struct session *s = p->engine.sessions; s; s = s->next) {
        if (!is_stuck(s) || s->broken)
            continue;
        s->broken = true;
        cmx_log(CMX_LOG_ERROR, "proxy", "%s: its task has not run for %u s; breaking the connection", s->name,
                (unsigned)(cmx_session_silent_ms(s) / 1000));
        if (s->fd >= 0)
            (void)shutdown(s->fd, SHUT_RDWR);
    }
    cmx_port_mutex_unlock(&p->engine.lock);
}

void cmx_proxy_set_updating(struct cmx_proxy *p, bool updating)
{
    atomic_store(&p->engine.updating, updating);
}

/* ---- status ---- */

/* Copies r's published status, or reports that its session is stuck, because the task of a stuck session cannot publish
 * that state itself. The caller holds the lock. */
static void copy_context(struct run *r, struct cmx_context_status *out)
{
    *out = r->shared;
    if (!is_stuck(r->session))
        return;
    out->state = CMX_STATE_STUCK;
    out->since_ms = cmx_port_now_ms() - cmx_session_silent_ms(r->session);
}

static void copy_contexts(struct run *list, struct cmx_context_status *out, size_t cap)
{
    for (; list; list = list->next)
        if (!list->removed && list->order < cap)
            copy_context(list, &out[list->order]);
}

size_t cmx_proxy_status(struct cmx_proxy *p, struct cmx_context_status *out, size_t cap)
{
    size_t n;

    cmx_port_mutex_lock(&p->engine.lock);
    n = p->n_contexts;
    if (n < cap)
        cap = n;
    if (cap > 0)
        memset(out, 0, cap * sizeof *out);
    for (struct session *s = p->engine.sessions; s; s = s->next) {
        copy_contexts(s->runs, out, cap);
        copy_contexts(s->arrivals, out, cap);
    }
    cmx_port_mutex_unlock(&p->engine.lock);
    return n;
}

static struct run *find_port(struct run *list, cmx_proxy_direction direction, uint16_t local_port)
{
    while (list && (list->removed || list->shared.direction != direction || list->shared.local_port != local_port))
        list = list->next;
    return list;
}

bool cmx_proxy_find(struct cmx_proxy *p, cmx_proxy_direction direction, uint16_t local_port,
                    struct cmx_context_status *out)
{
    struct run *r = NULL;

    cmx_port_mutex_lock(&p->engine.lock);
    for (struct session *s = p->engine.sessions; s && !r; s = s->next) {
        r = find_port(s->runs, direction, local_port);
        if (!r)
            r = find_port(s->arrivals, direction, local_port);
    }
    if (r)
        copy_context(r, out);
    cmx_port_mutex_unlock(&p->engine.lock);
    return r != NULL;
}

static bool forward_refused(const struct cmx_context_status *st)
{
    return st->state == CMX_STATE_FORWARDING && st->last_error == CMX_EFORWARD;
}

bool cmx_proxy_reached(struct cmx_proxy *p)
{
    bool up = false, all = true;

    cmx_port_mutex_lock(&p->engine.lock);
    for (struct session *s = p->engine.sessions; s; s = s->next) {
        if (s->stop)
            continue;
        all = all && !s->arrivals && !is_stuck(s);
        for (const struct run *r = s->runs; r; r = r->next) {
            up = up || (!r->removed && r->shared.state == CMX_STATE_UP);
            all = all && (r->removed || r->shared.state == CMX_STATE_UP || forward_refused(&r->shared));
        }
    }
    cmx_port_mutex_unlock(&p->engine.lock);
    return up && all;
}
