/* ip.h - an IP address of either family as one value. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

CMX_C_BEGIN

#define CMX_IPV6_LEN 16 /* bytes of an IPv6 address */

/* An address of either family; IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). Bytes in network order. */
struct cmx_ip {
    uint32_t w[4];
};

void cmx_ip_v4(struct cmx_ip *out, const uint8_t addr[4]);
void cmx_ip_v6(struct cmx_ip *out, const uint8_t addr[CMX_IPV6_LEN]);
bool cmx_ip_equal(const struct cmx_ip *a, const struct cmx_ip *b);
bool cmx_ip_is_v4(const struct cmx_ip *a);
bool cmx_ip_is_any(const struct cmx_ip *a); /* true for :: and 0.0.0.0 */
bool cmx_ip_is_loopback(const struct cmx_ip *a);
bool cmx_ip_is_link_local6(const struct cmx_ip *a);
bool cmx_ip_is_multicast(const struct cmx_ip *a); /* true also for the reserved IPv4 addresses from 240.0.0.0 on */

/* True for the address of one host: neither unspecified nor multicast. */
bool cmx_ip_is_host(const struct cmx_ip *a);

/* Reads an address without zone: "10.0.0.1" or "fd00::1". Stricter than inet_pton of some stacks: no octal, hex or
 * short IPv4 forms, and nothing after the address. Returns false and leaves *out unchanged if text is anything else.
 * IPv4 in IPv6 notation ("::ffff:10.0.0.1") is refused too, because it would give one address two families. */
CMX_MUST_USE bool cmx_ip_parse(struct cmx_ip *out, const char *text);

/* Reads the len chars at text, an address or a prefix ("fd00::/48"). *bits receives the prefix's length; for an address
 * 32 or 128. False: text is neither; *out and *bits are then undefined. */
CMX_MUST_USE bool cmx_ip_parse_prefix(struct cmx_ip *out, uint32_t *bits, const char *text, size_t len);

/* True if text is an IPv6 address. "::ffff:10.0.0.1" counts as an IPv6 address here. */
bool cmx_ip_is_text6(const char *text);

/* Writes the address as text (IPv6 as RFC 5952 section 4), which is the same on every platform. cmx_ip_parse reads it.
 */
#define CMX_IP_TEXT_MAX 46
void cmx_ip_text(const struct cmx_ip *a, char out[CMX_IP_TEXT_MAX]);

/* True if a and prefix have the same family and their first `bits` bits are equal. bits: at most 32 for IPv4, else 128.
 */
bool cmx_ip_in_prefix(const struct cmx_ip *a, const struct cmx_ip *prefix, unsigned bits);

/* Returns a pointer to the 4 or 16 bytes of the address inside *a. */
static inline const uint8_t *cmx_ip_bytes(const struct cmx_ip *a, size_t *len)
{
    *len = cmx_ip_is_v4(a) ? 4 : 16;
    return (const uint8_t *)a->w + 16 - *len;
}

CMX_C_END
