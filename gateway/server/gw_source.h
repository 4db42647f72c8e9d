/* gw_source.h - the source of a connection: its peer, or the client that a load balancer reports. */
#pragma once

#include <sys/socket.h>

#include "gateway/server/gw_server.h"

/* Sets x's source for the login limits, and its text. */
void gw_source_name(struct gw_session *x, const struct sockaddr_storage *peer);
