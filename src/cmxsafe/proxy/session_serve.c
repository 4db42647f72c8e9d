#include "cmxsafe/proxy/session_serve.h"

#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/net.h"
#include "cmxsafe/proxy/probe.h"
#include "cmxsafe/proxy/relay.h"
#include "cmxsafe/proxy/relay_event.h"
#include "cmxsafe/proxy/relay_rest.h"
#include "cmxsafe/proxy/session_gateway.h"
#include "cmxsafe/proxy/session_request.h"

#define TAG "proxy"
#define SETTLE_ROUNDS 4
#define BULK (16 * 1024) /* when this many bytes arrive in one turn, the TCP stack acknowledges them by itself */

/* The first entries of `polls`: the SSH socket, the wake descriptor, and the set of resting relays. */
enum { POLL_SSH, POLL_WAKE, POLL_REST, POLL_FIXED };

/* ---- contexts that are added and removed while the session is up ---- */

static void close_listener(struct run *r)
{
    if (r->listener < 0)
        return;
    close(r->listener);
    r->listener = -1;
    cmx_tracked_socket_close(&r->listener_socket);
}

/* Ends a removed context. Called in each turn until its last relay has ended. */
static void retire_context(struct session *s, struct run *r)
{
    cmx_relay_rest_end_all(s);
    for (struct relay *x = s->relays; x; x = x->next)
        if (x->run == r)
            cmx_relay_abort(x, s, CMX_ENOENT);
    close_listener(r);
    cmx_probe_reset(r);
    r->cancelling |= r->listening && r->cfg.direction == CMX_REVERSE;
    r->listening = false;
}

static bool can_leave(const struct session *s, const struct run *r)
{
    return !r->listening && !r->cancelling && r->places == 0 && s->request_run != r;
}

void cmx_session_serve_update(struct session *s)
{
    struct run **at;

    cmx_port_mutex_lock(&s->engine->lock);
    for (struct run *r = s->runs; r; r = r->next)
        r->retired = r->removed;
    cmx_port_mutex_unlock(&s->engine->lock);
    for (struct run *r = s->runs; r; r = r->next)
        if (r->retired && (r->listening || r->places)) /* after a failed probe r may have relays but no listener */
            retire_context(s, r);
    cmx_port_mutex_lock(&s->engine->lock);
    for (at = &s->runs; *at;) {
        struct run *r = *at;

        if (r->retired && can_leave(s, r)) {
            *at = r->next;
            cmx_session_free_context(r);
        } else {
            at = &r->next;
        }
    }
    *at = s->arrivals;
    s->arrivals = NULL;
    cmx_port_mutex_unlock(&s->engine->lock);
}

/* For each context that is new in this session: counts the session, and sets CMX_STATE_FORWARDING. */
static void begin_contexts(struct session *s)
{
    for (struct run *r = s->runs; r; r = r->next)
        if (r->live.state != CMX_STATE_FORWARDING && r->live.state != CMX_STATE_UP) {
            r->live.sessions++;
            cmx_session_set_context(r, CMX_STATE_FORWARDING, CMX_OK, NULL);
        }
}

/* ---- connections from the gateway and from local clients ---- */

/* libssh may report a connection before the answer that grants its forward. */
static bool is_forwarded(const struct session *s, const struct run *r)
{
    return r->listening || (s->request == REQUEST_LISTEN && s->request_run == r);
}

static struct run *run_for(struct session *s, cmx_ssh_open *o)
{
    struct run *by_port = NULL;
    unsigned matches = 0;

    for (struct run *r = s->runs; r; r = r->next) {
        if (r->cfg.direction != CMX_REVERSE || r->cfg.remote_port != cmx_ssh_open_port(o) || !is_forwarded(s, r))
            continue;
        if (strcmp(cmx_session_listen_address(r), cmx_ssh_open_address(o)) == 0)
            return r;
        by_port = r;
        matches++;
    }
    /* A server may write the address in a form other than that of the request. If only one context has the port, the
     * port is enough. */
    return matches == 1 ? by_port : NULL;
}

static cmx_err take_opens(struct session *s)
{
    unsigned alien = 0;

    for (;;) {
        cmx_ssh_open *o;
        struct run *r;
        cmx_err err = cmx_ssh_next_open(s->ssh, &o, &alien);

        if (err)
            return err;
        if (!o)
            break;
        r = run_for(s, o);
        if (r) {
            cmx_relay_accept_channel(s, r, o);
            continue;
        }
        cmx_log_limited(CMX_LOG_WARN, TAG, "%s: refused a connection: no context has port %u", s->name,
                        (unsigned)cmx_ssh_open_port(o));
        cmx_relay_event_refused(s, NULL, cmx_ssh_open_originator(o), CMX_ENOENT);
        cmx_ssh_refuse(o);
    }
    if (alien)
        cmx_log_limited(CMX_LOG_WARN, TAG, "%s: refused %u channel requests that are not TCP forwards", s->name, alien);
    return CMX_OK;
}

static void take_locals(struct session *s, struct run *r)
{
    struct sockaddr_storage peer;
    int fd;

    for (unsigned i = 0; i < r->cfg.max_connections; i++) {
        cmx_err err = cmx_net_accept(r->listener, &fd, &peer);

        if (err == CMX_ENOMEM) /* the connection stays in the queue: try again after one tick */
            r->retry_ms = s->now_ms + CMX_SESSION_TICK_MS;
        if (err)
            return;
        cmx_relay_accept_local(s, r, fd, &peer);
    }
}

/* ---- relays ---- */

static void free_dead(struct session *s)
{
    for (struct relay **at = &s->relays; *at;) {
        struct relay *x = *at;

        if (x->phase != RELAY_DEAD) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        s->n_relays--;
        cmx_relay_state_free(x);
    }
}

void cmx_session_serve_end(struct session *s, cmx_err cause)
{
    cmx_relay_rest_end_all(s);
    for (struct relay *x = s->relays; x; x = x->next)
        cmx_relay_kill(x, s, cause ? cause : CMX_ENOENT);
    free_dead(s);
    cmx_relay_count_bulk(s);
    for (struct run *r = s->runs; r; r = r->next) {
        close_listener(r);
        cmx_session_publish(r);
    }
}

/* Closes the newest open connection of a high_bw context if too little heap is free. The check before a connection
 * opens is not enough, because a connection takes most of its memory later, when its data fills the buffers. */
static void yield_memory(struct session *s)
{
    const bool updating = atomic_load(&s->engine->updating);
    struct relay *newest = NULL;

    for (struct relay *x = s->relays; x; x = x->next)
        if (x->phase == RELAY_OPEN && x->run->cfg.high_bw && (!newest || x->id > newest->id))
            newest = x;
    if (newest && cmx_session_lacks_heap(newest->run, updating ? CMX_RELAY_HEAP_BULK : CMX_RELAY_HEAP_LOW, "closed"))
        cmx_relay_abort(newest, s, CMX_ENOMEM);
}

/* Moves the first relay to the end, so that the same relay does not always fill the send buffer. */
static void rotate_relays(struct session *s)
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

    cmx_relay_rest_end(s);
    for (struct relay *x = s->relays; x && !err; x = x->next)
        err = cmx_relay_settle(x, s);
    for (struct run *r = s->runs; r && !err; r = r->next)
        err = cmx_probe_step(s, r);
    free_dead(s);
    return err;
}

/* Does everything that can be done without waiting. libssh may receive data during any call, and queued data causes no
 * poll event, so this function repeats until libssh has received nothing more. It stops after SETTLE_ROUNDS, so that a
 * gateway that never stops sending cannot starve the local sockets; *more is then true and the next turn must not
 * wait. */
static cmx_err session_settle(struct session *s, bool *more)
{
    cmx_err err = CMX_OK;

    *more = true;
    for (int round = 0; round < SETTLE_ROUNDS && *more && !err; round++) {
        uint64_t received = cmx_ssh_received(s->ssh);

        err = take_opens(s);
        if (!err)
            err = cmx_session_request_step(s);
        if (!err)
            err = settle_all(s);
        *more = cmx_ssh_received(s->ssh) != received;
    }
    return !err && cmx_ssh_ended(s->ssh) ? CMX_ECLOSED : err;
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
    size_t need = POLL_FIXED + s->n_relays;
    void *grown;

    for (const struct run *r = s->runs; r; r = r->next)
        need++;
    if ((s->relays || CMX_RELAY_CHUNK_KEPT) && reserve_scratch(s))
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

/* Adds a descriptor, and returns its index. If there are no events to wait for, adds -1 instead, which poll ignores:
 * for the descriptor itself poll would still report a hang-up, which cannot be handled now. */
static int add_poll(struct session *s, int fd, short events)
{
    s->polls[s->n_polls].fd = events ? fd : -1;
    s->polls[s->n_polls].events = events;
    s->polls[s->n_polls].revents = 0;
    return (int)s->n_polls++;
}

static void fill_polls(struct session *s)
{
    s->n_polls = 0;
    add_poll(s, cmx_ssh_fd(s->ssh), (short)(POLLIN | (cmx_ssh_wants_write(s->ssh) ? POLLOUT : 0)));
    add_poll(s, s->wake, POLLIN);
    add_poll(s, s->rest_set, s->resting ? POLLIN : 0);
    for (struct run *r = s->runs; r; r = r->next)
        r->poll_index = add_poll(s, r->listener, r->listener >= 0 && cmx_session_past(s, r->retry_ms) ? POLLIN : 0);
    for (struct relay *x = s->relays; x; x = x->next)
        x->poll_index = add_poll(s, x->fd, cmx_relay_events(x, s));
}

static void wait_polls(struct session *s, int timeout_ms)
{
    int n = poll(s->polls, (nfds_t)s->n_polls, timeout_ms);

    for (size_t i = 0; i < s->n_polls && n < 0; i++) /* a signal interrupted poll */
        s->polls[i].revents = 0;
    if (n == 0 && timeout_ms > 0 && !s->relays && !CMX_RELAY_CHUNK_KEPT)
        drop_scratch(s);
}

/* True if the session may sleep until due_ms, not only for a tick: its relays, if any, have been moved to s->resting,
 * no request is pending, and other tasks can wake it. A session with a scratch buffer first sleeps for one tick, after
 * which wait_polls frees the buffer. */
static bool can_rest(const struct session *s)
{
    const bool lean = CMX_RELAY_CHUNK_KEPT || !s->scratch;

    return lean && s->wake >= 0 && !s->relays && s->request == REQUEST_NONE;
}

static int wait_ms(struct session *s)
{
    if (!can_rest(s))
        (void)cmx_session_in(s, CMX_SESSION_TICK_MS);
    return (int)(s->due_ms - s->now_ms);
}

static bool has_event(const struct session *s, int index)
{
    return index >= 0 && s->polls[index].revents;
}

static cmx_err session_act(struct session *s)
{
    cmx_err err = CMX_OK;

    if (has_event(s, POLL_WAKE))
        cmx_port_wake_clear(s->wake);
    if (has_event(s, POLL_REST))
        cmx_relay_rest_ready(s);
    if (has_event(s, POLL_SSH)) {
        uint64_t before = cmx_ssh_received(s->ssh);

        err = cmx_ssh_process(s->ssh);
        if (!err && cmx_ssh_received(s->ssh) - before < BULK)
            cmx_port_acknowledge(cmx_ssh_fd(s->ssh));
    }
    for (struct run *r = s->runs; r && !err; r = r->next)
        if (has_event(s, r->poll_index) && r->listener >= 0)
            take_locals(s, r);
    for (struct relay *x = s->relays; x && !err; x = x->next)
        if (has_event(s, x->poll_index))
            err = cmx_relay_ready(x, s, s->polls[x->poll_index].revents);
    return err;
}

/* Publishes what has changed, and reports the session as up once all its contexts are reachable. */
static void publish_changes(struct session *s, bool alive)
{
    bool all_up = alive, any_up = false;

    for (struct run *r = s->runs; r; r = r->next) {
        all_up = all_up && (r->listening || r->retired);
        any_up = any_up || r->listening;
        if (r->dirty)
            cmx_session_publish(r);
    }
    if (all_up && any_up)
        cmx_session_announce(s, true, CMX_OK);
}

cmx_err cmx_session_serve(struct session *s)
{
    bool more;
    int wait;
    cmx_err err = CMX_OK;

    s->received = cmx_ssh_received(s->ssh);
    s->now_ms = cmx_port_now_ms();
    s->received_ms = s->now_ms;
    while (!err && !cmx_session_stopping(s)) {
        if (cmx_session_gateway_left(s))
            return CMX_EBUSY;
        s->due_ms = UINT64_MAX;
        cmx_session_serve_update(s);
        begin_contexts(s);
        err = session_settle(s, &more);
        publish_changes(s, !err);
        cmx_relay_rest_begin(s);
        if (!err)
            err = reserve(s);
        if (err)
            break;
        fill_polls(s);
        cmx_relay_count_bulk(s);
        wait = more || s->stirred ? 0 : wait_ms(s);
        cmx_session_rests(s, (uint32_t)wait);
        wait_polls(s, wait);
        s->now_ms = cmx_port_now_ms();
        cmx_session_alive(s);
        err = session_act(s);
        yield_memory(s);
        rotate_relays(s);
    }
    return err;
}
