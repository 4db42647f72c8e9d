/* poll.h - declares poll(2). POSIX has it in <poll.h>; ESP-IDF has <sys/poll.h> alone. */
#ifndef CMX_POLL_H
#define CMX_POLL_H

#if __has_include(<poll.h>)
#include <poll.h>
#else
#include <sys/poll.h>
#endif

#endif
