/* http_listen.c - implements the listener of the HTTP services with the kernel's sockets: for each service, one thread
 * accepts connections and passes them to the server. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/net.h"
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

static cmx_err listen_on(const struct cmx_http_service *s, int *fd, uint16_t *port)
{
    const unsigned number = s->port ? s->port + port_offset : 0;
    struct sockaddr_storage local;
    cmx_err err;

    if (number > UINT16_MAX)
        return CMX_EINVAL;
    err = cmx_net_listen(s->address ? s->address : "127.0.0.1", (uint16_t)number, SOMAXCONN, fd, &local);
    if (!err)
        *port = ntohs(((struct sockaddr_in *)&local)->sin_port); /* the port is at the same place in both families */
    return err == CMX_EUNREACH ? CMX_EINVAL : err;               /* the machine does not have the address */
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
    cmx_err err = CMX_ENOMEM;

    if (a && service->address && service->address[0] == '/')
        err = cmx_unix_listen(service->address, SOMAXCONN, &a->fd);
    else if (a)
        err = listen_on(service, &a->fd, &port);
    if (err != CMX_OK) {
        cmx_mem_free(a);
        return err;
    }
    /* Makes the listener blocking: after a shutdown, accept on a non-blocking socket fails with EAGAIN instead of
     * EINVAL. Fails only for a descriptor that is not open. */
    (void)fcntl(a->fd, F_SETFL, 0);
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
