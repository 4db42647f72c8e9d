/* As in ESP-IDF: POSIX names on lwIP. For compile checks only. */
#ifndef CMX_TESTS_NETDB_H
#define CMX_TESTS_NETDB_H

#include "lwip/netdb.h"

#endif
