/* gw_header.h - reads the PROXY header of connections from a load balancer. Only the header is read: sshd receives
 * every byte after it. */
#pragma once

#include <sys/socket.h>

#include "gateway/server/gw_server.h"

/* True if peer is a load balancer, which must send a header. */
bool gw_header_is_due(const struct gw_server *s, const struct sockaddr *peer);

/* Takes ownership of x and waits for its header. If too many connections are waiting, closes and frees x. */
void gw_header_await(struct gw_server *s, struct gw_session *x);

/* Call this when x is readable: reads more of its header. When the header is complete, admits x. If the bytes are not a
 * header, or the connection ends, closes and frees x. */
void gw_header_readable(struct gw_server *s, struct gw_session *x);

/* Closes connections whose header did not arrive in time. When the server stops, closes all connections that wait for a
 * header. */
void gw_header_expire(struct gw_server *s, uint64_t now_ms);
