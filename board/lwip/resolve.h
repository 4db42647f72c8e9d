/* resolve.h - a stub resolver (RFC 1035) over the board's own UDP: Debian's lwIP is built without one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/ip.h"

/* Looks up the addresses of a name and writes at most cap of them to out, IPv6 addresses first. Returns the number
 * written; 0: the name has no address, or no answer arrived. Blocks for some seconds if the server does not answer. */
size_t board_resolve(const char *server, const char *name, struct cmx_ip *out, size_t cap);

/* Writes the IPv6 addresses (v6 true) or the IPv4 addresses of a DNS answer of len bytes to out. Pure. */
size_t board_resolve_parse(const uint8_t *message, int len, bool v6, struct cmx_ip *out, size_t cap);
