/* poll.h - declares poll(2). POSIX declares it in <poll.h>; ESP-IDF has only <sys/poll.h>. */
#pragma once

#if __has_include(<poll.h>)
#include <poll.h>
#else
#include <sys/poll.h>
#endif
