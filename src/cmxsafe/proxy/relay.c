/* relay.c - the life of one connection: an SSH channel on one side, a local TCP socket on the other. A half-closed
 * connection stays half-open (invariant 4 of the design); the bytes are flow.c's. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/engine.h"
#include "cmxsafe/proxy/net.h"

#define TAG CMX_LOG_PROXY
#define TENTATIVE_MS 300 /* a service that speaks first must not wait longer for its client */

/* ---- birth ---- */

static struct relay *relay_new(struct session *s, struct run *r, relay_state state)
{
    struct relay *x = cmx_mem_alloc(sizeof *x);

    if (!x)
        return NULL;
    x->run = r;
    x->state = state;
    x->fd = -1;
    x->poll_index = -1;
    x->active_ms = s->now_ms;
    x->next = s->relays;
    s->relays = x;
    s->n_relays++;
    r->places++;
    r->live.relays_open++;
    r->dirty = true;
    x->counted = true;
    return x;
}

static void close_local(struct relay *x, struct session *s, bool reset)
{
    if (x->counted)
        x->run->live.relays_open--;
    x->counted = false;
    x->run->dirty = true;
    if (x->fd < 0)
        return;
    if (reset)
        cmx_net_abort(x->fd);
    else
        close(x->fd);
    x->fd = -1;
    cmx_socket_tell_close(s->proxy, &x->socket, x->run->cfg.name);
}

/* Everything of the relay goes, at once; what the peer must still say is awaited in CLOSING. cause: CMX_OK: it came to
 * its end in order; else the local side sees a reset. */
static void finish(struct relay *x, struct session *s, cmx_err cause)
{
    close_local(x, s, cause != CMX_OK);
    cmx_relay_tell_closed(x, s, cause);
    if (x->addresses)
        freeaddrinfo(x->addresses);
    x->addresses = NULL;
    if (x->open)
        cmx_ssh_refuse(x->open);
    x->open = NULL;
    cmx_relay_drop_bytes(x);
    x->state = RELAY_DEAD;
    if (!x->channel)
        return;
    cmx_ssh_channel_close(x->channel);
    x->state = RELAY_CLOSING;
    x->deadline_ms = s->now_ms + CMX_RELAY_CLOSE_TIMEOUT_MS;
}

void cmx_relay_abort(struct relay *x, struct session *s, cmx_err cause)
{
    if (x->state == RELAY_OPENING) {
        /* No close may be sent for a channel that has no number at the other side yet: settle does it. */
        close_local(x, s, true);
        x->failed = cause;
        return;
    }
    if (x->state < RELAY_CLOSING)
        finish(x, s, cause);
}

void cmx_relay_free(struct relay *x)
{
    cmx_ssh_channel_free(x->channel);
    x->run->places--;
    cmx_mem_free(x);
}

static void became_open(struct relay *x, struct session *s)
{
    x->state = RELAY_OPEN;
    x->active_ms = s->now_ms;
    x->run->live.relays_total++;
    x->run->dirty = true;
    if (x->backlog > 0)
        x->local_blocked = true; /* bytes that came early wait inside libssh */
    cmx_relay_tell_opened(x, s);
}

/* ---- the local service of a reverse context ---- */

static void refused(struct relay *x, struct session *s, cmx_err err)
{
    cmx_relay_tell_refused(s, x->run, x->from, err);
    finish(x, s, err);
}

static void service_refused(struct relay *x, struct session *s, cmx_err err)
{
    cmx_module_log(CMX_LOG_WARN | TAG, "%s: service on port %u: %s", x->run->cfg.name, (unsigned)x->run->cfg.local_port,
                   cmx_err_text(err));
    refused(x, s, err);
}

static void service_connected(struct relay *x, struct session *s)
{
    freeaddrinfo(x->addresses);
    x->addresses = NULL;
    if (x->open) {
        struct cmx_ssh_open *o = x->open;
        cmx_err err;

        x->open = NULL;
        err = cmx_ssh_accept(o, &cmx_relay_handlers, x, &x->channel);
        if (err) {
            refused(x, s, err);
            return;
        }
    }
    became_open(x, s);
}

static void drop_socket(struct relay *x, struct session *s)
{
    if (x->fd >= 0)
        close(x->fd);
    x->fd = -1;
    cmx_socket_tell_close(s->proxy, &x->socket, x->run->cfg.name);
}

/* Starts on x->address; goes on to the next ones while they fail at once. */
static void try_addresses(struct relay *x, struct session *s)
{
    cmx_err err = CMX_EDNS;

    for (; x->address; x->address = x->address->ai_next) {
        struct sockaddr_storage local;

        err = cmx_net_socket(x->address->ai_addr, &x->fd, &local);
        if (err) {
            x->fd = -1;
            continue;
        }
        err =
            cmx_socket_tell_open(s->proxy, &x->socket, CMX_SOCKET_RELAY, x->run->cfg.name, &local, x->address->ai_addr);
        if (!err)
            err = cmx_net_connect(x->fd, x->address->ai_addr, x->address->ai_addrlen);
        if (!err) {
            service_connected(x, s);
            return;
        }
        if (err == CMX_EAGAIN) {
            x->deadline_ms = cmx_session_in(s, x->run->cfg.connect_timeout_s);
            return;
        }
        drop_socket(x, s);
    }
    service_refused(x, s, err);
}

static void connect_service(struct relay *x, struct session *s)
{
    const char *host = x->run->cfg.local_host ? x->run->cfg.local_host : "127.0.0.1";
    cmx_err err = cmx_net_resolve(host, x->run->cfg.local_port, &x->addresses);

    x->state = RELAY_CONNECTING;
    x->address = x->addresses;
    if (err)
        service_refused(x, s, err);
    else
        try_addresses(x, s);
}

static void connect_result(struct relay *x, struct session *s)
{
    cmx_err err = cmx_net_connected(x->fd);

    if (!err) {
        service_connected(x, s);
        return;
    }
    drop_socket(x, s);
    x->address = x->address->ai_next;
    if (x->address)
        try_addresses(x, s);
    else
        service_refused(x, s, err);
}

/* One that only waits for the gateway's close is no connection any more, but not free of cost: as many again. */
static bool has_place(struct run *r, unsigned extra)
{
    const unsigned max = r->cfg.max_connections + extra;

    r->pressed = r->places >= 2 * max;
    return r->live.relays_open < max && !r->pressed;
}

void cmx_relay_reverse(struct session *s, struct run *r, struct cmx_ssh_open *o)
{
    bool tentative = cmx_probe_is_out(r);
    bool place = has_place(r, tentative); /* a probe must not be refused for want of one */
    struct relay *x = place ? relay_new(s, r, tentative ? RELAY_TENTATIVE : RELAY_CONNECTING) : NULL;

    if (!x) {
        cmx_module_log(CMX_LOG_WARN | TAG, "%s: connection from %.46s refused: %u open", r->cfg.name,
                       cmx_ssh_open_originator(o), r->live.relays_open);
        cmx_relay_tell_refused(s, r, cmx_ssh_open_originator(o), place ? CMX_ENOMEM : CMX_EBUSY);
        cmx_ssh_refuse(o);
        return;
    }
    snprintf(x->from, sizeof x->from, "%s", cmx_ssh_open_originator(o));
    if (!tentative) {
        x->open = o;
        connect_service(x, s);
        return;
    }
    x->deadline_ms = s->now_ms + TENTATIVE_MS;
    if (cmx_ssh_accept(o, &cmx_relay_handlers, x, &x->channel))
        finish(x, s, CMX_ECLOSED);
}

void cmx_relay_direct(struct session *s, struct run *r, int fd, const struct sockaddr_storage *peer)
{
    bool place = has_place(r, 0);
    struct relay *x = place ? relay_new(s, r, RELAY_OPENING) : NULL;
    char from[sizeof x->from];

    cmx_net_text(peer, from, sizeof from);
    if (!x) {
        cmx_relay_tell_refused(s, r, from, place ? CMX_ENOMEM : CMX_EBUSY);
        cmx_net_abort(fd);
        return;
    }
    memcpy(x->from, from, sizeof x->from);
    x->fd = fd;
    if (cmx_ssh_channel_new(s->ssh, &cmx_relay_handlers, x, &x->channel))
        refused(x, s, CMX_ENOMEM);
}

/* ---- life ---- */

short cmx_relay_events(const struct relay *x, const struct session *s)
{
    short events = 0;

    if (x->state == RELAY_CONNECTING)
        return POLLOUT;
    if (x->state != RELAY_OPEN)
        return 0;
    if (x->local_blocked)
        events |= POLLOUT;
    if (!x->local_eof && !x->held && !x->remote_closed && !cmx_ssh_wants_write(s->ssh) &&
        cmx_ssh_channel_window(x->channel) > 0)
        events |= POLLIN;
    return events;
}

cmx_err cmx_relay_ready(struct relay *x, struct session *s, short revents)
{
    short wanted = s->polls[x->poll_index].events;

    if (x->state == RELAY_CONNECTING) {
        connect_result(x, s);
        return CMX_OK;
    }
    if (x->state != RELAY_OPEN)
        return CMX_OK;
    if (revents & (POLLOUT | POLLERR | POLLHUP) && x->local_blocked) {
        x->active_ms = s->now_ms;
        cmx_relay_drain(x);
    }
    if (!(wanted & POLLIN) || !(revents & (POLLIN | POLLERR | POLLHUP)) || x->failed || cmx_ssh_wants_write(s->ssh))
        return CMX_OK;
    x->active_ms = s->now_ms;
    return cmx_relay_pump(x, s);
}

static cmx_err settle_opening(struct relay *x, struct session *s)
{
    cmx_err err = cmx_ssh_channel_connect(x->channel, x->run->cfg.remote_host, x->run->cfg.remote_port);

    if (err == CMX_EAGAIN)
        return CMX_OK;
    if (!err && x->failed)
        finish(x, s, x->failed);
    else if (!err)
        became_open(x, s);
    if (!err || err == CMX_ECLOSED)
        return err;
    cmx_module_log(CMX_LOG_WARN | TAG, "%s: gateway %s %.64s port %u", x->run->cfg.name,
                   err == CMX_EPERM ? "does not permit" : "cannot reach", x->run->cfg.remote_host,
                   (unsigned)x->run->cfg.remote_port);
    cmx_ssh_channel_free(x->channel);
    x->channel = NULL;
    refused(x, s, err);
    return CMX_OK;
}

static cmx_err settle_tentative(struct relay *x, struct session *s)
{
    if (x->settled_probe || (x->remote_closed && x->backlog == 0))
        finish(x, s, CMX_ECLOSED);
    else if (cmx_session_past(s, x->deadline_ms))
        connect_service(x, s);
    return CMX_OK;
}

/* When the connection has been idle for too long. A byte that came during this turn is newer than the turn. */
CMX_SMALL static uint64_t idle_at(const struct relay *x)
{
    const unsigned idle_s = x->run->cfg.idle_timeout_s;

    return idle_s ? x->active_ms + idle_s * 1000ull : UINT64_MAX;
}

static cmx_err settle_open(struct relay *x, struct session *s)
{
    bool delivered = x->backlog == 0 && !x->spill;
    cmx_err err = CMX_OK;

    if (x->held && !cmx_ssh_wants_write(s->ssh))
        err = cmx_relay_send_held(x);
    if (err)
        return err;
    if (x->failed || cmx_session_past(s, idle_at(x))) {
        finish(x, s, x->failed ? x->failed : CMX_ETIMEOUT);
        return CMX_OK;
    }
    if (x->remote_eof && delivered && !x->local_shut) {
        shutdown(x->fd, SHUT_WR);
        x->local_shut = true;
    }
    if (x->local_eof && !x->held && !x->eof_sent) {
        err = cmx_ssh_channel_send_eof(x->channel);
        x->eof_sent = true;
    }
    if (x->remote_closed && delivered) {
        /* A close while the device still had something to say is told as a broken connection; one without an end of
         * file is one for the service too. */
        if (!x->eof_sent)
            cmx_relay_tell_closed(x, s, CMX_ECLOSED);
        finish(x, s, x->remote_eof ? CMX_OK : CMX_ECLOSED);
    } else if (x->eof_sent && x->local_shut) {
        finish(x, s, CMX_OK);
    }
    return err;
}

cmx_err cmx_relay_settle(struct relay *x, struct session *s)
{
    if (x->overflow)
        return CMX_EPROTO;
    switch (x->state) {
    case RELAY_TENTATIVE:
        return settle_tentative(x, s);
    case RELAY_CONNECTING:
        if (cmx_session_past(s, x->deadline_ms))
            service_refused(x, s, CMX_ETIMEOUT);
        return CMX_OK;
    case RELAY_OPENING:
        return settle_opening(x, s);
    case RELAY_OPEN:
        return settle_open(x, s);
    case RELAY_CLOSING:
        if (x->remote_closed)
            x->state = RELAY_DEAD;
        else if (x->run->pressed && cmx_session_past(s, x->deadline_ms))
            return CMX_EPROTO;
        return CMX_OK;
    case RELAY_DEAD:
        break;
    }
    return CMX_OK;
}

uint64_t cmx_relay_due(const struct relay *x)
{
    switch (x->state) {
    case RELAY_TENTATIVE:
    case RELAY_CONNECTING:
        return x->deadline_ms;
    case RELAY_CLOSING:
        return x->run->pressed ? x->deadline_ms : UINT64_MAX;
    case RELAY_OPEN:
        return idle_at(x);
    case RELAY_OPENING:
    case RELAY_DEAD:
        break;
    }
    return UINT64_MAX;
}
