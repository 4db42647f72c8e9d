/* address.h - the fleet's IPv6 prefix and the devices' virtual addresses in it. Pure but for hashing and random bytes.
 *
 * Derived form (ours): prefix | SHA-256("cmxsafe device address 1" | public key blob) cut to fit: the key gives the
 * address, and nobody picks one. Published CMX-GW form: PREFIX(2 bytes) | MAC_GW(6) | 0000 | MAC_DEV(6). */
#ifndef GW_ADDRESS_H
#define GW_ADDRESS_H

#include <stdint.h>

#include "gateway/registry/registry.h"
#include "gateway/registry/sshkey.h"

#define GW_ADDRESS_MAX 46 /* INET6_ADDRSTRLEN */

struct gw_fleet {
    uint8_t prefix[16];
    unsigned bits; /* a multiple of 8, 16 to 64 */
};

/* "fd12:3456:789a::/48". CMX_EINVAL: not a prefix, host bits set, length; multicast and link-local are refused. */
CMX_MUST_USE cmx_err gw_fleet_parse(struct gw_fleet *f, const char *text, struct gw_error *e);
/* A unique local /48 with a random global ID (RFC 4193 section 3.2). */
CMX_MUST_USE cmx_err gw_fleet_random(struct gw_fleet *f, struct gw_error *e);
/* The published form's prefix: two bytes and the gateway's MAC, a /64. */
CMX_MUST_USE cmx_err gw_fleet_from_mac(struct gw_fleet *f, const char *prefix_hex, const char *mac, struct gw_error *e);
void gw_fleet_format(const struct gw_fleet *f, char out[GW_ADDRESS_MAX + 4]);

/* All three give the canonical text (RFC 5952), inside f, never the prefix's own zero address. */
CMX_MUST_USE cmx_err gw_address_derive(const struct gw_fleet *f, const struct gw_key *k, char out[GW_ADDRESS_MAX],
                                       struct gw_error *e);
CMX_MUST_USE cmx_err gw_address_from_mac(const struct gw_fleet *f, const char *mac, char out[GW_ADDRESS_MAX],
                                         struct gw_error *e);
CMX_MUST_USE cmx_err gw_address_given(const struct gw_fleet *f, const char *text, char out[GW_ADDRESS_MAX],
                                      struct gw_error *e);

/* The 32 hex digits that published CMX-GWs use as user name. */
CMX_MUST_USE cmx_err gw_address_hex(const char *address, char out[33]);

#endif
