/* As in ESP-IDF: POSIX names on lwIP. For compile checks only. */
#ifndef CMX_TESTS_ARPA_INET_H
#define CMX_TESTS_ARPA_INET_H

#include "lwip/inet.h"
#include "lwip/sockets.h"

#endif
