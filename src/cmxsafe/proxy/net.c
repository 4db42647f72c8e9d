#include "cmxsafe/proxy/net.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Maximum number of unsent bytes in the kernel. Interactive data never waits behind more bulk data than this. */
#define UNSENT_MAX (256 * 1024)

/* Stands for an option that the stack does not have: setsockopt refuses this number, and set_int ignores the error. */
#define NO_OPTION (-1)
#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE NO_OPTION
#endif
#ifndef TCP_USER_TIMEOUT
#define TCP_USER_TIMEOUT NO_OPTION
#endif
#ifndef TCP_NOTSENT_LOWAT
#define TCP_NOTSENT_LOWAT NO_OPTION
#endif
#ifndef SOCK_CLOEXEC
#define SOCK_CLOEXEC 0 /* a platform without this flag has no exec */
#endif

static const struct {
    uint8_t error;
    uint8_t err; /* cmx_err */
} causes[] = {
    {0, CMX_OK},
    {EINPROGRESS, CMX_EAGAIN},
    {EAGAIN, CMX_EAGAIN},
    {EINTR, CMX_EAGAIN},
    {ECONNREFUSED, CMX_EREFUSED},
    {ETIMEDOUT, CMX_ETIMEOUT},
    {ENETUNREACH, CMX_EUNREACH},
    {EHOSTUNREACH, CMX_EUNREACH},
    {ENETDOWN, CMX_EUNREACH},
    {EADDRNOTAVAIL, CMX_EUNREACH},
    {EAFNOSUPPORT, CMX_EUNREACH},
    {EADDRINUSE, CMX_EBUSY},
    {EACCES, CMX_EPERM},
    {EPERM, CMX_EPERM},
    {EMFILE, CMX_ENOMEM},
    {ENFILE, CMX_ENOMEM},
    {ENOMEM, CMX_ENOMEM},
    {ENOBUFS, CMX_ENOMEM},
};

/* Translates an errno value: CMX_OK for 0, CMX_EAGAIN for EINPROGRESS, EAGAIN and EINTR, CMX_ECLOSED for a value
 * without an equivalent. */
static cmx_err error_cause(int error)
{
    for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++)
        if (causes[i].error == error)
            return (cmx_err)causes[i].err;
    return CMX_ECLOSED;
}

cmx_err cmx_net_resolve(const char *host, uint16_t port, int flags, struct addrinfo **out)
{
    const struct addrinfo hints = {.ai_flags = flags, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    char service[8];

    snprintf(service, sizeof service, "%u", (unsigned)port);
    return getaddrinfo(host, service, &hints, out) == 0 ? CMX_OK : CMX_EDNS;
}

static cmx_err make_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL, 0);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 ? CMX_OK : CMX_EIO;
}

/* Closes a socket that could not be set up; returns the cause. */
static cmx_err close_failed(int fd)
{
    cmx_err err = error_cause(errno);

    close(fd);
    return err ? err : CMX_EIO;
}

static void set_int(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value); /* best effort: some stacks lack the option */
}

/* Creates a non-blocking TCP socket that is bound to the address a. backlog: length of the listener's queue; 0: the
 * socket is not a listener. local receives the socket's address. */
static cmx_err open_bound(const struct sockaddr *a, socklen_t len, int backlog, int *out,
                          struct sockaddr_storage *local)
{
    socklen_t cap = sizeof *local;
    int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

    if (fd < 0)
        return error_cause(errno);
    if (backlog)
        set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    else
        set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (make_nonblocking(fd) || bind(fd, a, len) != 0 || (backlog && listen(fd, backlog) != 0) ||
        getsockname(fd, (struct sockaddr *)local, &cap) != 0)
        return close_failed(fd);
    *out = fd;
    return CMX_OK;
}

cmx_err cmx_net_socket(const struct sockaddr *peer, int *out, struct sockaddr_storage *local)
{
    struct sockaddr_storage any;

    memset(&any, 0, sizeof any);
    any.ss_family = peer->sa_family;
    memset(local, 0, sizeof *local);
    return open_bound((const struct sockaddr *)&any,
                      peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in), 0, out,
                      local);
}

cmx_err cmx_net_connect(int fd, const struct sockaddr *peer, socklen_t len)
{
    return connect(fd, peer, len) == 0 ? CMX_OK : error_cause(errno);
}

cmx_err cmx_net_connected(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return error_cause(errno);
    return error_cause(error);
}

cmx_err cmx_net_send_all(int fd, const void *data, size_t len)
{
    return send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len ? CMX_OK : CMX_ECLOSED;
}

cmx_err cmx_net_listen(const char *host, uint16_t port, int backlog, int *out, struct sockaddr_storage *local)
{
    struct addrinfo *ai = NULL;
    cmx_err err;

    if (cmx_net_resolve(host, port, AI_NUMERICHOST | AI_PASSIVE, &ai))
        return CMX_EINVAL;
    err = open_bound(ai->ai_addr, ai->ai_addrlen, backlog, out, local);
    freeaddrinfo(ai);
    return err;
}

cmx_err cmx_net_accept(int listener, int *out, struct sockaddr_storage *peer)
{
    socklen_t len = sizeof *peer;
    int fd = accept(listener, (struct sockaddr *)peer, &len);

    if (fd < 0)
        return error_cause(errno);
    if (make_nonblocking(fd))
        return close_failed(fd);
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    *out = fd;
    return CMX_OK;
}

bool cmx_net_ip(const struct sockaddr *a, struct cmx_ip *ip, uint32_t *port)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a;

    if (a && a->sa_family == AF_INET)
        cmx_ip_v4(ip, (const uint8_t *)&v4->sin_addr);
    else if (a && a->sa_family == AF_INET6)
        cmx_ip_v6(ip, (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
    else
        return false;
    *port = ntohs(v4->sin_port); /* sin6_port has the same offset */
    return true;
}

void cmx_net_text(const struct sockaddr_storage *a, char out[CMX_IP_TEXT_MAX])
{
    struct cmx_ip ip;
    uint32_t port;

    out[0] = 0;
    if (cmx_net_ip((const struct sockaddr *)a, &ip, &port))
        cmx_ip_text(&ip, out);
}

void cmx_net_tune_session(int fd, unsigned dead_after_s)
{
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)dead_after_s);
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)dead_after_s * 1000);
    set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_MAX);
}

void cmx_net_abort(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}
