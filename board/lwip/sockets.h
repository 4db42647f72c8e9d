/* sockets.h - redirects the socket calls of this program and of its unchanged libraries, such as libssh, to lwIP if the
 * board has a network of its own. */
#pragma once

/* After this call, new sockets of the Internet families (AF_INET, AF_INET6) are lwIP's. */
void board_sockets_use_lwip(void);

/* Sets the IPv4 name server; NULL: the machine's resolver. Borrowed. */
void board_sockets_set_dns(const char *server);
