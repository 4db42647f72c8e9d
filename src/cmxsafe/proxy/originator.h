/* originator.h - the originator of a connection, that is, the client that connected to the gateway's listener. Reads
 * the gateway's report about the client (RFC 4254 section 7.2), decides whether a context accepts the client, and
 * encodes the client's address for the local service as a header of the PROXY protocol (haproxy.org,
 * doc/proxy-protocol.txt). Pure.
 *
 * A CMX-GW reports the client's identity; any other SSH server reports the address from which the connection came. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/err.h"
#include "cmxsafe/core/ip.h"
#include "cmxsafe/proxy/context.h"

/* Size of the longest header of version 1, NUL included. A header of version 2 has at most 52 bytes. */
#define CMX_ORIGINATOR_HEADER_MAX 108

/* The client of a connection. A zeroed struct is an unknown client. */
struct cmx_originator {
    bool known;
    uint32_t port;
    struct cmx_ip ip;
};

/* Reads the gateway's report, which is untrusted. The originator is unknown unless text is a plain unicast address and
 * port is at most 65535. A host name, an address with a zone, IPv4 in IPv6 notation, or an address followed by anything
 * else is not plain. */
void cmx_originator_read(struct cmx_originator *o, const char *text, uint32_t port);

/* True if the originator is known and its address can be an identity: an IPv6 address that is neither the loopback
 * address nor link-local. */
bool cmx_originator_is_identity(const struct cmx_originator *o);

/* Checks allow_from: 1 to CMX_PROXY_ALLOW_MAX addresses and prefixes ("fd00:1::/48"), separated by commas or blanks.
 * CMX_EINVAL: an entry is neither an address nor a prefix, or there is no entry; CMX_ENOSPC: more than
 * CMX_PROXY_ALLOW_MAX entries. */
CMX_MUST_USE cmx_err cmx_originator_check_list(const char *list);

/* True if list is NULL, or contains the originator's address or a prefix that covers it. No list contains an unknown
 * originator. */
bool cmx_originator_allowed(const struct cmx_originator *o, const char *list);

/* Appends a header of the PROXY protocol to out, which must have room for CMX_ORIGINATOR_HEADER_MAX bytes. version:
 * CMX_PEER_PROXY_V1 or CMX_PEER_PROXY_V2. to: the address and port that the originator connected to. A header has one
 * address family, so if `to` is unknown or its family is not the originator's, the loopback address of the
 * originator's family replaces it. An unknown originator is encoded as "unknown". */
CMX_MUST_USE cmx_err cmx_originator_header(struct cmx_buf *out, cmx_proxy_peer version,
                                           const struct cmx_originator *from, const struct cmx_originator *to);
