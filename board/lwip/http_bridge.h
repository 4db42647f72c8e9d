/* http_bridge.h - lets HTTP services listen in lwIP. The server (libmicrohttpd) can use only the kernel's sockets, so
 * two threads for each connection copy its bytes to and from the server over a socketpair. A half-close is passed on in
 * both directions. */
#pragma once

/* HTTP services that start after this call listen on lwIP sockets. */
void board_http_use_lwip(void);
