/* resolve.h - a stub resolver (RFC 1035) over the board's own UDP: Debian's lwIP is built without one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Looks up the addresses of a name, IPv6 first; at most cap, each 16 bytes, IPv4 as ::ffff:a.b.c.d. Returns how many;
 * 0: none or no answer. Blocks a few seconds at most. */
size_t board_resolve(const char *server, const char *name, uint8_t (*out)[16], size_t cap);

/* Reads the addresses in an answer of len bytes. Pure. */
size_t board_resolve_parse(const uint8_t *message, int len, bool v6, uint8_t (*out)[16], size_t cap);
