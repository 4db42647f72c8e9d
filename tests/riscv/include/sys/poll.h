/* Declares POSIX names on lwIP, like ESP-IDF's header of this name (ESP-IDF has no <poll.h>). For compile checks only.
 */
#pragma once

#include "lwip/sockets.h"
