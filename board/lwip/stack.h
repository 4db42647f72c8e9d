/* stack.h - the board's own network: lwIP, the stack that an ESP32 has, over a TAP device. Starts it and configures its
 * two interfaces; sockets come to it through sockets.c, HTTP services through http_bridge.c.
 *
 * Debian's liblwip is built without DHCP and DNS: addresses are static, names are resolved by resolve.c. */
#ifndef BOARD_LWIP_STACK_H
#define BOARD_LWIP_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

struct netif;

/* Opens the TAP device, starts the stack, brings both interfaces up. Once. why: one sentence. CMX_EINVAL: an address;
 * CMX_EPERM, CMX_ENOENT, CMX_EBUSY: the TAP device. */
CMX_MUST_USE cmx_err board_lwip_start(const char *tap, const struct board_net *net, char *why, size_t why_cap);

/* The interfaces, for who filters them: frames come in through netif->input and leave through netif->linkoutput of the
 * TAP's; loopback packets leave through netif->output and output_ip6 of the other. Change these with LOCK_TCPIP_CORE
 * held. NULL before the start. */
struct netif *board_lwip_tap(void);
struct netif *board_lwip_loopback(void);

/* ---- tap.c ---- */

/* Opens (or makes) the TAP device; errors as above. */
CMX_MUST_USE cmx_err board_tap_open(const char *name, int *fd, char *why, size_t why_cap);

/* netif_add's init function; state is a struct board_tap *. Frames are read once board_tap_run was called. */
struct board_tap {
    int fd;
    uint8_t mac[6];
    struct netif *netif;
};
signed char board_tap_init(struct netif *netif);
CMX_MUST_USE cmx_err board_tap_run(struct board_tap *tap);

/* ---- sockets.c ---- */

/* From now on sockets of the Internet families belong to lwIP, in this program and in its libraries. */
void board_sockets_use_lwip(void);

/* Names are asked of this IPv4 server; NULL: of the machine's resolver. Borrowed. */
void board_sockets_set_dns(const char *server);

/* ---- quickack.c ---- */

/* Sends the acknowledgement that lwIP holds back, if it does; s: lwIP's own descriptor, of the calling thread. */
void board_lwip_acknowledge(int s);

/* ---- resolve.c ---- */

/* Addresses of a name, IPv6 first; at most cap, each 16 bytes, IPv4 as ::ffff:a.b.c.d. Returns how many; 0: none or no
 * answer. Blocks a few seconds at most. */
size_t board_resolve(const char *server, const char *name, uint8_t (*out)[16], size_t cap);

/* The addresses in an answer of len bytes. Pure. */
size_t board_resolve_parse(const uint8_t *message, int len, bool v6, uint8_t (*out)[16], size_t cap);

/* ---- http_bridge.c ---- */

/* HTTP services started from now on listen in lwIP. */
void board_http_use_lwip(void);

#endif
