/* gw_source.h - the source of a connection: the peer's address or, through a load balancer, the client's address in the
 * balancer's header. */
#pragma once

#include <sys/socket.h>

#include "gateway/server/gw_server.h"

/* Sets the source that the login limits count for x, and the source's text for log lines. */
void gw_source_name(struct gw_session *x, const struct sockaddr_storage *peer);
