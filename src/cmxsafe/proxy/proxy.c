#include "cmxsafe/proxy/proxy.h"

#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/proxy/engine.h"

const char *cmx_context_state_name(cmx_context_state s)
{
    return cmx_text_nth("idle\0resolving\0connecting\0handshake\0authenticating\0forwarding\0up\0waiting\0?",
                        s <= CMX_STATE_WAITING ? s : CMX_STATE_WAITING + 1);
}

/* ---- building sessions; all under the lock or before start ---- */

static struct run *run_new(const struct cmx_context *c, size_t order)
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
    if (cmx_context_copy(&r->cfg, c) || cmx_text_copy(r->live.name, sizeof r->live.name, c->name) ||
        cmx_text_copy(r->live.session, sizeof r->live.session, cmx_context_session(c))) {
        cmx_run_free(r);
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
        cmx_run_free(r);
    }
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
    s->proxy = p;
    s->config = config;
    if (cmx_text_copy(s->name, sizeof s->name, name)) {
        cmx_mem_free(s);
        return NULL;
    }
    cmx_backoff_init(&s->backoff, g->backoff_base_ms, g->backoff_max_ms);
    /* Nobody repairs a wrong key within seconds: five times slower than the slowest other wait. */
    cmx_backoff_init(&s->slow, g->backoff_max_ms,
                     g->backoff_max_ms > UINT32_MAX / 5 ? UINT32_MAX : g->backoff_max_ms * 5);
    return s;
}

/* Adds context number `order`, to a session of `live` (kept ones), or to one of *fresh, which grows. */
static cmx_err place(struct cmx_proxy *p, const struct cmx_proxy_config *config, size_t order, struct session *live,
                     struct session **fresh, struct run **out)
{
    const struct cmx_context *c = &config->contexts[order];
    const char *name = cmx_context_session(c);
    struct session *s = session_find(live, name);
    struct run *r = run_new(c, order);

    *out = NULL;
    if (!r)
        return CMX_ENOMEM;
    if (!s)
        s = session_find(*fresh, name);
    if (!s) {
        s = session_new(p, config, name);
        if (!s) {
            cmx_run_free(r);
            return CMX_ENOMEM;
        }
        s->next = *fresh;
        *fresh = s;
    }
    r->session = s;
    *out = r;
    return CMX_OK;
}

static void push(struct run **list, struct run *r)
{
    while (*list)
        list = &(*list)->next;
    r->next = NULL;
    *list = r;
}

cmx_err cmx_session_start(struct session *s)
{
    char name[16] = "cmx-";
    size_t n = strlen(s->name);

    memcpy(name + 4, s->name, n < 11 ? n : 11);
    return cmx_port_task_start(name, s->stack_bytes, cmx_session_task, s);
}

/* Sessions for all contexts. After an error some are there. */
static cmx_err place_all(struct cmx_proxy *p, const struct cmx_proxy_config *config, struct session **out)
{
    cmx_err err = CMX_OK;

    for (size_t i = 0; !err && i < config->n_contexts; i++) {
        struct run *r;

        err = place(p, config, i, NULL, out, &r);
        if (!err)
            push(&r->session->runs, r);
    }
    return err;
}

/* ---- create, start, destroy ---- */

cmx_err cmx_proxy_create(struct cmx_proxy **out, const struct cmx_gateway *gateway, const struct cmx_context *contexts,
                         size_t n_contexts, const struct cmx_proxy_hooks *hooks, char *why, size_t why_cap)
{
    struct cmx_proxy *p = cmx_mem_alloc(sizeof *p);
    cmx_err err;

    *out = NULL;
    if (!p)
        return CMX_ENOMEM;
    err = cmx_port_mutex_init(&p->lock);
    if (err) {
        cmx_mem_free(p);
        return err;
    }
    if (hooks)
        p->hooks = *hooks;
    err = cmx_proxy_config_new(&p->config, gateway, contexts, n_contexts, why, why_cap);
    if (!err)
        err = place_all(p, p->config, &p->sessions);
    p->n_contexts = n_contexts;
    if (err) {
        cmx_proxy_destroy(p);
        return err;
    }
    *out = p;
    return CMX_OK;
}

cmx_err cmx_proxy_start(struct cmx_proxy *p, size_t stack_bytes)
{
    cmx_err err = CMX_OK;

    p->stack_bytes = stack_bytes;
    p->started = true;
    for (struct session *s = p->sessions; s; s = s->next) {
        s->stack_bytes = p->stack_bytes;
        if (!err)
            err = cmx_session_start(s);
        if (err)
            s->finished = true; /* nobody runs it: destroy must not wait for it */
    }
    return err;
}

static bool all_finished(struct cmx_proxy *p, const struct session *list)
{
    bool all = true;

    cmx_port_mutex_lock(&p->lock);
    for (; list; list = list->next)
        all = all && list->finished;
    cmx_port_mutex_unlock(&p->lock);
    return all;
}

static void stop_and_wait(struct cmx_proxy *p, struct session *list)
{
    cmx_port_mutex_lock(&p->lock);
    for (struct session *s = list; s; s = s->next)
        s->stop = true;
    cmx_port_mutex_unlock(&p->lock);
    while (!all_finished(p, list))
        cmx_port_sleep_ms(5);
}

void cmx_proxy_destroy(struct cmx_proxy *p)
{
    if (!p)
        return;
    if (p->started)
        stop_and_wait(p, p->sessions);
    sessions_free(p->sessions);
    cmx_proxy_config_free(p->config);
    cmx_port_mutex_destroy(&p->lock);
    cmx_mem_free(p);
}

/* ---- reconfigure ---- */

static struct run *run_find(struct run *list, const struct cmx_context *c)
{
    for (; list; list = list->next)
        if (!list->removed && cmx_context_equal(&list->cfg, c))
            return list;
    return NULL;
}

/* The running twin of c, or NULL. Under the lock. */
static struct run *find_running(struct cmx_proxy *p, const struct cmx_context *c)
{
    struct session *s = session_find(p->sessions, cmx_context_session(c));
    struct run *r = s ? run_find(s->runs, c) : NULL;

    return r || !s ? r : run_find(s->arrivals, c);
}

struct change {
    struct run *kept[CMX_PROXY_CONTEXTS_MAX];  /* running and unchanged, by place in the new configuration */
    struct run *fresh[CMX_PROXY_CONTEXTS_MAX]; /* to be added */
    struct session *sessions;                  /* new ones, for some of fresh */
};

static cmx_err plan(struct cmx_proxy *p, const struct cmx_proxy_config *c, struct change *ch)
{
    cmx_err err = CMX_OK;

    for (size_t i = 0; !err && i < c->n_contexts; i++) {
        ch->kept[i] = find_running(p, &c->contexts[i]);
        if (!ch->kept[i])
            err = place(p, c, i, p->sessions, &ch->sessions, &ch->fresh[i]);
    }
    if (!err)
        return CMX_OK;
    for (size_t i = 0; i < c->n_contexts; i++)
        cmx_run_free(ch->fresh[i]);
    sessions_free(ch->sessions);
    return err;
}

static void mark_removed(struct run *list)
{
    for (; list; list = list->next)
        list->removed = true;
}

static bool has_work(const struct session *s)
{
    for (const struct run *r = s->runs; r; r = r->next)
        if (!r->removed)
            return true;
    return s->arrivals != NULL;
}

/* Carries the plan out; nothing in here can fail. Under the lock. */
static void carry_out(struct cmx_proxy *p, const struct cmx_proxy_config *c, struct change *ch)
{
    for (struct session *s = p->sessions; s; s = s->next) {
        mark_removed(s->runs);
        mark_removed(s->arrivals);
    }
    for (size_t i = 0; i < c->n_contexts; i++) {
        struct run *r = ch->kept[i];

        if (r) {
            r->removed = false;
            r->order = i;
        } else {
            push(&ch->fresh[i]->session->arrivals, ch->fresh[i]);
        }
    }
    p->n_contexts = c->n_contexts;
    for (struct session *s = p->sessions; s; s = s->next)
        if (!has_work(s))
            s->stop = true;
}

/* Frees sessions that ended because nothing was left to do. Under the lock. */
static void reap(struct cmx_proxy *p)
{
    for (struct session **at = &p->sessions; *at;) {
        struct session *s = *at;

        if (!s->stop || !s->finished) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        session_free(s);
    }
}

static cmx_err restart_all(struct cmx_proxy *p, struct cmx_proxy_config *c)
{
    struct session *fresh = NULL, *old = p->sessions;
    struct cmx_proxy_config *old_config = p->config;
    cmx_err err = place_all(p, c, &fresh);

    if (err) {
        sessions_free(fresh);
        return err;
    }
    stop_and_wait(p, old);
    cmx_port_mutex_lock(&p->lock);
    p->config = c;
    p->sessions = fresh;
    p->n_contexts = c->n_contexts;
    cmx_port_mutex_unlock(&p->lock);
    sessions_free(old);
    cmx_proxy_config_free(old_config);
    return cmx_proxy_start(p, p->stack_bytes);
}

static cmx_err change_some(struct cmx_proxy *p, struct cmx_proxy_config *c)
{
    struct change ch;
    struct session *fresh;
    cmx_err err;

    memset(&ch, 0, sizeof ch);
    cmx_port_mutex_lock(&p->lock);
    reap(p);
    err = plan(p, c, &ch);
    if (!err) {
        carry_out(p, c, &ch);
        for (fresh = ch.sessions; fresh; fresh = fresh->next)
            fresh->config = p->config; /* equal, and it stays */
        while ((fresh = ch.sessions) != NULL) {
            ch.sessions = fresh->next;
            fresh->next = p->sessions;
            p->sessions = fresh;
            fresh->stack_bytes = p->stack_bytes;
            if (cmx_session_start(fresh)) {
                fresh->finished = true;
                err = CMX_ENOMEM;
            }
        }
    }
    cmx_port_mutex_unlock(&p->lock);
    cmx_proxy_config_free(c);
    return err;
}

cmx_err cmx_proxy_reconfigure(struct cmx_proxy *p, const struct cmx_gateway *gateway,
                              const struct cmx_context *contexts, size_t n_contexts, char *why, size_t why_cap)
{
    struct cmx_proxy_config *c;
    cmx_err err = cmx_proxy_config_new(&c, gateway, contexts, n_contexts, why, why_cap);

    if (err)
        return err;
    if (cmx_proxy_config_same_gateway(p->config, c))
        return change_some(p, c);
    err = restart_all(p, c);
    if (err == CMX_ENOMEM && p->config != c)
        cmx_proxy_config_free(c);
    return err;
}

/* ---- status ---- */

static void copy_status(const struct run *list, struct cmx_context_status *out, size_t cap)
{
    for (; list; list = list->next)
        if (!list->removed && list->order < cap)
            out[list->order] = list->shared;
}

size_t cmx_proxy_status(struct cmx_proxy *p, struct cmx_context_status *out, size_t cap)
{
    size_t n;

    cmx_port_mutex_lock(&p->lock);
    n = p->n_contexts;
    if (n < cap)
        cap = n;
    if (cap > 0)
        memset(out, 0, cap * sizeof *out);
    for (struct session *s = p->sessions; s; s = s->next) {
        copy_status(s->runs, out, cap);
        copy_status(s->arrivals, out, cap);
    }
    cmx_port_mutex_unlock(&p->lock);
    return n;
}

static const struct run *find_run(const struct run *list, cmx_proxy_direction direction, uint16_t local_port)
{
    while (list && (list->removed || list->shared.direction != direction || list->shared.local_port != local_port))
        list = list->next;
    return list;
}

bool cmx_proxy_find(struct cmx_proxy *p, cmx_proxy_direction direction, uint16_t local_port,
                    struct cmx_context_status *out)
{
    const struct run *r = NULL;

    cmx_port_mutex_lock(&p->lock);
    for (const struct session *s = p->sessions; s && !r; s = s->next) {
        r = find_run(s->runs, direction, local_port);
        if (!r)
            r = find_run(s->arrivals, direction, local_port);
    }
    if (r)
        *out = r->shared;
    cmx_port_mutex_unlock(&p->lock);
    return r != NULL;
}

bool cmx_proxy_all_up(struct cmx_proxy *p)
{
    bool all = true;

    cmx_port_mutex_lock(&p->lock);
    for (const struct session *s = p->sessions; s; s = s->next) {
        if (s->stop)
            continue;
        all = all && !s->arrivals;
        for (const struct run *r = s->runs; r; r = r->next)
            all = all && (r->removed || r->shared.state == CMX_STATE_UP);
    }
    cmx_port_mutex_unlock(&p->lock);
    return all;
}
