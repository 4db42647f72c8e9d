/* As ESP-IDF has it (and no <poll.h>): POSIX names on lwIP. For compile checks alone. */
#ifndef CMX_TESTS_SYS_POLL_H
#define CMX_TESTS_SYS_POLL_H

#include "lwip/sockets.h"

#endif
