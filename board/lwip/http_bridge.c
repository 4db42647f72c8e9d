#include "board/lwip/http_bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/net.h"
#include "port/linux/linux_http.h"

#define TICK_MS 500    /* how soon a blocked thread notices the end of the connection */
#define LINGER_MS 2000 /* how long the client may still send after the server's last byte */
#define CHUNK 4096

struct bridge {
    int net;               /* lwIP's socket of the connection */
    int server;            /* our end of the kernel's socket pair */
    atomic_bool answered;  /* the server sends no more data */
    atomic_bool ended;     /* one direction has failed, so both end */
    atomic_int directions; /* threads that are still running; the last one frees the object */
};

static void release(struct bridge *b)
{
    if (atomic_fetch_sub(&b->directions, 1) != 1)
        return;
    close(b->net);
    close(b->server);
    cmx_mem_free(b);
}

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue; /* nothing was sent: try again */
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* Carries bytes from client to server. lwIP's recv can't be interrupted from another thread, so it has a timeout
 * (set_timeout), after which this thread checks whether the connection has ended. */
static void upward(void *arg)
{
    struct bridge *b = arg;
    uint64_t end_ms = 0;
    char chunk[CHUNK];

    while (!atomic_load(&b->ended)) {
        ssize_t n = recv(b->net, chunk, sizeof chunk, 0);

        if (n < 0 && errno == EAGAIN) {
            if (atomic_load(&b->answered) && !end_ms)
                end_ms = cmx_port_now_ms() + LINGER_MS;
            if (end_ms && cmx_port_now_ms() >= end_ms)
                break;
            continue;
        }
        if (n == 0 && shutdown(b->server, SHUT_WR) == 0)
            break;
        if (n <= 0 || !send_all(b->server, chunk, (size_t)n)) {
            atomic_store(&b->ended, true);
            shutdown(b->server, SHUT_RDWR);
        }
    }
    release(b);
}

static void downward(void *arg)
{
    struct bridge *b = arg;
    char chunk[CHUNK];
    ssize_t n;

    while ((n = recv(b->server, chunk, sizeof chunk, 0)) > 0)
        if (!send_all(b->net, chunk, (size_t)n)) {
            atomic_store(&b->ended, true);
            shutdown(b->server, SHUT_RDWR);
            break;
        }
    if (!atomic_load(&b->ended))
        shutdown(b->net, SHUT_WR);
    atomic_store(&b->answered, true);
    release(b);
}

static void set_timeout(int fd)
{
    const struct timeval tick = {.tv_usec = TICK_MS * 1000};
    const int on = 1;

    /* If the timeout cannot be set, the end of the connection is noticed later. */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Takes ownership of fd. */
static void carry(struct cmx_http_server *server, int fd)
{
    struct bridge *b = cmx_mem_alloc(sizeof *b);
    int pair[2];

    if (!b || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        cmx_mem_free(b);
        close(fd);
        return;
    }
    set_timeout(fd);
    b->net = fd;
    b->server = pair[0];
    atomic_init(&b->directions, 2);
    if (cmx_linux_http_feed(server, pair[1], fd) != CMX_OK || cmx_port_task_start("http-up", 0, upward, b) != CMX_OK) {
        atomic_store(&b->directions, 1);
        release(b);
        return;
    }
    if (cmx_port_task_start("http-down", 0, downward, b) != CMX_OK) {
        atomic_store(&b->ended, true);
        release(b);
    }
}

/* ---- the listener ---- */

struct listener {
    struct cmx_http_server *server;
    int fd;
    pthread_t thread;
    atomic_bool stop;
};

static void *accept_loop(void *arg)
{
    struct listener *l = arg;

    while (!atomic_load(&l->stop)) {
        int fd = accept(l->fd, NULL, NULL);

        if (fd >= 0)
            carry(l->server, fd);
        else if (errno != EAGAIN && errno != EWOULDBLOCK)
            cmx_port_sleep_ms(100);
        (void)cmx_linux_http_sweep(
            l->server); /* runs at least once per tick, since accept waits for at most one tick */
    }
    return NULL;
}

static cmx_err listen_on(const struct cmx_http_service *service, int *out)
{
    const char *address = service->address ? service->address : "127.0.0.1";
    struct sockaddr_storage local;
    cmx_err err = cmx_net_listen(address, service->port, 16, out, &local);

    if (err)
        return err == CMX_EUNREACH ? CMX_EINVAL : err; /* the board does not have the address */
    (void)fcntl(*out, F_SETFL, 0);                     /* blocking, so that accept waits for set_timeout's time */
    set_timeout(*out);
    return CMX_OK;
}

static cmx_err start(const struct cmx_http_service *service, struct cmx_http_server *server, void **listening)
{
    struct listener *l = cmx_mem_alloc(sizeof *l);
    cmx_err err = l ? listen_on(service, &l->fd) : CMX_ENOMEM;

    if (err != CMX_OK) {
        cmx_mem_free(l);
        return err;
    }
    l->server = server;
    if (pthread_create(&l->thread, NULL, accept_loop, l)) {
        close(l->fd);
        cmx_mem_free(l);
        return CMX_ENOMEM;
    }
    *listening = l;
    return CMX_OK;
}

static void stop(void *listening)
{
    struct listener *l = listening;

    atomic_store(&l->stop, true);
    pthread_join(l->thread, NULL);
    close(l->fd);
    cmx_mem_free(l);
}

static const struct cmx_linux_http_listener lwip_listener = {start, stop};

void board_http_use_lwip(void)
{
    cmx_linux_http_set_listener(&lwip_listener);
}
