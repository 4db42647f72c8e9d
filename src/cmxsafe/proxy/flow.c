/* flow.c - the bytes of one connection. Every byte accepted is delivered or the relay is reset, and order is kept
 * (invariant 4 of the design).
 *
 * From the gateway: the data handler sends straight from libssh's buffer to the local socket. What the socket does not
 * take stays in libssh, whose window then closes. When the socket takes bytes again, what waits is taken out of libssh
 * (spill): all at once from libssh 0.10, which opens a whole new window at any read, so that reading piecemeal would
 * let the peer fill the heap; on a device, with libssh 0.11, in pieces. To the gateway: one chunk at a time, read only
 * when the window is open and the SSH socket has taken the one before. */
#include <errno.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/proxy/engine.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* ---- from the gateway ---- */

/* Sends what the socket takes. CMX_EAGAIN: it is full. */
static cmx_err send_local(struct relay *x, const uint8_t *data, size_t len, size_t *sent)
{
    ssize_t n = send(x->fd, data, len, MSG_NOSIGNAL);

    *sent = n > 0 ? (size_t)n : 0;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        return CMX_ECLOSED;
    x->bytes_in += *sent;
    x->run->live.bytes_in += *sent;
    x->run->dirty = true;
    return *sent == len ? CMX_OK : CMX_EAGAIN;
}

/* The first bytes of a connection that came while a probe is out: the token, someone else's, or not enough to tell. */
static size_t look_for_token(struct relay *x, const uint8_t *data, size_t len)
{
    struct probe *p = &x->run->probe;
    size_t n = len < sizeof p->token ? len : sizeof p->token;

    x->backlog = len;
    if (!cmx_secret_equal(data, p->token, n)) {
        x->deadline_ms = 0; /* a client: connect now */
        return 0;
    }
    if (n < sizeof p->token)
        return 0;
    p->seen = true;
    x->settled_probe = true;
    return len;
}

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
    struct relay *x = arg;
    size_t sent = 0;

    if (x->state == RELAY_TENTATIVE && !x->settled_probe && x->deadline_ms > 0)
        return look_for_token(x, data, len);
    if (x->state == RELAY_CLOSING || x->state == RELAY_DEAD || x->failed || x->settled_probe)
        return len;
    x->active_ms = cmx_port_now_ms();
    if (x->state == RELAY_OPEN && !x->local_blocked) {
        cmx_err err = send_local(x, data, len, &sent);

        x->failed = err == CMX_ECLOSED ? err : CMX_OK;
        x->local_blocked = err == CMX_EAGAIN;
        if (x->failed)
            return len;
    }
    x->backlog = len - sent;
    x->overflow = x->backlog > CMX_RELAY_BACKLOG_MAX;
    return sent;
}

static void on_eof(void *arg)
{
    ((struct relay *)arg)->remote_eof = true;
}

static void on_closed(void *arg)
{
    ((struct relay *)arg)->remote_closed = true;
}

const struct cmx_ssh_handlers cmx_relay_handlers = {on_data, on_eof, on_closed};

CMX_SMALL static void drop_spill(struct relay *x)
{
    cmx_mem_free(x->spill);
    x->spill = NULL;
    x->spill_len = 0;
    x->spill_off = 0;
}

/* The local socket takes bytes again. */
void cmx_relay_drain(struct relay *x)
{
    while (x->spill || x->backlog > 0) {
        size_t sent;
        cmx_err err;

        if (!x->spill) {
            x->spill_len = x->backlog < CMX_RELAY_SPILL ? x->backlog : CMX_RELAY_SPILL;
            x->spill = cmx_mem_alloc(x->spill_len);
            err = x->spill ? cmx_ssh_channel_read(x->channel, x->spill, x->spill_len) : CMX_ENOMEM;
            if (err) {
                drop_spill(x);
                x->failed = err;
                return;
            }
            x->backlog -= x->spill_len; /* libssh may have received more meanwhile */
        }
        err = send_local(x, x->spill + x->spill_off, x->spill_len - x->spill_off, &sent);
        x->spill_off += sent;
        if (err) {
            x->failed = err == CMX_ECLOSED ? err : CMX_OK;
            return;
        }
        drop_spill(x);
    }
    x->local_blocked = false;
}

/* ---- to the gateway ---- */

static void drop_held(struct relay *x)
{
    cmx_mem_free(x->held);
    x->held = NULL;
    x->held_len = 0;
    x->held_off = 0;
}

static cmx_err hold(struct relay *x, const uint8_t *data, size_t len)
{
    x->held = cmx_mem_alloc(len);
    if (!x->held) {
        x->failed = CMX_ENOMEM;
        return CMX_OK;
    }
    memcpy(x->held, data, len);
    x->held_len = len;
    x->held_off = 0;
    return CMX_OK;
}

CMX_SMALL static void count_out(struct relay *x, size_t sent)
{
    x->bytes_out += sent;
    x->run->live.bytes_out += sent;
    x->run->dirty = true;
}

cmx_err cmx_relay_send_held(struct relay *x)
{
    size_t window = cmx_ssh_channel_window(x->channel);
    size_t left = x->held_len - x->held_off;
    size_t sent;
    cmx_err err;

    if (window == 0 || x->remote_closed)
        return CMX_OK;
    err = cmx_ssh_channel_write(x->channel, x->held + x->held_off, left < window ? left : window, &sent);
    x->held_off += sent;
    count_out(x, sent);
    if (x->held_off == x->held_len)
        drop_held(x);
    return err;
}

static size_t chunk_of(const struct relay *x, const struct session *s)
{
    size_t chunk = x->run->cfg.high_bw ? CMX_RELAY_CHUNK_HIGH : CMX_RELAY_CHUNK;

    return chunk < s->scratch_len ? chunk : s->scratch_len;
}

cmx_err cmx_relay_pump(struct relay *x, struct session *s)
{
    size_t window = cmx_ssh_channel_window(x->channel);
    size_t want = chunk_of(x, s);
    size_t sent;
    ssize_t n;
    cmx_err err;

    if (window < want)
        want = window;
    if (want == 0 || x->held || x->remote_closed) /* libssh takes a write to a closed channel for the session's end */
        return CMX_OK;
    n = recv(x->fd, s->scratch, want, 0);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            x->failed = CMX_ECLOSED;
        return CMX_OK;
    }
    if (n == 0) {
        x->local_eof = true;
        return CMX_OK;
    }
    err = cmx_ssh_channel_write(x->channel, s->scratch, (size_t)n, &sent);
    count_out(x, sent);
    if (!err && sent < (size_t)n)
        err = hold(x, s->scratch + sent, (size_t)n - sent);
    return err;
}

void cmx_relay_drop_bytes(struct relay *x)
{
    drop_spill(x);
    drop_held(x);
    x->backlog = 0;
}
