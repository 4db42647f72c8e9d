/* peer.h - finds, for a service of the same program, the client of a connection that the proxy made to it. The
 * service's socket only shows the loopback address. Its port identifies the relay, which stores the client that the
 * gateway reported. Any thread. */
#pragma once

#include "cmxsafe/core/err.h"

struct sockaddr;
struct sockaddr_storage;

#ifdef __cplusplus
extern "C" {
#endif

/* Finds the client of fd, a connection that a service of this firmware or program has accepted: at a CMX-GW its
 * identity, an IPv6 address; at another SSH server the address from which it reached the gateway. CMX_ENOENT: fd is no
 * connection of the proxy's, such as one of another local program. CMX_EFORMAT: the gateway reported no address. *out
 * is then unchanged. Call it while the connection is open. */
CMX_MUST_USE cmx_err cmx_peer(int fd, struct sockaddr_storage *out);

#ifdef __cplusplus
}
#endif

/* ---- for the engine ---- */

#ifndef __cplusplus

#include "cmxsafe/proxy/originator.h"

/* Writes what cmx_peer finds as text; "" after an error. */
void cmx_peer_text(int fd, char out[CMX_IP_TEXT_MAX]);

/* One connection to a service; part of a relay. Zero at first. */
struct cmx_peer_entry {
    struct cmx_peer_entry *next;
    bool listed;
    uint16_t port, service_port;
    struct cmx_ip ip, service;
    struct cmx_originator from;
};

/* Lists a connection from local to service, both of one family. Call it before the socket connects. */
void cmx_peer_add(struct cmx_peer_entry *e, const struct sockaddr *local, const struct sockaddr *service,
                  const struct cmx_originator *from);
void cmx_peer_remove(struct cmx_peer_entry *e);

#endif
