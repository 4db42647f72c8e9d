/* gw_denied.h - parses nft's listing of the packet filter's set `denied`, which contains refused connections: "SOURCE .
 * TARGET . PORT counter packets N bytes N expires ...". Pure. */
#pragma once

#include <stdbool.h>

#include "gateway/registry/address.h"

struct gw_denied {
    char source[GW_ADDRESS_MAX];
    char target[GW_ADDRESS_MAX];
    unsigned port;
    unsigned long long packets;
};

#define GW_DENIED_ELEMENT_MAX (2 * GW_ADDRESS_MAX + 16)

/* Returns where the elements begin in nft's listing of any set; NULL: the set is empty. */
const char *gw_denied_begin(const char *listing);
/* Reads the element at *at, and advances *at to the next one. False: there are no more elements. */
bool gw_denied_next(const char **at, struct gw_denied *out);
/* Writes the element's key in nft's syntax. */
void gw_denied_key(const struct gw_denied *d, char out[GW_DENIED_ELEMENT_MAX]);
