/* filter_lwip.h - the filter for lwIP 2.1 and later (Debian's, ESP-IDF's, a prebuilt Arduino core's). It needs neither
 * a patch nor a rebuilt library, but uses a few of lwIP's private headers (lwip/priv).
 *
 * The filter works in several places, since none of them sees every packet. First, it replaces netif->input and
 * netif->linkoutput (or output, on a link without Ethernet) of every interface. Second, raw protocol control blocks see
 * each packet before IP passes it to a transport, including packets from the device to itself (netif_poll), packets of
 * an interface that was added after the last scan, and those of a link that calls IP itself (PPP). They judge a packet
 * unless a bit in its buffer says that the judge has allowed it before. Third, if the IP input hooks can be installed
 * (lwip_hooks.h), they do the same as the raw blocks, but earlier. A timer finds new interfaces; with
 * LWIP_NETIF_EXT_STATUS_CALLBACK they are found at once. */
#pragma once

#include "cmxsafe/port/filter.h"

struct pbuf;
struct netif;

extern const struct cmx_filter cmx_lwip_filter;

/* Looks for new interfaces now, instead of at the next timer (CMX_LWIP_SCAN_MS). Call it in the stack's own thread or
 * with its lock held. */
void cmx_lwip_filter_scan(void);
#define CMX_LWIP_SCAN_MS 20

/* For LWIP_HOOK_IP4_INPUT and LWIP_HOOK_IP6_INPUT: returns 1 if the packet was refused and freed, 0 to continue. */
int cmx_lwip_ip_input_hook(struct pbuf *p, struct netif *inp);
