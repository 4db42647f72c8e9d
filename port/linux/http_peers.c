#include "port/linux/http_peers.h"

#include <stddef.h>
#include <sys/socket.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"

void http_peers_init(struct http_peers *s, uint64_t idle_ms)
{
    *s = (struct http_peers){.idle_ms = idle_ms};
    pthread_mutex_init(&s->lock, NULL);
}

void http_peers_destroy(struct http_peers *s)
{
    pthread_mutex_destroy(&s->lock);
}

struct http_peer *http_peer_new(struct http_peers *s, int fd)
{
    struct http_peer *p = cmx_mem_alloc(sizeof *p);

    if (!p)
        return NULL;
    p->fd = fd;
    p->opened_ms = cmx_port_now_ms();
    http_peer_head(s, p);
    pthread_mutex_lock(&s->lock);
    p->next = s->list;
    s->list = p;
    pthread_mutex_unlock(&s->lock);
    return p;
}

static void peer_change(struct http_peers *s, struct http_peer *p, uint64_t head_ms, uint64_t deadline_ms)
{
    pthread_mutex_lock(&s->lock);
    p->head_ms = head_ms;
    p->deadline_ms = deadline_ms;
    pthread_mutex_unlock(&s->lock);
}

void http_peer_head(struct http_peers *s, struct http_peer *p)
{
    const uint64_t now = cmx_port_now_ms();

    if (p)
        peer_change(s, p, now, now + s->idle_ms);
}

void http_peer_set(struct http_peers *s, struct http_peer *p, unsigned n)
{
    if (p)
        peer_change(s, p, 0, n ? cmx_port_now_ms() + n * s->idle_ms : 0);
}

bool http_peer_old(const struct http_peers *s, const struct http_peer *p)
{
    return p && cmx_port_now_ms() - p->opened_ms >= HTTP_PEER_AGE_MAX * s->idle_ms;
}

static void peer_end(struct http_peer *p)
{
    p->ended = true;
    (void)shutdown(p->fd, SHUT_RDWR); /* the library's thread then reads end of file */
}

void http_peers_sweep(struct http_peers *s)
{
    const uint64_t now = cmx_port_now_ms();

    pthread_mutex_lock(&s->lock);
    for (struct http_peer *p = s->list; p; p = p->next)
        if (!p->ended && p->deadline_ms && now >= p->deadline_ms)
            peer_end(p);
    pthread_mutex_unlock(&s->lock);
}

void http_peers_evict(struct http_peers *s)
{
    const uint64_t now = cmx_port_now_ms();
    struct http_peer *oldest = NULL;
    bool room = false;

    pthread_mutex_lock(&s->lock);
    for (struct http_peer *p = s->list; p; p = p->next) {
        room = room || p->ended;
        if (p->head_ms && (!oldest || p->head_ms < oldest->head_ms))
            oldest = p;
    }
    if (!room && oldest && now - oldest->head_ms >= HTTP_PEER_GRACE_MS)
        peer_end(oldest);
    pthread_mutex_unlock(&s->lock);
}

void http_peer_free(struct http_peers *s, struct http_peer *p)
{
    struct http_peer **at = &s->list;

    if (!p)
        return;
    pthread_mutex_lock(&s->lock);
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    pthread_mutex_unlock(&s->lock);
    cmx_mem_free(p);
}
