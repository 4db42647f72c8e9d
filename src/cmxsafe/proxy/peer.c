#include "cmxsafe/proxy/peer.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/net.h"

static struct {
    struct cmx_peer_entry *list;
    struct cmx_mutex lock;
} peers;

/* Runs before any task exists. */
__attribute__((constructor)) static void make_lock(void)
{
    cmx_port_mutex_init(&peers.lock);
}

void cmx_peer_add(struct cmx_peer_entry *e, const struct sockaddr *local, const struct sockaddr *service,
                  const struct cmx_originator *from)
{
    if (!cmx_net_ip(local, &e->ip, &e->port) || !cmx_net_ip(service, &e->service, &e->service_port))
        return; /* cmx_peer will not find the client of this connection */
    e->from = *from;
    e->listed = true;
    cmx_port_mutex_lock(&peers.lock);
    e->next = peers.list;
    peers.list = e;
    cmx_port_mutex_unlock(&peers.lock);
}

void cmx_peer_remove(struct cmx_peer_entry *e)
{
    if (!e->listed)
        return;
    e->listed = false;
    cmx_port_mutex_lock(&peers.lock);
    for (struct cmx_peer_entry **at = &peers.list; *at; at = &(*at)->next)
        if (*at == e) {
            *at = e->next;
            break;
        }
    cmx_port_mutex_unlock(&peers.lock);
}

/* True if ip is the address of the relay's socket. If that socket was bound to the unspecified address, the stack chose
 * its address when it connected: the address of the service, or 127.0.0.1 if the service is on loopback. The port alone
 * does not suffice, because another local program can use the same port with another address. */
static bool is_same_end(const struct cmx_peer_entry *e, const struct cmx_ip *ip)
{
    if (!cmx_ip_is_any(&e->ip))
        return cmx_ip_equal(ip, &e->ip);
    return cmx_ip_equal(ip, &e->service) ||
           (cmx_ip_is_loopback(&e->service) && cmx_ip_is_v4(ip) && ip->w[3] == htonl(INADDR_LOOPBACK));
}

static void put_address(struct sockaddr_storage *out, const struct cmx_originator *from)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;

    memset(out, 0, sizeof *out);
    v4->sin_port = htons((uint16_t)from->port); /* sin6_port has the same offset */
    if (cmx_ip_is_v4(&from->ip)) {
        out->ss_family = AF_INET;
        memcpy(&v4->sin_addr, &from->ip.w[3], sizeof v4->sin_addr);
    } else {
        out->ss_family = AF_INET6;
        memcpy(&v6->sin6_addr, from->ip.w, sizeof v6->sin6_addr);
    }
}

cmx_err cmx_peer(int fd, struct sockaddr_storage *out)
{
    struct sockaddr_storage service, client;
    socklen_t service_len = sizeof service, client_len = sizeof client;
    struct cmx_ip ip, service_ip;
    uint32_t port, service_port;
    cmx_err err = CMX_ENOENT;

    if (getsockname(fd, (struct sockaddr *)&service, &service_len) != 0 ||
        getpeername(fd, (struct sockaddr *)&client, &client_len) != 0 ||
        !cmx_net_ip((const struct sockaddr *)&service, &service_ip, &service_port) ||
        !cmx_net_ip((const struct sockaddr *)&client, &ip, &port))
        return CMX_ENOENT;
    cmx_port_mutex_lock(&peers.lock);
    for (const struct cmx_peer_entry *e = peers.list; e; e = e->next) {
        if (e->port != port || e->service_port != service_port || !cmx_ip_equal(&e->service, &service_ip) ||
            !is_same_end(e, &ip))
            continue;
        err = e->from.known ? CMX_OK : CMX_EFORMAT;
        if (!err)
            put_address(out, &e->from);
        break;
    }
    cmx_port_mutex_unlock(&peers.lock);
    return err;
}

void cmx_peer_text(int fd, char out[CMX_IP_TEXT_MAX])
{
    struct sockaddr_storage client;

    out[0] = 0;
    if (cmx_peer(fd, &client) == CMX_OK)
        cmx_net_text(&client, out);
}
