/* Bytes from the gateway: the data handler sends straight from libssh's buffer to the local socket. Bytes that the
 * socket does not accept stay in libssh, which then stops enlarging the channel's window. When the socket accepts data
 * again, the waiting bytes are read from libssh into `spill`. On a host they are all read in one call: libssh 0.10
 * grants the peer a whole new window at every read, so reading in pieces would let the peer fill the heap. A device has
 * libssh 0.11, and reads in pieces.
 *
 * Bytes to the gateway move one chunk at a time. A chunk is read only while the window is open and the SSH socket has
 * accepted the previous chunk. */
#include "cmxsafe/proxy/relay_flow.h"

#include <errno.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/net.h"
#include "cmxsafe/proxy/probe.h"

/* ---- from the gateway ---- */

/* Sends as much as the local socket accepts. CMX_EAGAIN: some bytes are left; CMX_ECLOSED: the socket is broken. */
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

/* Examines the first bytes of a connection that arrived during a probe. */
static void look_for_token(struct relay *x, const uint8_t *data, size_t len)
{
    const probe_match match = cmx_probe_match(x->run, data, len);

    if (match == PROBE_OTHER)
        x->deadline_ms = 0; /* these bytes come from a client: connect to the service now */
    else if (match == PROBE_TOKEN)
        x->failed = CMX_ECLOSED; /* the connection is the probe's own: it ends here */
}

/* Returns how many bytes it consumed. The others stay in libssh; ssh.c ends the session if they far exceed the
 * window. */
static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
    struct relay *x = arg;
    size_t sent = 0;

    cmx_relay_state_stir(x);
    if (x->failed)
        return 0;
    if (x->phase == RELAY_TENTATIVE) {
        look_for_token(x, data, len);
    } else if (x->phase == RELAY_OPEN) {
        x->active_ms = cmx_port_now_ms();
        if (!cmx_relay_state_has_backlog(x) && send_local(x, data, len, &sent) == CMX_ECLOSED)
            x->failed = CMX_ECLOSED;
    }
    x->backlog = len - sent;
    return sent;
}

static void on_eof(void *arg)
{
    struct relay *x = arg;

    cmx_relay_state_stir(x);
    if (x->to_local == HALF_OPEN)
        cmx_relay_state_set_to_local(x, HALF_DRAIN, "gateway's EOF");
}

static void on_closed(void *arg)
{
    struct relay *x = arg;

    cmx_relay_state_stir(x);
    x->close_received = true;
    if (x->to_local == HALF_OPEN)
        x->end = END_BROKEN;
    else if (x->to_gateway != HALF_SHUT)
        x->end = END_CUT;
    if (x->to_local == HALF_OPEN)
        cmx_relay_state_set_to_local(x, HALF_DRAIN, "gateway's CLOSE");
    cmx_relay_state_set_to_gateway(x, HALF_SHUT, "gateway's CLOSE");
}

const struct cmx_ssh_handlers cmx_relay_flow_handlers = {on_data, on_eof, on_closed};

static void bytes_drop(struct relay_bytes *b)
{
    cmx_mem_free(b->data);
    *b = (struct relay_bytes){0};
}

static cmx_err bytes_reserve(struct relay_bytes *b, size_t len)
{
    b->data = cmx_mem_alloc(len);
    if (!b->data)
        return CMX_ENOMEM;
    b->len = len;
    return CMX_OK;
}

void cmx_relay_flow_drain(struct relay *x)
{
    while (cmx_relay_state_has_backlog(x)) {
        size_t sent;
        cmx_err err;

        if (!x->spill.data) {
            err = bytes_reserve(&x->spill, x->backlog < CMX_RELAY_SPILL ? x->backlog : CMX_RELAY_SPILL);
            if (!err)
                err = cmx_ssh_channel_read(x->channel, x->spill.data, x->spill.len);
            if (err) {
                bytes_drop(&x->spill);
                x->failed = err;
                return;
            }
            x->backlog -= x->spill.len; /* not set to 0: libssh may have received more meanwhile */
        }
        err = send_local(x, x->spill.data + x->spill.off, x->spill.len - x->spill.off, &sent);
        x->spill.off += sent;
        if (err) {
            x->failed = err == CMX_ECLOSED ? err : CMX_OK;
            return;
        }
        bytes_drop(&x->spill);
    }
}

/* ---- to the gateway ---- */

static void count_out(struct relay *x, size_t sent)
{
    x->bytes_out += sent;
    x->run->live.bytes_out += sent;
    x->run->dirty = true;
}

cmx_err cmx_relay_flow_send_held(struct relay *x)
{
    size_t window = cmx_ssh_channel_window(x->channel);
    size_t left = x->held.len - x->held.off;
    size_t sent;
    cmx_err err;

    if (window == 0 || x->to_gateway == HALF_SHUT)
        return CMX_OK;
    err = cmx_ssh_channel_write(x->channel, x->held.data + x->held.off, left < window ? left : window, &sent);
    x->held.off += sent;
    count_out(x, sent);
    if (x->held.off == x->held.len)
        bytes_drop(&x->held);
    return err;
}

static size_t chunk_of(const struct relay *x, const struct session *s)
{
    size_t chunk = x->run->cfg.high_bw ? CMX_RELAY_CHUNK_HIGH : CMX_RELAY_CHUNK;

    return chunk < s->scratch_len ? chunk : s->scratch_len;
}

/* Moves one chunk. Sets *more if the local socket may have another chunk. */
static cmx_err pump_chunk(struct relay *x, struct session *s, bool *more)
{
    size_t window = cmx_ssh_channel_window(x->channel);
    size_t want = chunk_of(x, s);
    size_t sent;
    ssize_t n;
    cmx_err err;

    *more = false;
    if (window < want)
        want = window;
    if (want == 0 || x->held.data || x->failed || x->to_gateway != HALF_OPEN || cmx_ssh_wants_write(s->ssh))
        return CMX_OK;
    n = recv(x->fd, s->scratch, want, 0);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            x->failed = CMX_ECLOSED;
        return CMX_OK;
    }
    if (n == 0) {
        cmx_relay_state_set_to_gateway(x, HALF_DRAIN, "local end of file");
        return CMX_OK;
    }
    err = cmx_ssh_channel_write(x->channel, s->scratch, (size_t)n, &sent);
    count_out(x, sent);
    if (!err && sent < (size_t)n) {
        if (bytes_reserve(&x->held, (size_t)n - sent))
            x->failed = CMX_ENOMEM;
        else
            memcpy(x->held.data, s->scratch + sent, x->held.len);
    }
    *more = !err && (size_t)n == want;
    return err;
}

cmx_err cmx_relay_flow_pump(struct relay *x, struct session *s)
{
    bool more = true;
    cmx_err err = CMX_OK;

    for (size_t moved = 0; more && !err && moved < CMX_RELAY_BURST; moved += chunk_of(x, s))
        err = pump_chunk(x, s, &more);
    return err;
}

void cmx_relay_flow_drop(struct relay *x)
{
    bytes_drop(&x->spill);
    bytes_drop(&x->held);
    x->backlog = 0;
}
