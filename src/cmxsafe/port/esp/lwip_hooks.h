/* lwip_hooks.h - leads lwIP's IPv4 input hook to the isolation policy; the IPv6 one is the function
 * lwip_hook_ip6_input, which ESP-IDF has by itself (lwip_hooks.c). The component lwip includes this file as
 * ESP_IDF_LWIP_HOOK_FILENAME when CONFIG_CMX_LWIP_HOOKS is set; a project with a hook file of its own includes it
 * there. Compiled into lwIP. */
#ifndef CMX_PORT_ESP_LWIP_HOOKS_H
#define CMX_PORT_ESP_LWIP_HOOKS_H

#ifdef __cplusplus
extern "C" {
#endif

struct pbuf;
struct netif;

int cmx_lwip_ip_input_hook(struct pbuf *p, struct netif *inp);

#define LWIP_HOOK_IP4_INPUT cmx_lwip_ip_input_hook

#ifdef __cplusplus
}
#endif
#endif
