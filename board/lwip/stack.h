/* stack.h - the board's own network: lwIP, the stack that an ESP32 has, over a TAP device. Starts lwIP and configures
 * its two interfaces, the TAP device and the loopback. Sockets reach lwIP through sockets.c, HTTP services through
 * http_bridge.c.
 *
 * Debian's liblwip is built without DHCP and DNS: addresses are static, names are resolved by resolve.c. */
#pragma once

#include "cmxsafe/core/why.h"

struct board_net {
    const char *address;  /* IPv4: "10.0.0.2/24" */
    const char *gateway;  /* IPv4 router; NULL: none */
    const char *address6; /* IPv6: "fd00::2/64"; NULL: only link-local and advertised addresses */
    const char *dns;      /* IPv4 name server; NULL: the machine's resolver. Borrowed for the life of the process */
    const char *mac;      /* NULL: derived from the TAP device's name */
};

/* Opens the TAP device, starts the stack and brings both interfaces up. Call it once. The TAP interface becomes lwIP's
 * default interface. why: one sentence. CMX_EINVAL: an address is wrong; CMX_EPERM, CMX_ENOENT, CMX_EBUSY: the TAP
 * device cannot be used. */
CMX_MUST_USE cmx_err board_lwip_start(const char *tap, const struct board_net *net, struct cmx_why *why);
