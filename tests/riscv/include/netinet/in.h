/* As in ESP-IDF: POSIX names on lwIP. For compile checks only. */
#ifndef CMX_TESTS_NETINET_IN_H
#define CMX_TESTS_NETINET_IN_H

#include "lwip/inet.h"
#include "lwip/sockets.h"

#endif
