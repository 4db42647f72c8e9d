/* login.c - from the gateway's name to an authenticated session, within one deadline. Each cause of failure is told
 * apart. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/proxy/engine.h"
#include "cmxsafe/proxy/net.h"

#define TAG CMX_LOG_PROXY

void cmx_session_say(struct session *s, const char *what, const char *why)
{
    snprintf(s->text, sizeof s->text, "%s%s", what, why);
}

/* Waits until fd is ready or the deadline has passed, looking out for a request to stop. */
static cmx_err wait_ready(struct session *s, int fd, short events, uint64_t deadline)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        uint64_t now = cmx_port_now_ms();

        if (cmx_session_stopping(s))
            return CMX_ECLOSED;
        if (now >= deadline)
            return CMX_ETIMEOUT;
        cmx_port_watchdog_feed();
        if (poll(&p, 1, deadline - now < CMX_SESSION_TICK_MS ? (int)(deadline - now) : CMX_SESSION_TICK_MS) > 0)
            return CMX_OK;
    }
}

static cmx_err resolve(struct session *s, struct addrinfo **out)
{
    const struct cmx_gateway *g = &s->config->gateway;
    const struct cmx_proxy_hooks *h = &s->proxy->hooks;
    cmx_err err;

    cmx_session_set_state(s, CMX_STATE_RESOLVING, CMX_OK, NULL);
    if (h->resolve)
        h->resolve(h->arg, g->host, true);
    err = cmx_net_resolve(g->host, g->port, out);
    if (h->resolve)
        h->resolve(h->arg, g->host, false);
    return err;
}

static cmx_err connect_one(struct session *s, const struct addrinfo *ai, uint64_t deadline, int *out)
{
    struct sockaddr_storage local;
    int fd;
    cmx_err err = cmx_net_socket(ai->ai_addr, &fd, &local);

    if (err)
        return err;
    err = cmx_socket_tell_open(s->proxy, &s->socket, CMX_SOCKET_SESSION, s->name, &local, ai->ai_addr);
    if (!err)
        err = cmx_net_connect(fd, ai->ai_addr, ai->ai_addrlen);
    if (err == CMX_EAGAIN) {
        err = wait_ready(s, fd, POLLOUT, deadline);
        if (!err)
            err = cmx_net_connected(fd);
    }
    if (err) {
        close(fd);
        cmx_socket_tell_close(s->proxy, &s->socket, s->name);
        return err;
    }
    *out = fd;
    return CMX_OK;
}

/* Tries all addresses of the name. The time is shared out, so that one that does not answer leaves some for the next.
 */
static cmx_err connect_any(struct session *s, uint64_t deadline, int *fd)
{
    struct addrinfo *list, *ai;
    unsigned left = 0;
    cmx_err err = resolve(s, &list);

    if (err) {
        cmx_session_say(s, "gateway name: ", cmx_err_text(err));
        return err;
    }
    cmx_session_set_state(s, CMX_STATE_CONNECTING, CMX_OK, NULL);
    for (ai = list; ai; ai = ai->ai_next)
        left++;
    err = CMX_EDNS;
    for (ai = list; ai && (ai == list || err); ai = ai->ai_next) {
        uint64_t now = cmx_port_now_ms();

        if (now >= deadline)
            break;
        err = connect_one(s, ai, now + (deadline - now) / left--, fd);
    }
    freeaddrinfo(list);
    if (err)
        cmx_session_say(s, "gateway connection: ", cmx_err_text(err));
    return err;
}

typedef cmx_err (*step_fn)(struct cmx_ssh *s);

/* Calls step until it is through or the deadline has passed. */
static cmx_err drive(struct session *s, step_fn step, uint64_t deadline)
{
    for (;;) {
        cmx_err err = step(s->ssh);

        if (err != CMX_EAGAIN)
            return err;
        err =
            wait_ready(s, cmx_ssh_fd(s->ssh), (short)(POLLIN | (cmx_ssh_wants_write(s->ssh) ? POLLOUT : 0)), deadline);
        if (err)
            return err;
    }
}

static cmx_err mismatch(struct session *s)
{
    cmx_session_say(s, "HOST KEY NOT PINNED: gateway shows ", s->shown);
    return CMX_EHOSTKEY;
}

static cmx_err check_host_key(struct session *s)
{
    uint8_t digest[32];
    const char *type;
    cmx_hostkey_type t;
    cmx_err err = cmx_ssh_host_key(s->ssh, digest, &type);

    if (err)
        return err;
    t = cmx_hostkey_type_of(type, strlen(type));
    s->last_type = t == CMX_HOSTKEY_TYPES ? CMX_HOSTKEY_ANY : 1u << t;
    memcpy(s->host_key, digest, sizeof s->host_key);
    if (cmx_pin_match(s->config->pins, s->config->n_pins, digest))
        return CMX_OK;
    cmx_pin_fingerprint(s->shown, digest);
    return mismatch(s);
}

/* The types whose keys this task's stack can verify. */
static unsigned fitting(const struct session *s)
{
    const size_t need = CMX_ED25519_STACK;

    return s->stack_bytes < need ? CMX_HOSTKEY_ANY & ~(1u << CMX_HOSTKEY_ED25519) : CMX_HOSTKEY_ANY;
}

/* The types that a pin may have, less those that the gateway has no pinned key of: it then shows its next one. */
static unsigned left(const struct session *s)
{
    const unsigned all = cmx_pin_types(s->config->pins, s->config->n_pins);

    return all & ~s->tried_types ? all & ~s->tried_types : all;
}

static unsigned asked_for(const struct session *s)
{
    return left(s) & fitting(s);
}

static cmx_err handshake(struct session *s, uint64_t deadline)
{
    cmx_err err;

    cmx_session_set_state(s, CMX_STATE_HANDSHAKE, CMX_OK, NULL);
    err = drive(s, cmx_ssh_handshake, deadline);
    if (!err)
        return check_host_key(s);
    s->no_key = err == CMX_EPROTO && cmx_ssh_no_host_key(s->ssh);
    if (s->no_key) {
        s->last_type = asked_for(s);
        if (s->shown[0]) /* a key without a pin, earlier in this round */
            return mismatch(s);
    }
    cmx_session_say(s, "key exchange: ", err == CMX_EPROTO ? cmx_ssh_error_text(s->ssh) : cmx_err_text(err));
    return err;
}

bool cmx_session_lacks_stack(const struct session *s)
{
    return !asked_for(s);
}

bool cmx_session_types_left(struct session *s, cmx_err err)
{
    const unsigned all = cmx_pin_types(s->config->pins, s->config->n_pins);

    if (err == CMX_EHOSTKEY || (err == CMX_EPROTO && s->no_key))
        s->tried_types |= s->last_type;
    else
        s->tried_types = 0;
    if (s->tried_types && all & ~s->tried_types)
        return true;
    s->tried_types = 0;
    return false;
}

cmx_err cmx_session_login(struct session *s)
{
    const struct cmx_gateway *g = &s->config->gateway;
    uint64_t deadline = cmx_port_now_ms() + g->login_timeout_s * 1000ull;
    const char *asks;
    int fd = -1;
    cmx_err err;

    s->last_type = 0;
    s->no_key = false;
    if (!s->tried_types)
        s->shown[0] = 0;
    err = connect_any(s, deadline, &fd);
    if (err)
        return err;
    cmx_net_tune_session(fd, g->keepalive_s * g->keepalive_max);
    err = cmx_ssh_new(&s->ssh, g, asked_for(s), fd);
    if (err) {
        cmx_session_say(s, "session: ", cmx_err_text(err));
        return err;
    }
    cmx_ssh_set_pair(s->ssh, cmx_session_pair, s);
    err = handshake(s, deadline);
    if (err)
        return err;
    cmx_session_set_state(s, CMX_STATE_AUTH, CMX_OK, NULL);
    err = drive(s, cmx_ssh_auth, deadline);
    cmx_socket_tell_close(s->proxy, &s->pair, s->name);
    asks = cmx_ssh_auth_trouble(s->ssh);
    if (asks)
        cmx_session_say(s, "login: the gateway asks ", asks);
    else if (err)
        cmx_session_say(s, "login: ", cmx_err_text(err));
    return err;
}
