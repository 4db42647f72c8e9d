#include "gateway/server/gw_client.h"

#include <errno.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"

struct gw_client *gw_client_add(struct gw_server *s, int fd)
{
    struct gw_client *c = cmx_mem_alloc(sizeof *c);

    if (c) {
        c->watch = (struct gw_watch){GW_WATCH_CLIENT, fd};
        c->question.fd = -1;
    }
    if (!c || !gw_watch_add(s->epoll, &c->watch)) {
        cmx_mem_free(c);
        close(fd);
        return NULL;
    }
    c->next = s->clients;
    s->clients = c;
    return c;
}

void gw_client_close(struct gw_server *s, struct gw_client *c)
{
    struct gw_client **link = &s->clients;

    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    for (size_t i = 0; i < c->n_probes; i++)
        if (c->probes[i].fd >= 0)
            close(c->probes[i].fd);
    if (c->question.fd >= 0)
        close(c->question.fd);
    close(c->watch.fd);
    cmx_mem_free(c);
}

void gw_client_accept_failed(struct gw_server *s)
{
    if (errno != EAGAIN && errno != ECONNABORTED)
        s->accept_ms = cmx_port_now_ms() + ACCEPT_PAUSE_MS;
}
