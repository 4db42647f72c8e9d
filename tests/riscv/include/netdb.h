/* As ESP-IDF has it: POSIX names on lwIP. For compile checks alone. */
#ifndef CMX_TESTS_NETDB_H
#define CMX_TESTS_NETDB_H

#include "lwip/netdb.h"

#endif
