/* linux_http.h - where the HTTP services (http.h) of a Linux program get their connections from: the kernel's sockets,
 * or another listener. The virtual board on lwIP accepts connections in its own stack and passes each on through a
 * socketpair. */
#pragma once

#include "cmxsafe/core/why.h"
#include "cmxsafe/http/http.h"

struct cmx_linux_http_listener {
    /* Listens at the address and port of *service. A thread of the listener calls cmx_linux_http_feed for each
     * connection, but never after `stop` has returned. *listening is passed to `stop`. Errors as for cmx_http_serve. */
    cmx_err (*start)(const struct cmx_http_service *service, struct cmx_http_server *server, void **listening);
    void (*stop)(void *listening);
};

/* Sets the listener of servers that start from now on; *l is borrowed for the life of the program. NULL: the kernel's
 * sockets, the default. Call this before any server starts. */
void cmx_linux_http_set_listener(const struct cmx_linux_http_listener *l);

/* Loads libmicrohttpd. Without this call the first server loads it, which is too late if the program has confined
 * itself. CMX_ENOTSUP: it is not installed; why (may be NULL) names the package. */
CMX_MUST_USE cmx_err cmx_linux_http_load(struct cmx_why *why);

/* The listener that uses the kernel's sockets. */
extern const struct cmx_linux_http_listener cmx_linux_http_kernel;

/* A listener's start function calls this with the port that the listener got. Required if the service's port is 0. */
void cmx_linux_http_set_port(struct cmx_http_server *server, uint16_t port);

/* Services listen on their port plus offset: for a program that shares the loopback with others, or has no permission
 * to bind ports such as 80. Call this before any server starts. */
void cmx_linux_http_set_port_offset(unsigned offset);

/* Closes connections whose deadline has passed. A listener's thread calls it about once a second for as long as it
 * returns true. False: no connection is open. */
bool cmx_linux_http_sweep(struct cmx_http_server *server);

/* Passes fd, a connected stream socket of the kernel, to the server, which then owns fd, even after an error. accepted:
 * the socket that the listener accepted, which identifies the client (cmx_peer); it is fd itself, unless a bridge
 * copies the bytes between accepted and fd. Blocks while max_connections of the service are open; to make room, closes
 * the connection that has awaited a request's head for longest. CMX_ECLOSED: the server is stopping. */
CMX_MUST_USE cmx_err cmx_linux_http_feed(struct cmx_http_server *server, int fd, int accepted);
