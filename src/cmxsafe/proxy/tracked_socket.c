#include "cmxsafe/proxy/tracked_socket.h"

#include <netinet/in.h>
#include <string.h>

cmx_err cmx_tracked_socket_open(struct tracked_socket *t, const struct cmx_proxy_hooks *hooks, cmx_socket_kind kind,
                                const char *context, const struct sockaddr_storage *local, const struct sockaddr *peer)
{
    cmx_err err;

    memset(t, 0, sizeof *t);
    if (!hooks->socket_open)
        return CMX_OK;
    t->kind = kind;
    t->local = *local;
    if (peer)
        memcpy(&t->peer, peer, peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    err = hooks->socket_open(hooks->arg, kind, context, (const struct sockaddr *)local, peer);
    t->reported = !err;
    return err;
}

void cmx_tracked_socket_close(struct tracked_socket *t, const struct cmx_proxy_hooks *hooks, const char *context)
{
    if (!t->reported)
        return;
    t->reported = false;
    if (hooks->socket_close)
        hooks->socket_close(hooks->arg, t->kind, context, (const struct sockaddr *)&t->local,
                            t->peer.ss_family ? (const struct sockaddr *)&t->peer : NULL);
}
