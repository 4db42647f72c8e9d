/* lwip_hooks.h - makes lwIP call the isolation policy for each received IPv4 packet. For IPv6 ESP-IDF calls the
 * function lwip_hook_ip6_input (lwip_hooks.c). With CONFIG_CMX_LWIP_HOOKS the component lwip includes this file as
 * ESP_IDF_LWIP_HOOK_FILENAME; a project with its own hook file includes lwip_hooks.h in that file. Compiled into
 * lwIP. */
#pragma once

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
