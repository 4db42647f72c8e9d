/* http_bridge.h - lets HTTP services listen in lwIP. The server (libmicrohttpd) can use only the kernel's sockets, so
 * two threads for each connection carry its bytes to the server over a socketpair. A half-close is passed on in both
 * directions. */
#pragma once

/* HTTP services started from now on listen in lwIP. */
void board_http_use_lwip(void);
