/* As ESP-IDF has it: POSIX names on lwIP. For compile checks alone. */
#ifndef CMX_TESTS_POLL_H
#define CMX_TESTS_POLL_H

#include "lwip/sockets.h"

int poll(struct pollfd *fds, nfds_t nfds, int timeout);

#endif
