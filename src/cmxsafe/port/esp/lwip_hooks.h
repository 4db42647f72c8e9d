/* lwip_hooks.h - for ESP_IDF_LWIP_HOOK_FILENAME: lwIP's IP input hooks lead to isolation. Included by lwIP's own files; a
 * project that has such a header already includes this one in it. */
#ifndef CMX_PORT_ESP_LWIP_HOOKS_H
#define CMX_PORT_ESP_LWIP_HOOKS_H

#ifdef __cplusplus
extern "C" {
#endif

struct pbuf;
struct netif;
int cmx_lwip_ip_input_hook(struct pbuf *p, struct netif *inp);

#ifndef LWIP_HOOK_IP4_INPUT
#define LWIP_HOOK_IP4_INPUT(p, inp) cmx_lwip_ip_input_hook(p, inp)
#endif
#undef LWIP_HOOK_IP6_INPUT /* ESP-IDF may define its own, which only looks for addresses that are no longer valid */
#define LWIP_HOOK_IP6_INPUT(p, inp) cmx_lwip_ip_input_hook(p, inp)

#ifdef __cplusplus
}
#endif
#endif
