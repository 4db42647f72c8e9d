#include "cmxsafe/proxy/tracked_socket.h"

#include <netinet/in.h>
#include <string.h>

cmx_err cmx_tracked_socket_open(struct tracked_socket *t, const struct cmx_proxy_hooks *hooks, cmx_socket_kind kind,
                                const struct sockaddr_storage *local, const struct sockaddr *peer)
{
    cmx_err err;

    memset(t, 0, sizeof *t);
    if (!hooks->socket_change)
        return CMX_OK;
    t->kind = kind;
    t->local = *local;
    if (peer)
        memcpy(&t->peer, peer, peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    err = hooks->socket_change(hooks->arg, kind, (const struct sockaddr *)local, peer, true);
    t->hooks = err ? NULL : hooks;
    return err;
}

void cmx_tracked_socket_close(struct tracked_socket *t)
{
    if (t->hooks)
        (void)t->hooks->socket_change(t->hooks->arg, t->kind, (const struct sockaddr *)&t->local,
                                      t->peer.ss_family ? (const struct sockaddr *)&t->peer : NULL, false);
    t->hooks = NULL;
}
