/* As ESP-IDF has it: POSIX names on lwIP. For compile checks alone. */
#ifndef CMX_TESTS_SYS_SOCKET_H
#define CMX_TESTS_SYS_SOCKET_H

#include "lwip/inet.h"
#include "lwip/sockets.h"

#endif
