/* gw_peer.h - requests between running gateways over their links: one line with the request, one with the answer. This
 * file has the request "takeover ADDRESS". The answer is "held" if a live session of that identity holds ports there,
 * and "free" otherwise. gw_report.h has the requests of operators. The packet filter accepts requests only from the
 * node at the other end of the link.
 *
 * As with a single gateway, the question is sent before the login is verified, and it can't end a live session. */
#pragma once

#include "gateway/server/gw_server.h"

/* Listens on this node's link address, once the gateway is one of several. */
void gw_peer_open(struct gw_server *s);
void gw_peer_accept(struct gw_server *s);
/* Returns the session that another node asks about. NULL: there is none, so the answer can be sent at once. */
const struct gw_session *gw_peer_subject(const struct gw_server *s, const struct gw_client *c);
/* Sends the answer to a node's question. */
void gw_peer_answer(const struct gw_server *s, const struct gw_client *c);
/* Asks the node that holds x's identity whether its session of this identity still answers. False: no other node holds
 * the identity. */
bool gw_peer_ask(const struct gw_server *s, struct gw_client *c, struct gw_session *x);
/* Continues the exchange. False: the exchange has ended. */
bool gw_peer_tick(const struct gw_server *s, struct gw_client *c);
