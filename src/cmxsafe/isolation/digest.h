/* digest.h - a policy's rules as one SHA-256, for evidence: two devices with the same rules say the same, and a rule
 * more or less changes it. Pure.
 *
 *     SHA-256( "cmxsafe policy 1" NUL || gateway port 2 ||
 *              for gateways, resolvers, time servers: count 1, then 16 bytes each (IPv4 as ::ffff:a.b.c.d) ||
 *              for the three names: length 2, name (0 where there is none) ||
 *              dhcp4 1 || dhcp6 1 || ipv6 1 || control ports 2 each ||
 *              contexts: count 1, then direct 1, restricted 1, port 2, local 16 each; of a restricted one also the
 *              length of the list of its tasks 2, the list )
 *
 * numbers big-endian, in the order of the configuration. */
#ifndef CMX_ISOLATION_DIGEST_H
#define CMX_ISOLATION_DIGEST_H

#include "cmxsafe/isolation/policy.h"
#include "cmxsafe/port/crypto.h"

#ifdef __cplusplus
extern "C" {
#endif

CMX_MUST_USE cmx_err cmx_iso_config_digest(const struct cmx_iso_config *c, uint8_t out[CMX_SHA256_LEN]);

#ifdef __cplusplus
}
#endif
#endif
