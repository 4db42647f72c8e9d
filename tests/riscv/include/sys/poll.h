/* As in ESP-IDF, which has no <poll.h>: POSIX names on lwIP. For compile checks only. */
#ifndef CMX_TESTS_SYS_POLL_H
#define CMX_TESTS_SYS_POLL_H

#include "lwip/sockets.h"

#endif
