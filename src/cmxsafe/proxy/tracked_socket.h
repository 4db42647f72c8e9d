/* tracked_socket.h - reports a socket's opening and closing to the hooks socket_open and socket_close, and passes the
 * same addresses to both. */
#pragma once

#include <sys/socket.h>

#include "cmxsafe/proxy/context.h"

/* Zero at first. */
struct tracked_socket {
    bool reported; /* socket_open accepted it, so socket_close must follow */
    cmx_socket_kind kind;
    struct sockaddr_storage local;
    struct sockaddr_storage peer; /* ss_family 0: a listener */
};

/* Reports a new socket; peer is NULL for a listener. Returns the hook's result; after an error the socket must
 * not be used. */
CMX_MUST_USE cmx_err cmx_tracked_socket_open(struct tracked_socket *t, const struct cmx_proxy_hooks *hooks,
                                             cmx_socket_kind kind, const char *context,
                                             const struct sockaddr_storage *local, const struct sockaddr *peer);

/* Reports that the socket is closed, if the hook socket_open accepted it. */
void cmx_tracked_socket_close(struct tracked_socket *t, const struct cmx_proxy_hooks *hooks, const char *context);
