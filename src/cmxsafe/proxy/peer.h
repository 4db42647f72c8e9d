/* peer.h - finds, for a service of the same program, the client at the far end of a connection that the proxy opened to
 * the service. On the service's socket the peer is only the proxy's loopback address. The port of that address
 * identifies the relay, which stores the client that the gateway reported. Any thread. */
#pragma once

#include "cmxsafe/core/err.h"

struct sockaddr;
struct sockaddr_storage;

CMX_C_BEGIN

/* Finds the client of fd, a connection that a service of this firmware or program has accepted. *out receives the
 * client's identity, an IPv6 address, if the gateway is a CMX-GW; with any other SSH server it receives the address
 * from which the client connected to the gateway. Call it while the connection is open. CMX_ENOENT: the proxy did not
 * open this connection; CMX_EFORMAT: the gateway reported no valid address. *out is unchanged after an error. */
CMX_MUST_USE cmx_err cmx_peer(int fd, struct sockaddr_storage *out);

CMX_C_END

/* ---- for the engine ---- */

#ifndef __cplusplus

#include "cmxsafe/proxy/originator.h"

/* Writes, as text, the address that cmx_peer finds; "" if cmx_peer returns an error. */
void cmx_peer_text(int fd, char out[CMX_IP_TEXT_MAX]);

/* One connection to a service; a member of the relay. Initialise it with zeros. */
struct cmx_peer_entry {
    struct cmx_peer_entry *next;
    bool listed;
    uint32_t port, service_port;
    struct cmx_ip ip, service;
    struct cmx_originator from;
};

/* Adds a connection from local to service, two addresses of the same family. Call this before the socket connects. */
void cmx_peer_add(struct cmx_peer_entry *e, const struct sockaddr *local, const struct sockaddr *service,
                  const struct cmx_originator *from);
void cmx_peer_remove(struct cmx_peer_entry *e);

#endif
