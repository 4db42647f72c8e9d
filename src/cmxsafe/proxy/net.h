/* net.h - non-blocking TCP sockets for the proxy, and what their errors mean. POSIX names only. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/ip.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* a stack without signals */
#endif

struct addrinfo;

/* Parses a numeric address. CMX_EINVAL: host is not one. Does not block. Free with freeaddrinfo. */
CMX_MUST_USE cmx_err cmx_net_parse(const char *host, uint16_t port, struct addrinfo **out);

/* Looks up a host name. CMX_EDNS. Blocks until the name servers answer or time out. Free with freeaddrinfo. */
CMX_MUST_USE cmx_err cmx_net_resolve(const char *host, uint16_t port, struct addrinfo **out);

/* Makes a non-blocking TCP socket of peer's family and binds it, so that its port is known before the first packet;
 * local receives its address. CMX_ENOMEM: no descriptor; CMX_EUNREACH: the family is not available. */
CMX_MUST_USE cmx_err cmx_net_socket(const struct sockaddr *peer, int *fd, struct sockaddr_storage *local);

/* Starts to connect. CMX_OK: fd is connected; CMX_EAGAIN: wait until fd is writable, then call cmx_net_connected;
 * otherwise the cause. */
CMX_MUST_USE cmx_err cmx_net_connect(int fd, const struct sockaddr *peer, socklen_t len);
CMX_MUST_USE cmx_err cmx_net_connected(int fd);

/* Sends a few bytes over a connection that has sent nothing yet. CMX_ECLOSED, also if they are not all taken. */
CMX_MUST_USE cmx_err cmx_net_send_all(int fd, const void *data, size_t len);

/* Makes a listener. CMX_EBUSY: the port is taken; CMX_EPERM; CMX_EINVAL: host is not a numeric address. */
CMX_MUST_USE cmx_err cmx_net_listen(const char *host, uint16_t port, int backlog, int *fd,
                                    struct sockaddr_storage *local);

/* Accepts one connection and makes it non-blocking, with TCP_NODELAY. CMX_EAGAIN: none is waiting. */
CMX_MUST_USE cmx_err cmx_net_accept(int listener, int *fd, struct sockaddr_storage *peer);

/* Reads an address and its port. False: a is NULL, or neither IPv4 nor IPv6. */
bool cmx_net_ip(const struct sockaddr *a, struct cmx_ip *ip, uint16_t *port);

/* Writes the address as text, without its port; "" if it is neither IPv4 nor IPv6. */
void cmx_net_text(const struct sockaddr_storage *a, char out[CMX_IP_TEXT_MAX]);

/* For the SSH connection: turns Nagle's algorithm off, lets TCP detect dead peers too, and limits unsent data in the
 * kernel. Best effort. */
void cmx_net_tune_session(int fd, unsigned dead_after_s);

/* Closes with a reset, which tells the peer that bytes are missing. */
void cmx_net_abort(int fd);

/* Returns the meaning of an errno value: CMX_OK for 0, CMX_EAGAIN for "in progress" and "would block". */
cmx_err cmx_net_cause(int error);
