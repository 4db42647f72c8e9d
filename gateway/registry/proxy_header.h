/* proxy_header.h - reads the PROXY protocol header (version 2) that a load balancer sends before a device's bytes.
 * Pure. Source: haproxy.org, doc/proxy-protocol.txt, section 2.2. Version 1 is not supported, because the length of its
 * text is not known in advance. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cmxsafe/core/err.h"

#define GW_PROXY_HEADER_MAX 536 /* maximum length with extensions (TLVs), from the protocol's section 2.2 */

/* Computes how many bytes to read next after the len bytes of the header that were read; *more 0: the header is
 * complete. The caller must not read more, because the bytes after the header belong to sshd. CMX_EFORMAT: not a PROXY
 * header of version 2, or longer than GW_PROXY_HEADER_MAX. */
CMX_MUST_USE cmx_err gw_proxy_header_more(const uint8_t *data, size_t len, size_t *more);

/* Reads a whole header. *client: the address from which the client connects; family AF_UNSPEC: the load balancer itself
 * connects, for a health check. CMX_EFORMAT: the connection is not TCP over IPv4 or IPv6, or the length is wrong. */
CMX_MUST_USE cmx_err gw_proxy_header_read(const uint8_t *data, size_t len, struct sockaddr_storage *client);
