/* As in ESP-IDF: POSIX names on lwIP. For compile checks only. */
#pragma once

#include "lwip/inet.h"
#include "lwip/sockets.h"
