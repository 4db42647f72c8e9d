/* net.h - non-blocking TCP sockets for the proxy, with their causes of failure told apart. POSIX names only. */
#ifndef CMX_PROXY_NET_H
#define CMX_PROXY_NET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cmxsafe/core/err.h"

struct addrinfo;

/* Looks up host (name or address) and port. CMX_EDNS. Blocks. Free with freeaddrinfo. */
CMX_MUST_USE cmx_err cmx_net_resolve(const char *host, uint16_t port, struct addrinfo **out);

/* A non-blocking TCP socket, bound to an address of the family that the system picks, so that its port is known before
 * the first packet; local receives it. CMX_ENOMEM (no descriptor), CMX_EUNREACH (family not there). */
CMX_MUST_USE cmx_err cmx_net_socket(const struct sockaddr *peer, int *fd, struct sockaddr_storage *local);

/* CMX_OK: connected; CMX_EAGAIN: wait until writable, then cmx_net_connected; or the cause. */
CMX_MUST_USE cmx_err cmx_net_connect(int fd, const struct sockaddr *peer, socklen_t len);
CMX_MUST_USE cmx_err cmx_net_connected(int fd);

/* A listener. CMX_EBUSY: the port is taken; CMX_EPERM; CMX_EINVAL: host is no address of ours. */
CMX_MUST_USE cmx_err cmx_net_listen(const char *host, uint16_t port, int backlog, int *fd,
                                    struct sockaddr_storage *local);

/* Accepts one connection, non-blocking and with TCP_NODELAY. CMX_EAGAIN: none. */
CMX_MUST_USE cmx_err cmx_net_accept(int listener, int *fd, struct sockaddr_storage *peer);

/* The address as text, without its port; "" if it does not fit or is of another family. */
void cmx_net_text(const struct sockaddr_storage *a, char *out, size_t cap);

/* For the SSH connection: no Nagle, dead peers noticed by TCP as well, little unsent data piling up in the kernel. Best
 * effort. */
void cmx_net_tune_session(int fd, unsigned dead_after_s);

/* Closes with a reset, so that the peer knows that bytes are missing. */
void cmx_net_abort(int fd);

/* What errno means. */
cmx_err cmx_net_cause(int error);

#endif
