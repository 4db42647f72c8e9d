/* originator.h - the client of a connection at the gateway: reads what the gateway reports about it (RFC 4254 section
 * 7.2), decides whether a context accepts it, and encodes it for the local service as a header of the PROXY protocol
 * (haproxy.org, doc/proxy-protocol.txt). Pure.
 *
 * A CMX-GW reports the client's identity; any other SSH server reports the address from which the connection came. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/err.h"
#include "cmxsafe/core/ip.h"
#include "cmxsafe/proxy/context.h"

/* The longest header of version 1 and a NUL; a header of version 2 has at most 52 bytes. */
#define CMX_ORIGINATOR_HEADER_MAX 108

/* The client of a connection. A zeroed struct: unknown. */
struct cmx_originator {
    bool known;
    uint16_t port;
    struct cmx_ip ip;
};

/* Reads the gateway's report, which is untrusted. The originator is unknown if text is no unicast address in its plain
 * form: a host name, an address with a zone, IPv4 in IPv6 notation, or anything after the address. */
void cmx_originator_read(struct cmx_originator *o, const char *text, uint32_t port);

/* True for an IPv6 address that can be an identity: not the loopback address and not link-local. */
bool cmx_originator_is_identity(const struct cmx_originator *o);

/* Checks allow_from: 1 to CMX_PROXY_ALLOW_MAX addresses and prefixes ("fd00:1::/48"), separated by commas or blanks.
 * CMX_EINVAL, CMX_ENOSPC. */
CMX_MUST_USE cmx_err cmx_originator_check_list(const char *list);

/* True if list is NULL, or has the originator's address or a prefix of it. An unknown originator is in no list. */
bool cmx_originator_allowed(const struct cmx_originator *o, const char *list);

/* Appends the header of the PROXY protocol to out, which has room for CMX_ORIGINATOR_HEADER_MAX bytes. to: where the
 * originator connected; if its family differs, the loopback address of the originator's family is written instead,
 * since a header has one family. An unknown originator is encoded as such. version: CMX_PEER_PROXY_V1 or _V2. */
CMX_MUST_USE cmx_err cmx_originator_header(struct cmx_buf *out, cmx_proxy_peer version,
                                           const struct cmx_originator *from, const struct cmx_originator *to);
