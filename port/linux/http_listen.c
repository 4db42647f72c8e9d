/* http_listen.c - implements the listener of the HTTP services with the kernel's sockets: for each service, one thread
 * accepts connections and passes them to the server. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "port/linux/linux_http.h"
#include "port/linux/unix_listen.h"

#define SWEEP_MS 1000 /* time between checks of deadlines while a connection is open */

struct acceptor {
    struct cmx_http_server *server;
    pthread_t thread;
    int fd;
};

static unsigned port_offset;

void cmx_linux_http_set_port_offset(unsigned offset)
{
    port_offset = offset;
}

static cmx_err address_of(const struct cmx_http_service *s, struct sockaddr_storage *out, socklen_t *len)
{
    const unsigned number = s->port ? s->port + port_offset : 0;
    const uint16_t port = htons((uint16_t)number);
    const char *text = s->address ? s->address : "127.0.0.1";
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    if (number > UINT16_MAX)
        return CMX_EINVAL;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        *len = sizeof *v4;
        return CMX_OK;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
        return CMX_EINVAL;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = port;
    *len = sizeof *v6;
    return CMX_OK;
}

static cmx_err listen_error(void)
{
    switch (errno) {
    case EADDRINUSE:
        return CMX_EBUSY;
    case EACCES:
    case EPERM:
        return CMX_EPERM;
    case EADDRNOTAVAIL:
        return CMX_EINVAL;
    default:
        return CMX_EIO;
    }
}

static cmx_err listen_on(const struct cmx_http_service *s, int *fd, uint16_t *port)
{
    struct sockaddr_storage addr;
    const int on = 1;
    socklen_t len;
    cmx_err err = address_of(s, &addr, &len);

    if (err != CMX_OK)
        return err;
    *fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return listen_error();
    if (setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) || bind(*fd, (struct sockaddr *)&addr, len) ||
        listen(*fd, SOMAXCONN) || getsockname(*fd, (struct sockaddr *)&addr, &len)) {
        err = listen_error();
        close(*fd);
        return err;
    }
    *port = ntohs(((struct sockaddr_in *)&addr)->sin_port); /* the port is at the same place in both families */
    return CMX_OK;
}

/* Listens at a UNIX socket, and makes it blocking, as the TCP listeners are: after a shutdown, accept on a non-blocking
 * socket fails with EAGAIN instead of EINVAL. */
static cmx_err listen_at(const char *path, int *fd)
{
    cmx_err err = cmx_unix_listen(path, SOMAXCONN, fd);

    if (!err)
        (void)fcntl(*fd, F_SETFL, 0); /* fails only for a descriptor that is not open */
    return err;
}

static void *accept_loop(void *arg)
{
    struct acceptor *a = arg;

    for (;;) {
        struct pollfd p = {.fd = a->fd, .events = POLLIN};
        int fd;

        if (poll(&p, 1, cmx_linux_http_sweep(a->server) ? SWEEP_MS : -1) == 0)
            continue;
        fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0 && cmx_linux_http_feed(a->server, fd, fd) == CMX_OK)
            continue;
        if (fd >= 0 || errno == EINVAL || errno == EBADF) /* the server is stopping, or the socket was shut down */
            return NULL;
        if (errno != ECONNABORTED && errno != EINTR)
            cmx_port_sleep_ms(100); /* no descriptor or memory left: the connection waits in the backlog */
    }
}

static cmx_err kernel_start(const struct cmx_http_service *service, struct cmx_http_server *server, void **listening)
{
    struct acceptor *a = cmx_mem_alloc(sizeof *a);
    uint16_t port = 0;
    bool is_path = service->address && service->address[0] == '/';
    cmx_err err = !a ? CMX_ENOMEM : is_path ? listen_at(service->address, &a->fd) : listen_on(service, &a->fd, &port);

    if (err != CMX_OK) {
        cmx_mem_free(a);
        return err;
    }
    a->server = server;
    cmx_linux_http_set_port(server, port);
    if (pthread_create(&a->thread, NULL, accept_loop, a)) {
        close(a->fd);
        cmx_mem_free(a);
        return CMX_ENOMEM;
    }
    *listening = a;
    return CMX_OK;
}

static void kernel_stop(void *listening)
{
    struct acceptor *a = listening;

    shutdown(a->fd, SHUT_RDWR); /* wakes accept */
    pthread_join(a->thread, NULL);
    close(a->fd);
    cmx_mem_free(a);
}

const struct cmx_linux_http_listener cmx_linux_http_kernel = {kernel_start, kernel_stop};
