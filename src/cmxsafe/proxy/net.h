/* net.h - creates and uses the proxy's non-blocking TCP sockets, and translates errno values into cmx_err. It uses only
 * POSIX functions, which lwIP offers too. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/ip.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* the stack has no signals */
#endif

struct addrinfo;

/* Looks up a host name. flags: those of getaddrinfo. Blocks until the name servers answer or time out; with
 * AI_NUMERICHOST it only accepts a numeric address and does not block. Free *out with freeaddrinfo. CMX_EDNS: the
 * look-up failed. */
CMX_MUST_USE cmx_err cmx_net_resolve(const char *host, uint16_t port, int flags, struct addrinfo **out);

/* Creates a non-blocking TCP socket of peer's address family and binds it, so that its port is known before the first
 * packet. local receives the socket's address. CMX_ENOMEM: no descriptor or memory is left; CMX_EUNREACH: the stack
 * does not support the family. */
CMX_MUST_USE cmx_err cmx_net_socket(const struct sockaddr *peer, int *fd, struct sockaddr_storage *local);

/* Starts to connect. CMX_OK: fd is connected; CMX_EAGAIN: wait until fd is writable, then call cmx_net_connected;
 * otherwise the cause. */
CMX_MUST_USE cmx_err cmx_net_connect(int fd, const struct sockaddr *peer, socklen_t len);
CMX_MUST_USE cmx_err cmx_net_connected(int fd);

/* Sends a few bytes over a connection on which nothing was sent yet. CMX_ECLOSED: the connection is broken, or the
 * socket did not accept all the bytes. */
CMX_MUST_USE cmx_err cmx_net_send_all(int fd, const void *data, size_t len);

/* Creates a listener. CMX_EBUSY: the port is in use; CMX_EPERM: the system does not permit this port; CMX_EINVAL: host
 * is not a numeric address. */
CMX_MUST_USE cmx_err cmx_net_listen(const char *host, uint16_t port, int backlog, int *fd,
                                    struct sockaddr_storage *local);

/* Accepts one connection, makes its socket non-blocking and sets TCP_NODELAY. CMX_EAGAIN: no connection is waiting. */
CMX_MUST_USE cmx_err cmx_net_accept(int listener, int *fd, struct sockaddr_storage *peer);

/* Reads an address and its port. False: a is NULL, or neither IPv4 nor IPv6. */
bool cmx_net_ip(const struct sockaddr *a, struct cmx_ip *ip, uint32_t *port);

/* Writes the address as text, without its port; "" if it is neither IPv4 nor IPv6. */
void cmx_net_text(const struct sockaddr_storage *a, char out[CMX_IP_TEXT_MAX]);

/* Prepares the socket of an SSH connection: turns Nagle's algorithm off, lets TCP detect a dead peer after dead_after_s
 * seconds, and limits the unsent data in the kernel. Options that the stack does not have are skipped. */
void cmx_net_tune_session(int fd, unsigned dead_after_s);

/* Closes fd with a TCP reset, so that the peer detects that bytes are missing. */
void cmx_net_abort(int fd);
