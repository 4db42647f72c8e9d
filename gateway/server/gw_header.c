#include "gateway/server/gw_header.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/net.h"
#include "cmxsafe/proxy/originator.h"
#include "gateway/registry/proxy_header.h"

#define HEADERS_MAX 1024
#define HEADER_MS 3000

/* The header is stored in the session's buffer for log lines, which is unused until sshd runs. */
_Static_assert(sizeof((struct gw_session *)0)->line >= GW_PROXY_HEADER_MAX, "a header fits into the line");

bool gw_header_is_due(const struct gw_server *s, const struct sockaddr *peer)
{
    struct cmx_originator o = {.known = true};

    return s->g->proxies[0] && cmx_net_ip(peer, &o.ip, &o.port) && cmx_originator_allowed(&o, s->g->proxies);
}

void gw_header_await(struct gw_server *s, struct gw_session *x)
{
    x->watch = (struct gw_watch){GW_WATCH_HEADER, x->tcp};
    if (s->n_headers == HEADERS_MAX || !gw_watch_add(s->epoll, &x->watch)) {
        gw_session_discard(x);
        return;
    }
    x->next = s->headers;
    s->headers = x;
    s->n_headers++;
}

static void forget(struct gw_server *s, struct gw_session *x)
{
    struct gw_session **link = &s->headers;

    while (*link != x)
        link = &(*link)->next;
    *link = x->next;
    s->n_headers--;
    epoll_ctl(s->epoll, EPOLL_CTL_DEL, x->tcp, NULL);
}

/* Reads bytes of the header, but no byte after it. *more: the number of bytes that are still missing. */
static cmx_err read_some(struct gw_session *x, size_t *more)
{
    uint8_t *header = (uint8_t *)x->line;
    cmx_err err = gw_proxy_header_more(header, x->header_len, more);

    while (!err && *more) {
        ssize_t n = recv(x->tcp, header + x->header_len, *more, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return CMX_EAGAIN;
        if (n <= 0)
            return CMX_ECLOSED;
        x->header_len += (size_t)n;
        err = gw_proxy_header_more(header, x->header_len, more);
    }
    return err;
}

void gw_header_readable(struct gw_server *s, struct gw_session *x)
{
    struct sockaddr_storage client;
    size_t more;
    cmx_err err = read_some(x, &more);

    if (err == CMX_EAGAIN)
        return;
    forget(s, x);
    if (!err)
        err = gw_proxy_header_read((const uint8_t *)x->line, x->header_len, &client);
    if (err) {
        if (err == CMX_EFORMAT && gw_limits_note(&s->limits, x->source, x->started_ms))
            gw_note("%s: closed a load balancer's connection, because it has no PROXY v2 header", x->from);
        gw_session_discard(x);
        return;
    }
    if (client.ss_family != AF_UNSPEC)
        gw_session_name_source(x, &client);
    x->started_ms = cmx_port_now_ms();
    gw_session_admit(s, x);
}

void gw_header_expire(struct gw_server *s, uint64_t now_ms)
{
    struct gw_session *next;

    for (struct gw_session *x = s->headers; x; x = next) {
        next = x->next;
        if (!s->stopping && now_ms - x->started_ms < HEADER_MS)
            continue;
        forget(s, x);
        gw_session_discard(x);
    }
}
