/* gw_peer.h - requests between running gateways over their links. A request and its answer are one line each. This file
 * implements the request "takeover ADDRESS". The answer is "held" if the gateway has a live session that holds ports of
 * that identity, and "free" otherwise. gw_report.h implements the requests of operators. The packet filter accepts
 * requests only from the node at the other end of the link.
 *
 * The request is sent before the new login of the device is verified. On the request, the other gateway probes its
 * session. This is safe, because a probe never ends a live session (gw_takeover.c). */
#pragma once

#include "gateway/server/gw_server.h"

/* Creates a non-blocking socket and starts to connect it. source: the address to connect from; "": any. Returns -1 on
 * failure. */
int gw_peer_connect(const char *source, const char *target, uint16_t port);
/* Listens on this node's link address if the fleet has several gateways and the socket is not open yet. */
void gw_peer_open(struct gw_server *s);
void gw_peer_accept(struct gw_server *s);
/* Returns the session that another node's request is about. NULL: there is none, so the answer can be sent at once. */
const struct gw_session *gw_peer_subject(const struct gw_server *s, const struct gw_client *c);
/* Answers c if it is another node that sent a "takeover" request. */
void gw_peer_answer(const struct gw_server *s, const struct gw_client *c);
/* Asks the node that holds x's identity whether the node's session with this identity still answers. Sends no request
 * if no other node holds the identity, if x has already caused a request about this key, or if the connection fails. */
void gw_peer_ask(const struct gw_server *s, struct gw_client *c, struct gw_session *x);
/* Continues the exchange that gw_peer_ask began. False: it has ended. */
bool gw_peer_tick(const struct gw_server *s, struct gw_client *c);
