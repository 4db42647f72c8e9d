/* proxy_header.h - reads the PROXY protocol's header, version 2, that a load balancer sends before a device's bytes.
 * Pure. Source: haproxy.org, doc/proxy-protocol.txt, section 2.2. Version 1 is not read: its text has no fixed
 * length. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cmxsafe/core/err.h"

#define GW_PROXY_HEADER_MAX 536 /* with its extensions (TLVs), as the protocol's section 2.2 bounds them */

/* Computes how many bytes of the header are still missing after the len bytes that were read. The caller reads exactly
 * this many, so that it consumes no byte after the header. 0: the header is complete. CMX_EFORMAT: not such a header,
 * or longer than GW_PROXY_HEADER_MAX. */
CMX_MUST_USE cmx_err gw_proxy_header_more(const uint8_t *data, size_t len, size_t *more);

/* Reads a whole header. *client: where the connection comes from; family AF_UNSPEC: from the load balancer itself (a
 * health check). CMX_EFORMAT: not TCP over IPv4 or IPv6, or a wrong length. */
CMX_MUST_USE cmx_err gw_proxy_header_read(const uint8_t *data, size_t len, struct sockaddr_storage *client);
