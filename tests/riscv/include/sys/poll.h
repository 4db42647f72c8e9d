/* As in ESP-IDF, which has no <poll.h>: POSIX names on lwIP. For compile checks only. */
#pragma once

#include "lwip/sockets.h"
