/* sockets.h - the socket calls of this program and of its libraries (libssh is not changed), redirected to lwIP where
 * the board has a network of its own. */
#pragma once

/* From now on sockets of the Internet families belong to lwIP. */
void board_sockets_use_lwip(void);

/* Sets the IPv4 name server; NULL: the machine's resolver. Borrowed. */
void board_sockets_set_dns(const char *server);
