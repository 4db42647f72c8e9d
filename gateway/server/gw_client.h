/* gw_client.h - the clients of the running gateway: connections to the control socket (gw_control.c) and from other
 * gateways (gw_peer.h). */
#pragma once

#include "gateway/server/gw_server.h"

/* Creates a client, which owns the connection fd. NULL: out of memory or descriptors; fd is then closed. */
struct gw_client *gw_client_add(struct gw_server *s, int fd);
/* Closes the client's connection, its probes and its request to another gateway, and frees the client. */
void gw_client_close(struct gw_server *s, struct gw_client *c);
/* Call this when accept has failed; errno says why. If no descriptor or memory is free, the connection stays in the
 * queue and would wake the loop again at once. So no connection is accepted for ACCEPT_PAUSE_MS. */
void gw_client_accept_failed(struct gw_server *s);
