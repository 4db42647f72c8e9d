/* digest.h - one SHA-256 over a policy's rules, for evidence: equal rules give equal digests, and any other rule gives
 * another digest. Pure.
 *
 *     SHA-256( "cmxsafe policy 1" NUL || the first gateway's port 2 ||
 *              for its address (0 or 1), resolvers, time servers: count 1, then 16 bytes each (IPv4 as ::ffff:a.b.c.d)
 * || for its name, then two time servers' names: length 2, name (length 0 if there is none) || dhcp4 1 || dhcp6 1 ||
 * ipv6 1 || control ports 2 each || contexts: count 1, then direct 1, restricted 1, port 2, local 16 each; for a
 * restricted one also the length 2 and the text of its list of tasks || for each further gateway: port 2, count and
 * address, length and name, as above )
 *
 * numbers big-endian, in the order of the configuration. */
#pragma once

#include "cmxsafe/isolation/policy.h"
#include "cmxsafe/port/crypto.h"

CMX_MUST_USE cmx_err cmx_iso_config_digest(const struct cmx_iso_config *c, uint8_t out[CMX_SHA256_LEN]);
