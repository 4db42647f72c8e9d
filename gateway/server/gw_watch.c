#include "gateway/server/gw_watch.h"

#include <sys/epoll.h>

bool gw_watch_add(int epoll, struct gw_watch *w)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = w};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, w->fd, &ev) == 0;
}
