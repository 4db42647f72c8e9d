/* Declares POSIX names on lwIP, like ESP-IDF's header of this name. For compile checks only. */
#pragma once

#include "lwip/netdb.h"
