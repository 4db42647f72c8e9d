/* mirror_linux.c - sockets bound to the client's address, which the service sees as its peer (`peer = mirror`).
 *
 * IPV6_FREEBIND needs no privilege. The service's answers come back to this machine only if a local route covers the
 * address. Root sets up this route once (packaging/agent/cmxsafed-mirror@.service). */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/port/port.h"

/* True if a local route covers the address, so that the machine receives the packets that it sends to this address
 * (rtnetlink(7), RTM_GETROUTE). */
static bool is_routed_here(const uint8_t address[CMX_IPV6_LEN])
{
    struct {
        struct nlmsghdr head;
        struct rtmsg route;
        struct rtattr destination;
        uint8_t address[CMX_IPV6_LEN];
    } ask = {.head = {.nlmsg_len = sizeof ask, .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST},
             .route = {.rtm_family = AF_INET6, .rtm_dst_len = 128},
             .destination = {.rta_len = RTA_LENGTH(sizeof ask.address), .rta_type = RTA_DST}};
    struct {
        struct nlmsghdr head;
        struct rtmsg route;
        uint8_t attributes[1024];
    } answer;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    bool here;

    if (fd < 0)
        return false;
    memcpy(ask.address, address, sizeof ask.address);
    here = send(fd, &ask, sizeof ask, 0) == (ssize_t)sizeof ask &&
           recv(fd, &answer, sizeof answer, MSG_DONTWAIT) >= (ssize_t)(sizeof answer.head + sizeof answer.route) &&
           answer.head.nlmsg_type == RTM_NEWROUTE && answer.route.rtm_type == RTN_LOCAL;
    close(fd);
    return here;
}

static bool set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

cmx_err cmx_port_mirror_socket(const uint8_t source[CMX_IPV6_LEN], int *out, struct sockaddr_storage *local)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    socklen_t len = sizeof *local;
    int fd;

    memset(local, 0, sizeof *local);
    memcpy(&address.sin6_addr, source, sizeof address.sin6_addr);
    if (!is_routed_here(source)) {
        cmx_log_limited(
            CMX_LOG_ERROR, "proxy",
            "peer = mirror: no local route covers the client's address; start cmxsafed-mirror@.service with the "
            "fleet's prefix");
        return CMX_EUNREACH;
    }
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return CMX_ENOMEM;
    if (!set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) || !set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1) ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)local, &len) != 0) {
        close(fd);
        return CMX_EIO;
    }
    *out = fd;
    return CMX_OK;
}
