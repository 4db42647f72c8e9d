/* netifs.c - isolates new interfaces at once. ESP-IDF's lwIP reports a new interface through
 * LWIP_NETIF_EXT_STATUS_CALLBACK. Debian's lwIP is built without this option, so isolation's timer might find the
 * interface only after CMX_LWIP_SCAN_MS. This program therefore replaces netif_add, also for lwIP's own calls: the
 * replacement calls lwIP's function and then scans all interfaces. The stack's lock is held throughout and the
 * interface is not up yet, so no packet passes it before the scan. */
#include <dlfcn.h>

#include "cmxsafe/port/lwip/filter_lwip.h"
#include "lwip/netif.h"

typedef struct netif *(*add_fn)(struct netif *, const ip4_addr_t *, const ip4_addr_t *, const ip4_addr_t *, void *,
                                netif_init_fn, netif_input_fn);

struct netif *netif_add(struct netif *netif, const ip4_addr_t *address, const ip4_addr_t *mask,
                        const ip4_addr_t *router, void *state, netif_init_fn init, netif_input_fn input)
{
    add_fn real = (add_fn)dlsym(RTLD_NEXT, "netif_add");
    struct netif *added = real ? real(netif, address, mask, router, state, init, input) : NULL;

    cmx_lwip_filter_scan();
    return added;
}
