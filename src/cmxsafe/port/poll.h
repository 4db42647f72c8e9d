/* poll.h - declares poll(2). POSIX has it in <poll.h>; ESP-IDF has <sys/poll.h> alone. */
#pragma once

#if __has_include(<poll.h>)
#include <poll.h>
#else
#include <sys/poll.h>
#endif
