#include "http_peers.h"

#include <sys/socket.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"

struct http_peer *http_peer_new(struct http_peers *s, int fd)
{
    struct http_peer *p = cmx_mem_alloc(sizeof *p);

    if (!p)
        return NULL;
    p->fd = fd;
    http_peer_set(s, p, 1);
    p->next = s->list;
    s->list = p;
    return p;
}

void http_peer_set(const struct http_peers *s, struct http_peer *p, unsigned n)
{
    if (p)
        p->deadline_ms = n ? cmx_port_now_ms() + n * s->idle_ms : 0;
}

void http_peers_sweep(const struct http_peers *s)
{
    const uint64_t now = cmx_port_now_ms();

    for (const struct http_peer *p = s->list; p; p = p->next)
        if (p->deadline_ms && now >= p->deadline_ms)
            (void)shutdown(p->fd, SHUT_RDWR);
}

void http_peer_free(struct http_peers *s, struct http_peer *p)
{
    struct http_peer **at = &s->list;

    if (!p)
        return;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    cmx_mem_free(p);
}
