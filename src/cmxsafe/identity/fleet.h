/* fleet.h - computes identities: addresses in the fleet's IPv6 prefix. Each address belongs to a public key or a name:
 * the first 16 bytes of prefix | SHA-256(label | data). For a device, the label is CMX_DOMAIN_DEVICE_ADDRESS and the
 * data is the device's public key blob (RFC 4253 section 6.6). Both the gateway and the device compute the address with
 * this code. No I/O; hashes with crypto.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/ip.h"
#include "cmxsafe/core/label.h"

#define CMX_FLEET_ADDRESS_MAX CMX_IP_TEXT_MAX

/* Reads a prefix such as "fd12:3456:789a::/48". CMX_EINVAL: not a prefix, host bits set, not unicast, or a length that
 * is not a multiple of 8 from 16 to 64. */
CMX_MUST_USE cmx_err cmx_fleet_parse(const char *text, uint8_t prefix[CMX_IPV6_LEN], unsigned *bits);

/* False for a prefix that is multicast, link-local or within ::/8 (unspecified, loopback, IPv4-mapped). */
bool cmx_fleet_is_unicast(const uint8_t prefix[CMX_IPV6_LEN]);

/* Writes the address for this label and data as RFC 5952 text. CMX_EIO: hashing failed. */
CMX_MUST_USE cmx_err cmx_fleet_address(const uint8_t prefix[CMX_IPV6_LEN], unsigned bits, const char *label,
                                       const void *data, size_t len, char out[CMX_FLEET_ADDRESS_MAX]);

/* Computes the address of the device with this public key blob. The function has the type of cmx_gateway.fleet_address.
 * CMX_EINVAL: as for cmx_fleet_parse; CMX_EIO: hashing failed. */
CMX_MUST_USE cmx_err cmx_fleet_device_address(const char *prefix, const void *blob, size_t len,
                                              char out[CMX_FLEET_ADDRESS_MAX]);
