/* gw_header.h - connections from a load balancer, before their PROXY header has arrived. The header is all that is
 * read: sshd gets every byte behind it. */
#ifndef GW_HEADER_H
#define GW_HEADER_H

#include <sys/socket.h>

#include "gateway/server/gw_server.h"

/* Whether peer is a load balancer, which must send a header. */
bool gw_header_is_due(const struct gw_server *s, const struct sockaddr *peer);

/* Waits for x's header; takes x over. With too many such connections x is dropped. */
void gw_header_await(struct gw_server *s, struct gw_session *x);

/* More of x's header may be there: admits x when it is whole, drops it when it is none. */
void gw_header_readable(struct gw_server *s, struct gw_session *x);

/* Drops connections whose header did not arrive in time; all of them when the server stops. */
void gw_header_expire(struct gw_server *s, uint64_t now_ms);

#endif
