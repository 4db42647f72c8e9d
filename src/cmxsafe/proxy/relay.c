#include "cmxsafe/proxy/relay.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/proxy/net.h"
#include "cmxsafe/proxy/probe.h"
#include "cmxsafe/proxy/relay_event.h"
#include "cmxsafe/proxy/relay_flow.h"

#define TAG "proxy"

/* A connection that arrives during a probe and has not sent the token after this long is not the probe. It is then
 * connected to the service, even if it has sent no byte: in some protocols the service speaks first. */
#define TENTATIVE_MS 300

/* ---- ending a relay ---- */

static void close_local(struct relay *x, bool reset)
{
    if (x->fd < 0)
        return;
    if (reset)
        cmx_net_abort(x->fd);
    else
        close(x->fd);
    x->fd = -1;
    cmx_peer_remove(&x->peer);
    cmx_tracked_socket_close(&x->socket);
}

/* Ends the relay: closes the channel, and closes the local socket, with a reset unless cause is CMX_OK. A relay with
 * a channel then waits for the gateway's CLOSE. */
static void finish(struct relay *x, struct session *s, cmx_err cause)
{
    const char *why = cause ? cmx_err_text(cause) : "in order";

    close_local(x, cause != CMX_OK);
    cmx_relay_event_closed(x, s, cause);
    cmx_lookup_release(x->lookup);
    x->lookup = NULL;
    if (x->open)
        cmx_ssh_refuse(x->open);
    x->open = NULL;
    cmx_relay_flow_drop(x);
    if (!x->channel) {
        cmx_relay_state_set_phase(x, RELAY_DEAD, why);
        return;
    }
    cmx_ssh_channel_close(x->channel);
    x->deadline_ms = cmx_session_in(s, CMX_RELAY_CLOSE_TIMEOUT_MS);
    cmx_relay_state_set_phase(x, RELAY_CLOSING, why);
}

void cmx_relay_abort(struct relay *x, struct session *s, cmx_err cause)
{
    switch (x->phase) {
    case RELAY_OPENING:
        /* The gateway has not assigned the channel's number yet, so CLOSE cannot be sent; cmx_relay_settle sends it
         * later. */
        close_local(x, true);
        cmx_relay_state_set_phase(x, RELAY_UNWANTED, cmx_err_text(cause));
        break;
    case RELAY_TENTATIVE:
    case RELAY_LOOKUP:
    case RELAY_CONNECTING:
    case RELAY_OPEN:
        finish(x, s, cause);
        break;
    case RELAY_UNWANTED:
    case RELAY_CLOSING:
    case RELAY_DEAD:
        break;
    }
}

void cmx_relay_kill(struct relay *x, struct session *s, cmx_err cause)
{
    cmx_relay_abort(x, s, cause);
    cmx_relay_state_set_phase(x, RELAY_DEAD, "the session ends");
}

static void relay_refused(struct relay *x, struct session *s, cmx_err err)
{
    cmx_relay_event_refused(s, x->run, x->from, err);
    finish(x, s, err);
}

static void relay_opened(struct relay *x, struct session *s, const char *event)
{
    cmx_relay_state_set_phase(x, RELAY_OPEN, event);
    x->active_ms = s->now_ms;
    x->run->live.relays_total++;
    x->run->dirty = true;
    cmx_relay_event_opened(x, s);
}

/* ---- the local service of a reverse context ---- */

static void service_refused(struct relay *x, struct session *s, cmx_err err)
{
    cmx_log_limited(CMX_LOG_WARN, TAG, "%s: service on %.64s port %u: %s", x->run->cfg.name, x->run->cfg.local_host,
                    (unsigned)x->run->cfg.local_port, cmx_err_text(err));
    relay_refused(x, s, err);
}

/* Sends the header of the PROXY protocol, if the context uses it. The header always fits in the empty send buffer of a
 * new connection. */
static cmx_err send_header(const struct relay *x)
{
    const struct cmx_context *c = &x->run->cfg;
    struct cmx_originator to;
    uint8_t header[CMX_ORIGINATOR_HEADER_MAX];
    struct cmx_buf out;
    cmx_err err;

    if (c->peer != CMX_PEER_PROXY_V1 && c->peer != CMX_PEER_PROXY_V2)
        return CMX_OK;
    cmx_originator_read(&to, c->remote_address, c->remote_port);
    cmx_buf_init(&out, header, sizeof header);
    err = cmx_originator_header(&out, c->peer, &x->originator, &to);
    return err ? err : cmx_net_send_all(x->fd, cmx_buf_data(&out), cmx_buf_len(&out));
}

static void service_connected(struct relay *x, struct session *s)
{
    cmx_ssh_open *o = x->open;
    cmx_err err = send_header(x);

    cmx_lookup_release(x->lookup);
    x->lookup = NULL;
    if (err) {
        service_refused(x, s, err);
        return;
    }
    if (o) {
        x->open = NULL;
        err = cmx_ssh_accept(s->ssh, o, &cmx_relay_flow_handlers, x, &x->channel);
        if (err) {
            relay_refused(x, s, err);
            return;
        }
    }
    relay_opened(x, s, "service connected");
}

/* Creates a socket for x->address and starts to connect it. */
static cmx_err connect_address(struct relay *x, struct session *s)
{
    const bool mirror = x->run->cfg.peer == CMX_PEER_MIRROR;
    struct sockaddr_storage local;
    cmx_err err = mirror ? cmx_port_mirror_socket((const uint8_t *)x->originator.ip.w, &x->fd, &local)
                         : cmx_net_socket(x->address->ai_addr, &x->fd, &local);

    if (err) {
        x->fd = -1;
        return err;
    }
    err = cmx_tracked_socket_open(&x->socket, &s->engine->hooks, CMX_SOCKET_RELAY, &local, x->address->ai_addr);
    if (err)
        return err;
    cmx_peer_add(&x->peer, (const struct sockaddr *)&local, x->address->ai_addr, &x->originator);
    return cmx_net_connect(x->fd, x->address->ai_addr, x->address->ai_addrlen);
}

/* Starts to connect to x->address, or to the first address after it that does not fail at once. err: the error to
 * report if x->address is NULL. */
static void try_addresses(struct relay *x, struct session *s, cmx_err err)
{
    for (; x->address; x->address = x->address->ai_next) {
        err = connect_address(x, s);
        if (!err) {
            service_connected(x, s);
            return;
        }
        if (err == CMX_EAGAIN) {
            x->deadline_ms = cmx_session_in(s, x->run->cfg.connect_timeout_s * 1000);
            return;
        }
        close_local(x, false);
    }
    service_refused(x, s, err);
}

static void address_failed(struct relay *x, struct session *s, cmx_err err)
{
    close_local(x, false);
    x->address = x->address->ai_next;
    try_addresses(x, s, err);
}

/* Continues the relay once the look-up of the service's name has ended or the deadline has passed. */
static void settle_lookup(struct relay *x, struct session *s)
{
    struct run *r = x->run;
    const struct addrinfo *list;
    cmx_err err = r->lookup ? cmx_lookup_result(r->lookup, &list) : CMX_EDNS; /* NULL: a look-up could not start */

    if (err == CMX_EAGAIN && !cmx_session_past(s, x->deadline_ms)) {
        (void)cmx_session_in(s, cmx_lookup_poll_ms(r->lookup));
        return;
    }
    if (err == CMX_EAGAIN)
        cmx_log_limited(CMX_LOG_WARN, TAG, "%s: no name server answers", r->cfg.name);
    if (err) {
        service_refused(x, s, CMX_EDNS);
        return;
    }
    x->lookup = cmx_lookup_hold(r->lookup);
    x->address = list;
    cmx_relay_state_set_phase(x, RELAY_CONNECTING, "address known");
    try_addresses(x, s, CMX_EDNS);
}

static void connect_service(struct relay *x, struct session *s, const char *event)
{
    struct run *r = x->run;
    cmx_err err = CMX_OK;

    if (!cmx_originator_allowed(&x->originator, r->cfg.allow_from) ||
        (r->cfg.peer == CMX_PEER_MIRROR && !cmx_originator_is_identity(&x->originator))) {
        cmx_log_limited(CMX_LOG_WARN, TAG, "%s: connection from %s refused by allow_from or peer", r->cfg.name,
                        x->from);
        relay_refused(x, s, CMX_EPERM);
        return;
    }
    cmx_relay_state_set_phase(x, RELAY_LOOKUP, event);
    x->deadline_ms = cmx_session_in(s, r->cfg.connect_timeout_s * 1000);
    if (!r->lookup || !cmx_lookup_is_fresh(r->lookup, s->now_ms)) {
        cmx_lookup_release(r->lookup);
        err = cmx_lookup_start(&r->lookup, r->cfg.local_host, r->cfg.local_port, &s->engine->hooks);
    }
    if (err)
        service_refused(x, s, err);
    else
        settle_lookup(x, s);
}

static void connect_result(struct relay *x, struct session *s)
{
    cmx_err err = cmx_net_connected(x->fd);

    if (err)
        address_failed(x, s, err);
    else
        service_connected(x, s);
}

/* Returns whether r may have one more relay. Relays that wait for the gateway's CLOSE no longer count as connections
 * but still use memory, so r has at most twice max_connections relays in all. extra: added to max_connections. */
static bool has_place(struct run *r, unsigned extra)
{
    const unsigned max = r->cfg.max_connections + extra;

    r->pressed = r->places >= 2 * max;
    return r->live.relays_open < max && !r->pressed;
}

/* Returns how many bytes of heap must be free for a connection of r. If r is a high_bw context, counts the connection
 * before the heap is checked, so that sessions that check at the same time count each other's connections; if the
 * connection is then refused, cmx_relay_count_bulk corrects the number. */
static size_t heap_floor(struct session *s, const struct run *r)
{
    if (!r->cfg.high_bw)
        return CMX_RELAY_HEAP_FLOOR;
    s->bulk++;
    return CMX_RELAY_HEAP_FLOOR + (atomic_fetch_add(&s->engine->bulk, 1) + 1) * CMX_RELAY_HEAP_BULK;
}

void cmx_relay_count_bulk(struct session *s)
{
    unsigned n = 0;

    /* 32 bits are enough for the age: an old relay counts as young only once in 49 days, for CMX_RELAY_BULK_MS. */
    for (const struct relay *x = s->relays; x; x = x->next)
        n += x->run->cfg.high_bw && (uint32_t)(s->now_ms - x->created_ms) < CMX_RELAY_BULK_MS;
    atomic_fetch_add(&s->engine->bulk, n - s->bulk);
    s->bulk = n;
}

/* Creates a relay for a connection from the client with the address `from`. If the connection must be refused, counts
 * and reports the refusal and returns NULL. extra: how many connections beyond max_connections are allowed. */
static struct relay *relay_admit(struct session *s, struct run *r, unsigned extra, relay_phase phase, const char *from)
{
    const bool place = has_place(r, extra);
    struct relay *x = NULL;

    if (place && !cmx_session_lacks_heap(r, heap_floor(s, r), "refused"))
        x = cmx_relay_state_new(s, r, phase);
    if (x) {
        snprintf(x->from, sizeof x->from, "%s", from);
        return x;
    }
    if (!place)
        cmx_log_limited(CMX_LOG_WARN, TAG,
                        "%s: connection from %.46s refused: %u are open, %u wait for the gateway's CLOSE", r->cfg.name,
                        from, r->live.relays_open, r->places - r->live.relays_open);
    cmx_relay_event_refused(s, r, from, place ? CMX_ENOMEM : CMX_EBUSY);
    return NULL;
}

void cmx_relay_accept_channel(struct session *s, struct run *r, cmx_ssh_open *o)
{
    const bool tentative = cmx_probe_is_out(r); /* max_connections must not block the probe */
    const char *from = cmx_ssh_open_originator(o);
    struct relay *x = relay_admit(s, r, tentative, tentative ? RELAY_TENTATIVE : RELAY_LOOKUP, from);

    if (!x) {
        if (tentative)
            cmx_probe_excuse(r);
        cmx_ssh_refuse(o);
        return;
    }
    cmx_originator_read(&x->originator, from, cmx_ssh_open_originator_port(o));
    if (!tentative) {
        x->open = o;
        connect_service(x, s, "accepted");
        return;
    }
    x->deadline_ms = cmx_session_in(s, TENTATIVE_MS);
    if (cmx_ssh_accept(s->ssh, o, &cmx_relay_flow_handlers, x, &x->channel)) {
        cmx_probe_excuse(r);
        finish(x, s, CMX_ECLOSED);
    }
}

void cmx_relay_accept_local(struct session *s, struct run *r, int fd, const struct sockaddr_storage *peer)
{
    char from[CMX_IP_TEXT_MAX];
    struct relay *x;

    cmx_net_text(peer, from);
    x = relay_admit(s, r, 0, RELAY_OPENING, from);
    if (!x) {
        cmx_net_abort(fd);
        return;
    }
    x->fd = fd;
    if (cmx_ssh_channel_new(s->ssh, &cmx_relay_flow_handlers, x, &x->channel))
        relay_refused(x, s, CMX_ENOMEM);
}

/* ---- events of the local socket ---- */

static short events_open(const struct relay *x, const struct session *s)
{
    short events = 0;

    if (cmx_relay_state_has_backlog(x))
        events |= POLLOUT;
    if (x->to_gateway == HALF_OPEN && !x->held.data && !cmx_ssh_wants_write(s->ssh) &&
        cmx_ssh_channel_window(x->channel) > 0)
        events |= POLLIN;
    return events;
}

short cmx_relay_events(const struct relay *x, const struct session *s)
{
    if (x->phase == RELAY_CONNECTING)
        return POLLOUT;
    return x->phase == RELAY_OPEN ? events_open(x, s) : 0;
}

static cmx_err ready_open(struct relay *x, struct session *s, short revents)
{
    short wanted = s->polls[x->poll_index].events;

    if (revents & (POLLOUT | POLLERR | POLLHUP) && cmx_relay_state_has_backlog(x)) {
        x->active_ms = s->now_ms;
        cmx_relay_flow_drain(x);
    }
    if (!(wanted & POLLIN) || !(revents & (POLLIN | POLLERR | POLLHUP)) || x->failed || cmx_ssh_wants_write(s->ssh))
        return CMX_OK;
    x->active_ms = s->now_ms;
    return cmx_relay_flow_pump(x, s);
}

cmx_err cmx_relay_ready(struct relay *x, struct session *s, short revents)
{
    if (x->phase == RELAY_OPEN)
        return ready_open(x, s, revents);
    if (x->phase == RELAY_CONNECTING)
        connect_result(x, s);
    return CMX_OK;
}

/* ---- progress without waiting ---- */

static void settle_tentative(struct relay *x, struct session *s)
{
    if (x->failed || (x->close_received && x->backlog == 0))
        finish(x, s, CMX_ECLOSED);
    else if (cmx_session_past(s, x->deadline_ms))
        connect_service(x, s, "not the probe");
}

/* For a direct relay in RELAY_OPENING or RELAY_UNWANTED: checks whether the gateway has answered our request to open a
 * channel. */
static cmx_err settle_opening(struct relay *x, struct session *s)
{
    const struct cmx_context *c = &x->run->cfg;
    cmx_err err = cmx_ssh_channel_connect(x->channel, c->remote_host, c->remote_port);

    if (err == CMX_EAGAIN)
        return CMX_OK;
    if (err == CMX_ECLOSED)
        return err;
    if (err) { /* the gateway refused: the channel never opened, so no CLOSE may be sent */
        cmx_ssh_channel_free(x->channel);
        x->channel = NULL;
    }
    if (x->phase == RELAY_UNWANTED) {
        finish(x, s, CMX_ECLOSED);
    } else if (err) {
        cmx_log_limited(CMX_LOG_WARN, TAG, "%s: gateway %s %.64s port %u", c->name,
                        err == CMX_EPERM ? "does not permit" : "cannot reach", c->remote_host,
                        (unsigned)c->remote_port);
        relay_refused(x, s, err);
    } else {
        relay_opened(x, s, "gateway opened the channel");
    }
    return CMX_OK;
}

/* Returns the time at which the idle timeout ends, not the time that is left: s->now_ms - active_ms could be negative,
 * because now_ms is the beginning of this turn of the loop and active_ms may be later. */
static uint64_t idle_at(const struct relay *x)
{
    const unsigned idle_s = x->run->cfg.idle_timeout_s;

    return idle_s ? x->active_ms + idle_s * 1000 : UINT64_MAX;
}

/* Sends EOF once all bytes from the local socket have been sent to the gateway. */
static cmx_err settle_to_gateway(struct relay *x)
{
    cmx_err err;

    if (x->to_gateway != HALF_DRAIN || x->held.data)
        return CMX_OK;
    err = cmx_ssh_channel_send_eof(x->channel);
    cmx_relay_state_set_to_gateway(x, HALF_SHUT, "drained");
    return err;
}

/* Shuts down the sending direction of the local socket once all bytes from the gateway have been sent to it. */
static void settle_to_local(struct relay *x)
{
    if (x->to_local != HALF_DRAIN || cmx_relay_state_has_backlog(x))
        return;
    if (x->end != END_BROKEN) /* if the gateway broke the connection, a reset follows instead */
        shutdown(x->fd, SHUT_WR);
    cmx_relay_state_set_to_local(x, HALF_SHUT, "drained");
}

/* Called when both directions are shut. */
static void finish_shut(struct relay *x, struct session *s)
{
    if (x->end == END_CUT) /* everything was sent to the service: close its socket without a reset */
        cmx_relay_event_closed(x, s, CMX_ECLOSED);
    finish(x, s, x->end == END_BROKEN ? CMX_ECLOSED : CMX_OK);
}

static cmx_err settle_open(struct relay *x, struct session *s)
{
    cmx_err err = CMX_OK;

    if (x->held.data && !cmx_ssh_wants_write(s->ssh))
        err = cmx_relay_flow_send_held(x);
    if (err)
        return err;
    if (x->failed || cmx_session_past(s, idle_at(x))) {
        finish(x, s, x->failed ? x->failed : CMX_ETIMEOUT);
        return CMX_OK;
    }
    err = settle_to_gateway(x);
    if (err)
        return err;
    settle_to_local(x);
    if (x->to_local == HALF_SHUT && x->to_gateway == HALF_SHUT)
        finish_shut(x, s);
    else
        cmx_relay_state_log_stall(x, s);
    return CMX_OK;
}

static cmx_err settle_closing(struct relay *x, struct session *s)
{
    if (x->close_received)
        cmx_relay_state_set_phase(x, RELAY_DEAD, "gateway's CLOSE");
    else if (x->run->pressed && cmx_session_past(s, x->deadline_ms))
        return CMX_EPROTO; /* a new connection was refused for lack of a free place */
    return CMX_OK;
}

cmx_err cmx_relay_settle(struct relay *x, struct session *s)
{
    switch (x->phase) {
    case RELAY_TENTATIVE:
        settle_tentative(x, s);
        break;
    case RELAY_LOOKUP:
        settle_lookup(x, s);
        break;
    case RELAY_CONNECTING:
        if (cmx_session_past(s, x->deadline_ms))
            address_failed(x, s, CMX_ETIMEOUT);
        break;
    case RELAY_OPENING:
    case RELAY_UNWANTED:
        return settle_opening(x, s);
    case RELAY_OPEN:
        return settle_open(x, s);
    case RELAY_CLOSING:
        return settle_closing(x, s);
    case RELAY_DEAD:
        break;
    }
    return CMX_OK;
}
