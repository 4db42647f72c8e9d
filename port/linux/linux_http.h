/* linux_http.h - where the connections of the HTTP services (http.h) come from, for a Linux program whose network is
 * not the kernel's: the virtual board on lwIP accepts in its own stack and feeds each connection in over a socketpair.
 */
#ifndef CMX_LINUX_HTTP_H
#define CMX_LINUX_HTTP_H

#include "cmxsafe/http/http.h"

struct cmx_linux_http_listener {
    /* Listens where *service says and calls cmx_linux_http_feed for each connection, from a thread of its own, until
     * stop has returned. *listening is handed to stop. Errors as cmx_http_serve. */
    cmx_err (*start)(const struct cmx_http_service *service, struct cmx_http_server *server, void **listening);
    void (*stop)(void *listening);
};

/* Servers started from now on listen by *l (borrowed for good); NULL: by the kernel's sockets, as at the start. Call
 * before any server starts. */
void cmx_linux_http_set_listener(const struct cmx_linux_http_listener *l);

/* Loads libmicrohttpd, which the first server does otherwise: for a program that then confines itself. CMX_ENOTSUP: it
 * is not there; why (may be NULL) says so. */
CMX_MUST_USE cmx_err cmx_linux_http_load(char *why, size_t cap);

/* The kernel's sockets. */
extern const struct cmx_linux_http_listener cmx_linux_http_kernel;

/* For a listener's start: the port that it got, where the service asked for any. */
void cmx_linux_http_set_port(struct cmx_http_server *server, uint16_t port);

/* Services listen at their port plus this: for a program without a loopback of its own, or without the right to ports
 * such as 80. Call before any server starts. */
void cmx_linux_http_set_port_offset(unsigned offset);

/* For a listener's thread, about once a second while it says so: ends connections that are slow with a request's head,
 * or with a body that nobody wants. False: no connection is open. */
bool cmx_linux_http_sweep(struct cmx_http_server *server);

/* fd: a connected stream socket of the kernel; the server's from now on. Waits while the service has its
 * max_connections. CMX_ECLOSED: the server stops. */
CMX_MUST_USE cmx_err cmx_linux_http_feed(struct cmx_http_server *server, int fd);

#endif
