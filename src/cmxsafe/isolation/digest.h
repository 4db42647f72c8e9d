/* digest.h - computes one SHA-256 over a policy's rules, for evidence. Equal rules give equal digests, and different
 * rules give different digests. Pure.
 *
 * The hash covers the following, with lists in the configuration's order and numbers big-endian. The sizes in bytes are
 * in parentheses.
 *
 *     "cmxsafe policy 1" and a NUL
 *     the first gateway's port (2)
 *     three lists of addresses, each a count (1) and 16 bytes per address (IPv4 as ::ffff:a.b.c.d):
 *         the first gateway's address (count 0 or 1), the resolvers, the time servers
 *     three names, each a length (2) and the text (length 0: no name):
 *         the first gateway's name, then the names of two time servers
 *     dhcp4 (1), dhcp6 (1), ipv6 (1)
 *     the four control ports (2 each)
 *     the number of contexts (1; from 255 contexts on: 255, then the number (2)), then for each: direct (1),
 *         restricted (1), port (2), local (16), and if it is restricted, its list of tasks: length (2) and text
 *     for each further gateway: port (2), address and name, as for the first gateway */
#pragma once

#include "cmxsafe/isolation/policy.h"
#include "cmxsafe/port/crypto.h"

/* Computes the digest. CMX_EINVAL: a text is longer than 65,535 bytes. Other errors as for cmx_sha256_init. */
CMX_MUST_USE cmx_err cmx_iso_config_digest(const struct cmx_iso_config *c, uint8_t out[CMX_SHA256_LEN]);
