/* filter_lwip.h - the filter of lwIP 2.1 and later (Debian's, ESP-IDF's, a prebuilt Arduino core's): only lwIP's public
 * interface, no patch and no rebuilt library.
 *
 * Three places, since no single one sees everything: netif->input and netif->linkoutput (or output, where a link has no
 * header) of every interface are led through the judge; raw protocol control blocks see each packet that IP is about to
 * hand up, and with it what netif_poll takes from the device to itself, and what an interface brings that was added a
 * moment ago; a timer finds such interfaces, at once where LWIP_NETIF_EXT_STATUS_CALLBACK tells. Where the IP input
 * hooks can be injected (lwip_hooks.h) they do what the raw blocks do, earlier. */
#ifndef CMX_PORT_LWIP_FILTER_LWIP_H
#define CMX_PORT_LWIP_FILTER_LWIP_H

#include "cmxsafe/port/filter.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pbuf;
struct netif;

extern const struct cmx_filter cmx_lwip_filter;

/* Looks for new interfaces now; in the stack's own thread or with its lock held. For who adds one and can't wait for
 * the timer (CMX_LWIP_SCAN_MS). */
void cmx_lwip_filter_scan(void);
#define CMX_LWIP_SCAN_MS 20

/* For LWIP_HOOK_IP4_INPUT and LWIP_HOOK_IP6_INPUT: 1 if the packet was taken (and freed), 0 to go on. */
int cmx_lwip_ip_input_hook(struct pbuf *p, struct netif *inp);

#ifdef __cplusplus
}
#endif
#endif
