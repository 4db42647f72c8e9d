#include "gateway/server/gw_source.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

void gw_source_name(struct gw_session *x, const struct sockaddr_storage *peer)
{
    const socklen_t len = peer->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    char host[INET6_ADDRSTRLEN] = "?";
    char port[8] = "0";

    gw_limits_source((const struct sockaddr *)peer, x->source);
    (void)getnameinfo((const struct sockaddr *)peer, len, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV); /* can't fail for the numeric address of a TCP peer */
    snprintf(x->from, sizeof x->from, strchr(host, ':') ? "[%s]:%s" : "%s:%s",
             strncmp(host, "::ffff:", 7) == 0 ? host + 7 : host, port);
}
