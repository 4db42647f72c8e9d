/* serve.c - the event loop of a live session: waits for the SSH socket, the local sockets and the next timer. */
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/engine.h"
#include "cmxsafe/proxy/net.h"

#define TAG CMX_LOG_PROXY
#define SETTLE_ROUNDS 4
#define BULK (16 * 1024) /* that much at once is acknowledged by the stack without being asked */

/* ---- contexts that come and go while the session lives ---- */

static void close_listener(struct session *s, struct run *r)
{
    if (r->listener < 0)
        return;
    close(r->listener);
    r->listener = -1;
    cmx_socket_tell_close(s->proxy, &r->listener_socket, r->cfg.name);
}

static void retire(struct session *s, struct run *r)
{
    for (struct relay *x = s->relays; x; x = x->next)
        if (x->run == r)
            cmx_relay_abort(x, s, CMX_ENOENT);
    close_listener(s, r);
    cmx_probe_reset(r);
    r->cancelling = r->listening && r->cfg.direction == CMX_REVERSE;
    r->listening = false;
}

static bool can_go(const struct session *s, const struct run *r)
{
    return !r->listening && !r->cancelling && r->places == 0 && s->request_run != r;
}

void cmx_session_update_runs(struct session *s)
{
    struct run **at;

    cmx_port_mutex_lock(&s->proxy->lock);
    for (struct run *r = s->runs; r; r = r->next)
        r->retired = r->removed;
    cmx_port_mutex_unlock(&s->proxy->lock);
    for (struct run *r = s->runs; r; r = r->next)
        if (r->retired && r->listening)
            retire(s, r);
    cmx_port_mutex_lock(&s->proxy->lock);
    for (at = &s->runs; *at;) {
        struct run *r = *at;

        if (r->retired && r->removed && can_go(s, r)) {
            *at = r->next;
            cmx_run_free(r);
        } else {
            at = &r->next;
        }
    }
    *at = s->arrivals;
    s->arrivals = NULL;
    cmx_port_mutex_unlock(&s->proxy->lock);
}

/* To those that came since the login the session is new. */
static void greet_arrivals(struct session *s)
{
    for (struct run *r = s->runs; r; r = r->next)
        if (r->live.state == CMX_STATE_IDLE) {
            r->live.sessions++;
            cmx_run_set_state(r, CMX_STATE_FORWARDING, CMX_OK, NULL);
        }
}

/* ---- connections that the gateway brings ---- */

/* A connection may be on the heels of the answer that grants its forward, and be seen first. */
static bool may_bring(const struct session *s, const struct run *r)
{
    return r->listening || (s->request == REQUEST_LISTEN && s->request_run == r);
}

static struct run *run_for(struct session *s, const struct cmx_ssh_open *o)
{
    struct run *by_port = NULL;
    unsigned matches = 0;

    for (struct run *r = s->runs; r; r = r->next) {
        if (r->cfg.direction != CMX_REVERSE || r->cfg.remote_port != cmx_ssh_open_port(o) || !may_bring(s, r))
            continue;
        if (strcmp(r->cfg.remote_address ? r->cfg.remote_address : "localhost", cmx_ssh_open_address(o)) == 0)
            return r;
        by_port = r;
        matches++;
    }
    /* Servers may spell the address in their own way; where only one context has the port there is no doubt. */
    return matches == 1 ? by_port : NULL;
}

static cmx_err take_opens(struct session *s)
{
    unsigned alien = 0;

    for (;;) {
        struct cmx_ssh_open *o;
        struct run *r;
        cmx_err err = cmx_ssh_next_open(s->ssh, &o, &alien);

        if (err)
            return err;
        if (!o)
            break;
        r = run_for(s, o);
        if (r) {
            cmx_relay_reverse(s, r, o);
            continue;
        }
        cmx_module_log(CMX_LOG_WARN | TAG, "%s: connection for port %u refused: no context names it", s->name,
                       (unsigned)cmx_ssh_open_port(o));
        cmx_relay_tell_refused(s, NULL, cmx_ssh_open_originator(o), CMX_ENOENT);
        cmx_ssh_refuse(o);
    }
    if (alien)
        cmx_module_log(CMX_LOG_WARN | TAG, "%s: %u requests for what is no forward refused", s->name, alien);
    return CMX_OK;
}

static void take_locals(struct session *s, struct run *r)
{
    struct sockaddr_storage peer;
    int fd;

    for (unsigned i = 0; i < r->cfg.max_connections; i++) {
        cmx_err err = cmx_net_accept(r->listener, &fd, &peer);

        if (err == CMX_ENOMEM) /* it would stay readable; a tick later something may be free */
            r->retry_ms = s->now_ms + CMX_SESSION_TICK_MS;
        if (err)
            return;
        cmx_relay_direct(s, r, fd, &peer);
    }
}

/* ---- relays ---- */

static void forget_dead(struct session *s)
{
    for (struct relay **at = &s->relays; *at;) {
        struct relay *x = *at;

        if (x->state != RELAY_DEAD) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        s->n_relays--;
        cmx_relay_free(x);
    }
}

void cmx_session_drop_relays(struct session *s, cmx_err cause)
{
    for (struct relay *x = s->relays; x; x = x->next) {
        cmx_relay_abort(x, s, cause ? cause : CMX_ENOENT);
        x->state = RELAY_DEAD;
    }
    forget_dead(s);
    for (struct run *r = s->runs; r; r = r->next) {
        close_listener(s, r);
        cmx_run_publish(r);
    }
}

/* Whoever came first last time comes last now: the one that fills the send buffer is not always the same. */
static void rotate(struct session *s)
{
    struct relay *first = s->relays, *last;

    if (!first || !first->next)
        return;
    for (last = first; last->next; last = last->next)
        ;
    s->relays = first->next;
    last->next = first;
    first->next = NULL;
}

static cmx_err settle_all(struct session *s)
{
    cmx_err err = CMX_OK;

    for (struct relay *x = s->relays; x && !err; x = x->next)
        err = cmx_relay_settle(x, s);
    for (struct run *r = s->runs; r && !err; r = r->next)
        err = cmx_probe_step(s, r);
    forget_dead(s);
    return err;
}

/* Everything that can be done without waiting. libssh may receive during any call, and what it then queues raises no
 * poll event: go round until nothing more came in. A gateway that never stops sending must not keep the local sockets
 * from their turn: after some rounds the rest is left (*more) to the next time, which then comes without waiting. */
static cmx_err settle(struct session *s, bool *more)
{
    cmx_err err = CMX_OK;

    *more = true;
    for (int round = 0; round < SETTLE_ROUNDS && *more && !err; round++) {
        uint64_t received = cmx_ssh_received(s->ssh);

        err = take_opens(s);
        if (!err)
            err = cmx_session_requests(s);
        if (!err)
            err = settle_all(s);
        *more = cmx_ssh_received(s->ssh) != received;
    }
    return err;
}

/* ---- waiting ---- */

static void drop_scratch(struct session *s)
{
    cmx_mem_free(s->scratch);
    s->scratch = NULL;
    s->scratch_len = 0;
}

static cmx_err reserve_scratch(struct session *s)
{
    size_t chunk = CMX_RELAY_CHUNK;

    for (const struct run *r = s->runs; r; r = r->next)
        if (r->cfg.high_bw)
            chunk = CMX_RELAY_CHUNK_HIGH;
    if (s->scratch_len >= chunk)
        return CMX_OK;
    drop_scratch(s);
    s->scratch = cmx_mem_alloc(chunk);
    s->scratch_len = s->scratch ? chunk : 0;
    return s->scratch ? CMX_OK : CMX_ENOMEM;
}

static cmx_err reserve(struct session *s)
{
    size_t need = 1 + CMX_PROXY_CONTEXTS_MAX + s->n_relays;
    void *grown;

    if ((s->n_relays || CMX_RELAY_CHUNK_KEPT) && reserve_scratch(s))
        return CMX_ENOMEM;
    if (s->polls_cap >= need)
        return CMX_OK;
    need += need / 2;
    grown = cmx_mem_alloc(need * sizeof *s->polls);
    if (!grown)
        return CMX_ENOMEM;
    cmx_mem_free(s->polls);
    s->polls = grown;
    s->polls_cap = need;
    return CMX_OK;
}

static int add_poll(struct session *s, int fd, short events)
{
    s->polls[s->n_polls].fd = events ? fd : -1; /* a hang-up that nobody can act on must not wake us */
    s->polls[s->n_polls].events = events;
    s->polls[s->n_polls].revents = 0;
    return (int)s->n_polls++;
}

static void fill_polls(struct session *s)
{
    s->n_polls = 0;
    add_poll(s, cmx_ssh_fd(s->ssh), (short)(POLLIN | (cmx_ssh_wants_write(s->ssh) ? POLLOUT : 0)));
    for (struct run *r = s->runs; r; r = r->next)
        r->poll_index = add_poll(s, r->listener, r->listener >= 0 && s->now_ms >= r->retry_ms ? POLLIN : 0);
    for (struct relay *x = s->relays; x; x = x->next)
        x->poll_index = add_poll(s, x->fd, cmx_relay_events(x, s));
}

/* ESP-IDF's poll fills in the entries of negative descriptors too, from another descriptor's bits. */
static void wait_polls(struct session *s, int timeout_ms)
{
    int n = poll(s->polls, (nfds_t)s->n_polls, timeout_ms);

    for (size_t i = 0; i < s->n_polls; i++)
        if (n < 0 || s->polls[i].fd < 0) /* n: a signal */
            s->polls[i].revents = 0;
    if (n == 0 && timeout_ms > 0 && !s->n_relays && !CMX_RELAY_CHUNK_KEPT)
        drop_scratch(s);
}

static void sooner(uint64_t *due, uint64_t at)
{
    if (at < *due)
        *due = at;
}

static int wait_ms(const struct session *s)
{
    uint64_t due = s->now_ms + CMX_SESSION_TICK_MS;

    sooner(&due, cmx_session_requests_due(s));
    for (const struct relay *x = s->relays; x; x = x->next)
        sooner(&due, cmx_relay_due(x));
    for (const struct run *r = s->runs; r; r = r->next)
        sooner(&due, cmx_probe_due(r));
    return due > s->now_ms ? (int)(due - s->now_ms) : 0;
}

static cmx_err act(struct session *s)
{
    cmx_err err = CMX_OK;

    if (s->polls[0].revents) {
        uint64_t before = cmx_ssh_received(s->ssh);

        err = cmx_ssh_process(s->ssh);
        if (!err && cmx_ssh_received(s->ssh) - before < BULK)
            cmx_port_acknowledge(cmx_ssh_fd(s->ssh));
    }
    for (struct run *r = s->runs; r && !err; r = r->next)
        if (s->polls[r->poll_index].revents && r->listener >= 0)
            take_locals(s, r);
    for (struct relay *x = s->relays; x && !err; x = x->next)
        if (x->poll_index >= 0 && s->polls[x->poll_index].revents)
            err = cmx_relay_ready(x, s, s->polls[x->poll_index].revents);
    return err;
}

static void publish(struct session *s)
{
    for (struct run *r = s->runs; r; r = r->next)
        if (r->dirty)
            cmx_run_publish(r);
}

cmx_err cmx_session_serve(struct session *s)
{
    bool more;
    cmx_err err = CMX_OK;

    s->received = cmx_ssh_received(s->ssh);
    s->now_ms = cmx_port_now_ms();
    s->received_ms = s->now_ms;
    while (!err && !cmx_session_stopping(s)) {
        cmx_session_update_runs(s);
        greet_arrivals(s);
        err = settle(s, &more);
        publish(s);
        if (!err)
            err = reserve(s);
        if (err)
            break;
        fill_polls(s);
        wait_polls(s, more ? 0 : wait_ms(s));
        s->now_ms = cmx_port_now_ms();
        cmx_port_watchdog_feed();
        err = act(s);
        rotate(s);
    }
    return err;
}
