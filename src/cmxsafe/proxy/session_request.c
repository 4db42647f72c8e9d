#include "cmxsafe/proxy/session_request.h"

#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/net.h"

#define TAG "proxy"

/* The result is at most an hour (gateway_options.h), so 32 bits are enough for it and for dead_ms. */
static uint32_t keepalive_ms(const struct session *s)
{
    return s->config->gateway.keepalive_s * 1000;
}

/* The gateway counts as dead after this long without a byte: keepalive_s * keepalive_max, less one second, so that the
 * session ends within the configured time. A time of at most two seconds is not shortened. */
static uint32_t dead_ms(const struct session *s)
{
    const uint32_t ms = keepalive_ms(s) * s->config->gateway.keepalive_max;

    return ms > 2000 ? ms - 1000 : ms;
}

/* ---- outcomes ---- */

static void came_up(struct run *r)
{
    r->listening = true;
    cmx_session_set_context(r, CMX_STATE_UP, CMX_OK, NULL);
}

static cmx_err request_step(struct session *s)
{
    struct run *r = s->request_run;

    switch (s->request) {
    case REQUEST_LISTEN:
        return cmx_ssh_listen(s->ssh, cmx_session_listen_address(r), r->cfg.remote_port);
    case REQUEST_CANCEL:
        return cmx_ssh_cancel(s->ssh, cmx_session_listen_address(r), r->cfg.remote_port);
    case REQUEST_KEEPALIVE:
        return cmx_ssh_keepalive(s->ssh);
    case REQUEST_NONE:
        break;
    }
    return CMX_OK;
}

/* Continues the pending request. CMX_EAGAIN: no answer yet. Other errors end the session. */
static cmx_err request_advance(struct session *s)
{
    cmx_err err = request_step(s);
    struct run *r = s->request_run;

    if (err == CMX_EAGAIN && cmx_session_past(s, s->request_ms + dead_ms(s)))
        return CMX_ETIMEOUT; /* the gateway sends data, but does not answer the request */
    if (err == CMX_EAGAIN || err == CMX_ECLOSED)
        return err;
    if (s->request == REQUEST_LISTEN && err)
        cmx_session_forward_failed(r, CMX_EFORWARD, "gateway refuses port %u (in use, or not permitted); retrying",
                                   (unsigned)r->cfg.remote_port);
    else if (s->request == REQUEST_LISTEN)
        came_up(r);
    else if (s->request == REQUEST_CANCEL)
        r->cancelling = false; /* a gateway that refuses has no such listener */
    s->request = REQUEST_NONE;
    s->request_run = NULL;
    return CMX_OK;
}

/* ---- choosing the next request ---- */

/* Computes r's address if its remote_address is a fleet's prefix. */
static cmx_err derive_address(struct session *s, struct run *r)
{
    const struct cmx_gateway *g = &s->config->gateway;
    const char *prefix = cmx_proxy_fleet_prefix(r->cfg.remote_address);
    uint8_t *blob;
    size_t len = 0;
    cmx_err err;

    if (!prefix || r->address[0])
        return CMX_OK;
    blob = cmx_mem_alloc(CMX_PIN_BLOB_MAX);
    if (!blob)
        return CMX_ENOMEM;
    err = cmx_ssh_login_key(s->ssh, blob, CMX_PIN_BLOB_MAX, &len);
    if (!err)
        err = g->fleet_address(prefix, blob, len, r->address);
    if (!err)
        cmx_log(CMX_LOG_INFO, TAG, "%s: listen address in %s: %s", r->cfg.name, prefix, r->address);
    cmx_mem_free(blob);
    return err;
}

static void request_begin(struct session *s, request_kind kind, struct run *r)
{
    s->request = kind;
    s->request_run = r;
    s->request_ms = s->now_ms;
}

static void open_listener(struct session *s, struct run *r)
{
    struct sockaddr_storage local;
    int fd = -1;
    cmx_err err = cmx_net_listen(r->cfg.local_host, r->cfg.local_port, (int)r->cfg.max_connections, &fd, &local);

    if (!err) {
        err = cmx_tracked_socket_open(&r->listener_socket, &s->engine->hooks, CMX_SOCKET_LISTEN, &local, NULL);
        if (err)
            close(fd);
    }
    if (err) {
        cmx_session_forward_failed(r, err, "cannot listen on %.40s port %u: %s", r->cfg.local_host,
                                   (unsigned)r->cfg.local_port, cmx_err_text(err));
        return;
    }
    r->listener = fd;
    came_up(r);
}

static void request_choose(struct session *s)
{
    cmx_err err;

    for (struct run *r = s->runs; r; r = r->next)
        if (r->cancelling) {
            request_begin(s, REQUEST_CANCEL, r);
            return;
        }
    for (struct run *r = s->runs; r; r = r->next) {
        if (r->listening || r->retired || !cmx_session_past(s, r->retry_ms))
            continue;
        if (r->cfg.direction == CMX_DIRECT) {
            open_listener(s, r);
            continue;
        }
        err = derive_address(s, r);
        if (err) {
            cmx_session_forward_failed(r, err, "can't derive the listen address: %s", cmx_err_text(err));
            continue;
        }
        request_begin(s, REQUEST_LISTEN, r);
        return;
    }
    if (cmx_session_past(s, s->received_ms + keepalive_ms(s)))
        request_begin(s, REQUEST_KEEPALIVE, NULL);
}

cmx_err cmx_session_request_step(struct session *s)
{
    uint64_t received = cmx_ssh_received(s->ssh);

    if (received != s->received) {
        s->received = received;
        s->received_ms = s->now_ms;
    }
    if (cmx_session_past(s, s->received_ms + dead_ms(s)))
        return CMX_ETIMEOUT;
    for (int i = 0; i < CMX_PROXY_CONTEXTS_MAX; i++) {
        cmx_err err;

        if (s->request == REQUEST_NONE)
            request_choose(s);
        if (s->request == REQUEST_NONE)
            return CMX_OK;
        err = request_advance(s);
        if (err)
            return err == CMX_EAGAIN ? CMX_OK : err;
    }
    return CMX_OK;
}
