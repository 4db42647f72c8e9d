#include "port/linux/http_identity.h"

#include <netinet/in.h>

#include "cmxsafe/proxy/net.h"
#include "cmxsafe/proxy/peer.h"

socklen_t http_identity_address(int accepted, struct sockaddr_storage *out)
{
    *out = (struct sockaddr_storage){.ss_family = AF_INET};
    if (cmx_peer(accepted, out) != CMX_OK)
        return sizeof(struct sockaddr_in);
    return out->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

void http_identity_text(const struct sockaddr *client, char out[CMX_IP_TEXT_MAX])
{
    struct cmx_ip ip;
    uint32_t port;

    out[0] = 0;
    if (cmx_net_ip(client, &ip, &port) && !cmx_ip_is_any(&ip))
        cmx_ip_text(&ip, out);
}
