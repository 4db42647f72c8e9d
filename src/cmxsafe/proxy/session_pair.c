#include "cmxsafe/proxy/session_pair.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include "cmxsafe/proxy/net.h"

#define PAIR_MS 2000 /* time limit of a TCP handshake within the device */

/* Both addresses are IPv4. */
static bool same_end(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *x = (const struct sockaddr_in *)(const void *)a;
    const struct sockaddr_in *y = (const struct sockaddr_in *)(const void *)b;

    return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
}

/* Connects fd, which is bound to *from, to the listener at *to. *other receives the end that was accepted. A
 * connection that does not come from *from is refused. */
static cmx_err join(struct session *s, int fd, const struct sockaddr_storage *from, int listener,
                    const struct sockaddr_storage *to, int *other)
{
    const uint64_t deadline = cmx_port_now_ms() + PAIR_MS;
    struct sockaddr_storage peer = {0};
    cmx_err err = cmx_net_connect(fd, (const struct sockaddr *)to, sizeof(struct sockaddr_in));

    if (err && err != CMX_EAGAIN)
        return err;
    err = cmx_session_wait_ready(s, listener, POLLIN, deadline);
    if (!err)
        err = cmx_net_accept(listener, other, &peer);
    if (err)
        return err;
    err = same_end(&peer, from) ? cmx_session_wait_ready(s, fd, POLLOUT, deadline) : CMX_EPERM;
    if (!err)
        err = cmx_net_connected(fd);
    if (err)
        close(*other);
    return err;
}

static cmx_err over_loopback(struct session *s, int fd[2])
{
    struct sockaddr_storage from, to;
    int listener;
    cmx_err err = cmx_net_listen("127.0.0.1", 0, 1, &listener, &to);

    if (err)
        return err;
    err = cmx_net_socket((const struct sockaddr *)&to, &fd[0], &from);
    if (!err) {
        ((struct sockaddr_in *)(void *)&from)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        err =
            cmx_tracked_socket_open(&s->pair, &s->engine->hooks, CMX_SOCKET_PAIR, &from, (const struct sockaddr *)&to);
        if (!err)
            err = join(s, fd[0], &from, listener, &to, &fd[1]);
        if (err) {
            cmx_net_abort(fd[0]);
            cmx_tracked_socket_close(&s->pair);
        }
    }
    close(listener);
    return err;
}

cmx_err cmx_session_pair(void *arg, int fd[2])
{
    cmx_err err = cmx_port_socket_pair(fd);

    return err == CMX_ENOTSUP ? over_loopback(arg, fd) : err;
}
