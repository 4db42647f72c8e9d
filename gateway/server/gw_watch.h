/* gw_watch.h - describes a descriptor that the running gateway's loop waits for. */
#pragma once

#include <stdbool.h>

typedef enum {
    GW_WATCH_LISTENER,
    GW_WATCH_SIGNAL,
    GW_WATCH_CONTROL,
    GW_WATCH_CLIENT,
    GW_WATCH_HEADER,
    GW_WATCH_LOG,
    GW_WATCH_EVENTS,
    GW_WATCH_ROUTES,
    GW_WATCH_PEERS
} gw_watch_kind;

/* An epoll event points to this struct, which is the first member of each watched object. */
struct gw_watch {
    gw_watch_kind kind;
    int fd;
};

/* Adds w to the descriptors that the loop waits for. w must not move in memory; closing its descriptor ends the watch.
 * False: errno is set. */
bool gw_watch_add(int epoll, struct gw_watch *w);
