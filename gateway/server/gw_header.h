/* gw_header.h - connections from a load balancer, before their PROXY header has arrived. Only the header is read: sshd
 * receives every byte after it. */
#pragma once

#include <sys/socket.h>

#include "gateway/server/gw_server.h"

/* True if peer is a load balancer, which must send a header. */
bool gw_header_is_due(const struct gw_server *s, const struct sockaddr *peer);

/* Takes ownership of x and waits for its header. Drops x if too many connections are waiting. */
void gw_header_await(struct gw_server *s, struct gw_session *x);

/* x is readable: reads more of its header. Admits x when the header is complete; drops it if the bytes are not a
 * header. */
void gw_header_readable(struct gw_server *s, struct gw_session *x);

/* Drops connections whose header did not arrive in time; all of them when the server stops. */
void gw_header_expire(struct gw_server *s, uint64_t now_ms);
