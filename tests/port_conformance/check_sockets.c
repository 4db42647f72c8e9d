/* The functions of the socket layer that the proxy needs: loopback, poll, non-blocking connect, half-close, a refused
 * port. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "checks.h"
#include "cmxsafe/port/poll.h"
#include "cmxsafe/port/port.h"

static struct sockaddr_in loopback(in_port_t port)
{
    struct sockaddr_in a;

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = port;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int listen_any(struct sockaddr_in *at)
{
    socklen_t len = sizeof *at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    *at = loopback(0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)at, sizeof *at) == 0 && listen(fd, 2) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)at, &len) == 0 && at->sin_port != 0);
    return fd;
}

/* Starts a non-blocking connect and returns its socket. Sets *error to 0, or to the errno of connect, such as
 * EINPROGRESS. */
static int connect_nonblocking(const struct sockaddr_in *to, int *error)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(fd >= 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) | O_NONBLOCK) == 0);
    *error = connect(fd, (const struct sockaddr *)to, sizeof *to) == 0 ? 0 : errno;
    return fd;
}

/* Waits at most 5 s for events on fd and returns them. The check is > 0, not == 1: ESP-IDF's poll counts events, not
 * descriptors. */
static int wait_events(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, 5000) > 0 ? p.revents : 0;
}

static int pending_error(int fd)
{
    int err = -1;
    socklen_t len = sizeof err;

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 ? err : -1;
}

static void half_close(int client, int server)
{
    char c = 0;

    CHECK(send(client, "a", 1, 0) == 1 && shutdown(client, SHUT_WR) == 0);
    CHECK((wait_events(server, POLLIN) & POLLIN) && recv(server, &c, 1, 0) == 1 && c == 'a');
    CHECK((wait_events(server, POLLIN) & (POLLIN | POLLHUP)) && recv(server, &c, 1, 0) == 0);
    /* The other direction is still open. */
    CHECK(send(server, "b", 1, 0) == 1);
    CHECK((wait_events(client, POLLIN) & POLLIN) && recv(client, &c, 1, 0) == 1 && c == 'b');
}

static void backpressure(int from, int to)
{
    static char block[1024];
    long sent = 0, got = 0;
    ssize_t n;

    CHECK(fcntl(from, F_SETFL, fcntl(from, F_GETFL, 0) | O_NONBLOCK) == 0);
    while (sent < 32 * 1024 * 1024 && (n = send(from, block, sizeof block, 0)) > 0)
        sent += n;
    CHECK(sent > 0 && sent < 32 * 1024 * 1024 && (errno == EAGAIN || errno == EWOULDBLOCK));
    while (got < sent && (wait_events(to, POLLIN) & POLLIN) && (n = recv(to, block, sizeof block, 0)) > 0)
        got += n;
    CHECK(got == sent);
    CHECK(wait_events(from, POLLOUT) & POLLOUT);
}

/* On a platform without local sockets, cmx_port_socket_pair returns an error. */
static void socket_pair(void)
{
    char there = 0, back = 0;
    int fd[2];
    cmx_err err = cmx_port_socket_pair(fd);

    CHECK(err == CMX_OK || err == CMX_ENOTSUP);
    if (err != CMX_OK)
        return;
    CHECK(send(fd[0], "x", 1, 0) == 1 && recv(fd[1], &there, 1, 0) == 1 && there == 'x');
    CHECK(send(fd[1], "y", 1, 0) == 1 && recv(fd[0], &back, 1, 0) == 1 && back == 'y');
    close(fd[0]);
    CHECK(recv(fd[1], &there, 1, 0) == 0);
    close(fd[1]);
}

void conformance_sockets(void)
{
    struct sockaddr_in at;
    int listener = listen_any(&at);
    int error;
    int client = connect_nonblocking(&at, &error);
    int server;

    CHECK(error == 0 || error == EINPROGRESS);
    CHECK(wait_events(listener, POLLIN) & POLLIN);
    server = accept(listener, NULL, NULL);
    CHECK(server >= 0 && (wait_events(client, POLLOUT) & POLLOUT) && pending_error(client) == 0);
    backpressure(server, client);
    half_close(client, server);
    close(client);
    close(server);
    close(listener);

    client = connect_nonblocking(&at, &error); /* the listener is closed */
    if (error == EINPROGRESS) {
        CHECK(wait_events(client, POLLIN | POLLOUT) != 0);
        error = pending_error(client);
    }
    CHECK(error == ECONNREFUSED || error == ECONNRESET);
    close(client);
    socket_pair();
}
