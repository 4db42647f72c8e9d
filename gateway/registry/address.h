/* address.h - the fleet's IPv6 prefix, and the devices' virtual addresses in this prefix. Pure, except for hashing and
 * random bytes.
 *
 * An address in derived form is the first 16 bytes of prefix | SHA-256("cmxsafe device address 1" | public key blob):
 * the key determines the address. An address in published form (that of the CMX-GW publication) is PREFIX(2
 * bytes) | MAC_GW(6) | 0000 | MAC_DEV(6). */
#pragma once

#include <stdint.h>

#include "cmxsafe/identity/fleet.h"
#include "gateway/registry/registry.h"
#include "gateway/registry/sshkey.h"

#define GW_ADDRESS_MAX CMX_FLEET_ADDRESS_MAX

struct gw_fleet {
    uint8_t prefix[CMX_IPV6_LEN];
    unsigned bits; /* a multiple of 8, 16 to 64 */
};

/* Parses "fd12:3456:789a::/48". CMX_EINVAL: not a prefix, an unsupported length, a bit set beyond the length, multicast
 * or link-local. */
CMX_MUST_USE cmx_err gw_fleet_parse(struct gw_fleet *f, const char *text, struct cmx_why *e);
/* Generates a unique local /48 with a random global ID (RFC 4193 section 3.2). */
CMX_MUST_USE cmx_err gw_fleet_random(struct gw_fleet *f, struct cmx_why *e);
/* Builds the prefix for addresses in published form, a /64: two bytes followed by the gateway's MAC address. */
CMX_MUST_USE cmx_err gw_fleet_from_mac(struct gw_fleet *f, const char *prefix_hex, const char *mac, struct cmx_why *e);
void gw_fleet_format(const struct gw_fleet *f, char out[GW_ADDRESS_MAX + 4]);

/* These functions write the canonical text (RFC 5952) of an address inside f. They refuse the prefix itself. */
CMX_MUST_USE cmx_err gw_address_derive(const struct gw_fleet *f, const struct gw_key *k, char out[GW_ADDRESS_MAX],
                                       struct cmx_why *e);
CMX_MUST_USE cmx_err gw_address_from_mac(const struct gw_fleet *f, const char *mac, char out[GW_ADDRESS_MAX],
                                         struct cmx_why *e);
CMX_MUST_USE cmx_err gw_address_given(const struct gw_fleet *f, const char *text, char out[GW_ADDRESS_MAX],
                                      struct cmx_why *e);
