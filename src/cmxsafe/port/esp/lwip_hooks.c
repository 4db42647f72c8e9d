#ifdef ESP_PLATFORM

#include "cmxsafe/port/esp/lwip_hooks.h"

#include "sdkconfig.h"

#if CONFIG_CMX_LWIP_HOOKS
int lwip_hook_ip6_input(struct pbuf *p, struct netif *inp);

/* Replaces ESP-IDF's weak function, which accepts every packet (CONFIG_LWIP_HOOK_IP6_INPUT_DEFAULT or _CUSTOM). */
int lwip_hook_ip6_input(struct pbuf *p, struct netif *inp)
{
    return cmx_lwip_ip_input_hook(p, inp);
}
#endif
#endif
