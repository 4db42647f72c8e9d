/* proxy_header.h - reads the PROXY protocol's header, version 2, that a load balancer puts before a device's login.
 * Pure. Source: haproxy.org, doc/proxy-protocol.txt, section 2.2. Version 1 is not read: its text has no fixed length.
 */
#ifndef GW_PROXY_HEADER_H
#define GW_PROXY_HEADER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cmxsafe/core/err.h"

#define GW_PROXY_HEADER_MAX 536 /* a head, and extensions (TLVs) as the protocol's section 2.2 bounds them */

/* How many bytes the header needs beyond the len that were read, so that nothing behind it is taken. 0: it is whole.
 * CMX_EFORMAT: it is no such header, or longer than GW_PROXY_HEADER_MAX. */
CMX_MUST_USE cmx_err gw_proxy_header_more(const uint8_t *data, size_t len, size_t *more);

/* Reads a whole header. *client: where the connection comes from; family AF_UNSPEC: from the load balancer itself (a
 * health check). CMX_EFORMAT: anything else than TCP over IPv4 or IPv6, whose lengths are right. */
CMX_MUST_USE cmx_err gw_proxy_header_read(const uint8_t *data, size_t len, struct sockaddr_storage *client);

#endif
