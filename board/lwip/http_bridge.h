/* http_bridge.h - HTTP services listen in lwIP; the server itself (libmicrohttpd) stays with the kernel's sockets, and
 * each connection is carried to it over a socketpair by two threads. A half-close is passed on in both directions. */
#pragma once

/* HTTP services started from now on listen in lwIP. */
void board_http_use_lwip(void);
