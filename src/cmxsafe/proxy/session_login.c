#include "cmxsafe/proxy/session_login.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/proxy/net.h"
#include "cmxsafe/proxy/session_pair.h"

/* Looks up the gateway's name. *list is valid as long as s->lookup exists. The look-up does not count against
 * login_timeout_s. A look-up that takes too long continues while the session waits, and the next attempt uses its
 * result. */
static cmx_err look_up_gateway(struct session *s, const struct addrinfo **list)
{
    const struct cmx_gateway_host *g = cmx_session_gateway(s);
    const uint64_t deadline = cmx_port_now_ms() + CMX_LOOKUP_TIMEOUT_MS;
    cmx_err err = s->lookup ? CMX_OK : cmx_lookup_start(&s->lookup, g->host, g->port, &s->engine->hooks);

    if (err)
        return err;
    while ((err = cmx_lookup_result(s->lookup, list)) == CMX_EAGAIN) {
        if (cmx_session_stopping(s))
            return CMX_ECLOSED;
        if (cmx_port_now_ms() >= deadline) {
            cmx_session_say(s, "gateway name: ", "no name server answers");
            return CMX_EDNS;
        }
        cmx_session_alive(s);
        cmx_port_sleep_ms(cmx_lookup_poll_ms(s->lookup));
    }
    if (err)
        cmx_session_say(s, "gateway name: ", cmx_err_text(err));
    return err;
}

void cmx_session_login_drop_lookup(struct session *s)
{
    cmx_lookup_release(s->lookup);
    s->lookup = NULL;
}

static cmx_err connect_one(struct session *s, const struct addrinfo *ai, uint64_t deadline, int *out)
{
    struct sockaddr_storage local;
    int fd;
    cmx_err err = cmx_net_socket(ai->ai_addr, &fd, &local);

    if (err)
        return err;
    err = cmx_tracked_socket_open(&s->socket, &s->engine->hooks, CMX_SOCKET_SESSION, &local, ai->ai_addr);
    if (!err)
        err = cmx_net_connect(fd, ai->ai_addr, ai->ai_addrlen);
    if (err == CMX_EAGAIN) {
        err = cmx_session_wait_ready(s, fd, POLLOUT, deadline);
        if (!err)
            err = cmx_net_connected(fd);
    }
    if (err) {
        close(fd);
        cmx_tracked_socket_close(&s->socket);
        return err;
    }
    *out = fd;
    return CMX_OK;
}

static unsigned count_addresses(const struct addrinfo *list)
{
    unsigned n = 0;

    for (; list; list = list->ai_next)
        n++;
    return n;
}

/* Tries the addresses of the list, from index s->address on, until one accepts the connection or the deadline passes.
 * Each address gets an equal share of the time that is left, so that an address that does not answer cannot use up all
 * of it. */
static cmx_err connect_any(struct session *s, const struct addrinfo *list, uint64_t deadline, int *fd)
{
    unsigned left = count_addresses(list), at = 0;
    cmx_err err = CMX_EDNS;

    if (s->address >= left)
        s->address = 0;
    for (const struct addrinfo *ai = list; ai && err; ai = ai->ai_next, at++, left--) {
        uint64_t now = cmx_port_now_ms();

        if (at < s->address)
            continue;
        if (now >= deadline || cmx_session_stopping(s))
            break;
        s->address = (uint8_t)at;
        err = connect_one(s, ai, now + (uint32_t)(deadline - now) / left, fd);
        s->more_addresses = !err && left > 1;
    }
    if (err)
        cmx_session_say(s, "gateway connection: ", cmx_err_text(err));
    return err;
}

/* Looks up the gateway's name and connects a socket. *deadline receives the time by which the login must have
 * succeeded. */
static cmx_err connect_gateway(struct session *s, uint64_t *deadline, int *fd)
{
    const struct addrinfo *list;
    cmx_err err;

    cmx_session_set_state(s, CMX_STATE_RESOLVING, CMX_OK, NULL);
    err = look_up_gateway(s, &list);
    *deadline = cmx_port_now_ms() + s->config->gateway.login_timeout_s * 1000ull;
    if (!err) {
        cmx_session_set_state(s, CMX_STATE_CONNECTING, CMX_OK, NULL);
        err = connect_any(s, list, *deadline, fd);
    }
    if (s->lookup && cmx_lookup_result(s->lookup, &list) != CMX_EAGAIN)
        cmx_session_login_drop_lookup(s);
    return err;
}

typedef cmx_err (*step_fn)(struct cmx_ssh *s);

/* Calls step until it returns something other than CMX_EAGAIN or the deadline has passed. */
static cmx_err drive(struct session *s, step_fn step, uint64_t deadline)
{
    for (;;) {
        cmx_err err = step(s->ssh);

        if (err != CMX_EAGAIN)
            return err;
        err = cmx_session_wait_ready(s, cmx_ssh_fd(s->ssh),
                                     (short)(POLLIN | (cmx_ssh_wants_write(s->ssh) ? POLLOUT : 0)), deadline);
        if (err)
            return err;
    }
}

static cmx_err mismatch(struct session *s)
{
    snprintf(s->text, sizeof s->text, "%s: gateway shows %s", s->revoked ? "HOST KEY REVOKED" : "HOST KEY NOT PINNED",
             s->shown);
    return CMX_EHOSTKEY;
}

static cmx_err check_host_key(struct session *s)
{
    uint8_t digest[CMX_SHA256_LEN];
    const char *type;
    cmx_hostkey_type t;
    cmx_pin_verdict verdict;
    cmx_err err = cmx_ssh_host_key(s->ssh, digest, &type);

    if (err)
        return err;
    t = cmx_pin_type_of(type, strlen(type));
    memcpy(s->host_key, digest, sizeof s->host_key);
    verdict = cmx_pin_check(s->config->pins, s->config->n_pins, digest);
    if (verdict == CMX_PIN_ACCEPTED)
        return CMX_OK;
    s->wrong_types = t == CMX_HOSTKEY_TYPES ? CMX_HOSTKEY_ANY : 1u << t;
    s->revoked = verdict == CMX_PIN_REVOKED;
    cmx_base64_fingerprint(s->shown, digest);
    return mismatch(s);
}

/* Returns the host key types that this task's stack is large enough to verify. */
static unsigned fitting_types(const struct session *s)
{
    const size_t need = CMX_ED25519_STACK;

    return s->stack_bytes < need ? CMX_HOSTKEY_ANY & ~(1u << CMX_HOSTKEY_ED25519) : CMX_HOSTKEY_ANY;
}

/* Returns the types of the pinned host keys without those that this round of attempts has tried, so that the gateway
 * has to show a key of another type. Returns all pinned types if none is left. */
static unsigned remaining_types(const struct session *s)
{
    const unsigned all = cmx_pin_types(s->config->pins, s->config->n_pins);

    return all & ~s->tried_types ? all & ~s->tried_types : all;
}

static unsigned requested_types(const struct session *s)
{
    return remaining_types(s) & fitting_types(s);
}

static cmx_err handshake(struct session *s, uint64_t deadline)
{
    cmx_err err;

    cmx_session_set_state(s, CMX_STATE_HANDSHAKE, CMX_OK, NULL);
    err = drive(s, cmx_ssh_handshake, deadline);
    if (!err)
        return check_host_key(s);
    if (err == CMX_EPROTO && cmx_ssh_no_host_key(s->ssh)) {
        s->wrong_types = requested_types(s);
        if (s->shown[0]) /* in an earlier attempt of this round the gateway showed a key without a pin */
            return mismatch(s);
    }
    cmx_session_say(s, "key exchange: ", err == CMX_EPROTO ? cmx_ssh_error_text(s->ssh) : cmx_err_text(err));
    return err;
}

bool cmx_session_login_lacks_stack(const struct session *s)
{
    return !requested_types(s);
}

bool cmx_session_login_types_left(struct session *s)
{
    const unsigned all = cmx_pin_types(s->config->pins, s->config->n_pins);
    const bool wrong = s->wrong_types != 0;

    s->tried_types |= s->wrong_types;
    s->wrong_types = 0;
    if (wrong && all & ~s->tried_types)
        return true;
    s->tried_types = 0;
    return false;
}

cmx_err cmx_session_login(struct session *s)
{
    const struct cmx_gateway *g = &s->config->gateway;
    uint64_t deadline;
    const char *trouble;
    int fd = -1;
    cmx_err err;

    s->more_addresses = false;
    if (!s->tried_types)
        s->shown[0] = 0;
    err = connect_gateway(s, &deadline, &fd);
    if (err)
        return err;
    cmx_net_tune_session(fd, g->keepalive_s * g->keepalive_max);
    err = cmx_ssh_new(&s->ssh, g, requested_types(s), fd);
    if (err) {
        cmx_session_say(s, "session: ", cmx_err_text(err));
        return err;
    }
    cmx_session_set_fd(s, fd);
    cmx_ssh_set_pair(s->ssh, cmx_session_pair, s);
    err = handshake(s, deadline);
    if (err)
        return err;
    cmx_session_set_state(s, CMX_STATE_AUTH, CMX_OK, NULL);
    err = drive(s, cmx_ssh_authenticate, deadline);
    cmx_tracked_socket_close(&s->pair);
    trouble = cmx_ssh_auth_trouble(s->ssh);
    if (trouble)
        cmx_session_say(s, "login: the gateway asks ", trouble);
    else if (err)
        cmx_session_say(s, "login: ", cmx_err_text(err));
    return err;
}
