/* gw_watch.h - a descriptor that the running gateway's loop waits for. */
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

/* The target of an epoll event; the first member of each watched object. */
struct gw_watch {
    gw_watch_kind kind;
    int fd;
};

/* Waits for w to become readable from now on. w must not move; closing its descriptor ends the watch. */
bool gw_watch_add(int epoll, struct gw_watch *w);
