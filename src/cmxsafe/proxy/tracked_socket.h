/* tracked_socket.h - reports a socket's opening and, with the same addresses, its closing to the hook socket_change. */
#pragma once

#include <sys/socket.h>

#include "cmxsafe/proxy/context.h"

/* Initialise it with zeros. */
struct tracked_socket {
    const struct cmx_proxy_hooks *hooks; /* where to report that the socket is closed; NULL: nowhere */
    cmx_socket_kind kind;
    struct sockaddr_storage local;
    struct sockaddr_storage peer; /* ss_family 0: a listener */
};

/* Reports a new socket; peer is NULL for a listener. Borrows hooks. Returns the hook's result; after an error the
 * socket must not be used. */
CMX_MUST_USE cmx_err cmx_tracked_socket_open(struct tracked_socket *t, const struct cmx_proxy_hooks *hooks,
                                             cmx_socket_kind kind, const struct sockaddr_storage *local,
                                             const struct sockaddr *peer);
/* Reports that the socket is closed, if the hook has accepted the socket's opening. */
void cmx_tracked_socket_close(struct tracked_socket *t);
