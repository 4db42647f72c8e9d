#include "gateway/server/gw_claims.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"
#include "gateway/folder/gw_program.h"
#include "gateway/registry/node.h"
#include "gateway/render/gw_bird.h"
#include "gateway/render/gw_nft.h"
#include "gateway/server/gw_account.h"
#include "gateway/server/gw_note.h"

#define TEXT(n) #n
#define NUMBER(n) TEXT(n)
#define LINK "cmxlink"
#define ATTRIBUTES_MAX 128 /* bytes; a request has at most two attributes: an address and a metric */

struct change {
    uint8_t address[CMX_IPV6_LEN];
    uint32_t add, remove; /* metrics of the routes to add and to remove; 0: no such route */
};

struct route_message {
    struct nlmsghdr head;
    struct rtmsg route;
    uint8_t attributes[ATTRIBUTES_MAX];
};

static void put_attribute(struct route_message *m, uint16_t type, const void *data, size_t len)
{
    struct rtattr a = {.rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = type};
    uint8_t *at = (uint8_t *)m + NLMSG_ALIGN(m->head.nlmsg_len);

    memcpy(at, &a, sizeof a);
    memcpy(at + RTA_LENGTH(0), data, len);
    m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len) + (uint32_t)RTA_ALIGN(RTA_LENGTH(len));
}

/* ---- the process that has CAP_NET_ADMIN ---- */

static int change_route(int netlink, bool add, const uint8_t address[CMX_IPV6_LEN], uint32_t metric)
{
    struct route_message m = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof m.route),
                 .nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE,
                 .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0))},
        .route = {.rtm_family = AF_INET6,
                  .rtm_dst_len = 128,
                  .rtm_table = GW_CLAIMS_TABLE,
                  .rtm_protocol = GW_CLAIMS_PROTOCOL,
                  .rtm_type = RTN_BLACKHOLE}};
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        uint8_t rest[512];
    } answer;

    put_attribute(&m, RTA_DST, address, CMX_IPV6_LEN);
    put_attribute(&m, RTA_PRIORITY, &metric, sizeof metric);
    if (send(netlink, &m, m.head.nlmsg_len, 0) != (ssize_t)m.head.nlmsg_len ||
        recv(netlink, &answer, sizeof answer, 0) < (ssize_t)(sizeof answer.head + sizeof answer.error) ||
        answer.head.nlmsg_type != NLMSG_ERROR)
        return -EIO;
    return answer.error.error;
}

static bool is_of_fleet(const struct gw_fleet *f, const struct change *c)
{
    return memcmp(c->address, f->prefix, f->bits / 8) == 0 && c->add <= GW_METRIC_MAX && c->remove <= GW_METRIC_MAX;
}

/* Drops all capabilities except CAP_NET_ADMIN. At its end this process executes `ip`, which inherits the capability. */
static bool keep_net_admin(uid_t uid, gid_t gid)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct one[_LINUX_CAPABILITY_U32S_3] = {{0}};

    one[0].effective = one[0].permitted = one[0].inheritable = 1u << CAP_NET_ADMIN;
    return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && (geteuid() != 0 || gw_account_become(uid, gid)) &&
           syscall(SYS_capset, &head, one) == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
           prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0) == 0 &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

_Noreturn static void keep_routes(int inherited, const struct gw_fleet *f, uid_t uid, gid_t gid)
{
    int fd = dup2(inherited, STDIN_FILENO);
    int rest = close_range(STDERR_FILENO + 1, ~0u, 0); /* closes the listeners, which belong to the parent */
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct change c;
    sigset_t all;
    int error;

    sigfillset(&all); /* no signal must end this process before its parent ends */
    sigprocmask(SIG_SETMASK, &all, NULL);
    if (fd < 0 || rest != 0 || netlink < 0 || !keep_net_admin(uid, gid))
        _exit(EXIT_FAILURE);
    while (recv(fd, &c, sizeof c, 0) == (ssize_t)sizeof c) {
        if (!is_of_fleet(f, &c))
            continue;
        error = c.add ? change_route(netlink, true, c.address, c.add) : 0;
        if (error)
            gw_note("an identity's route could not be set: %s", strerror(-error));
        if (c.remove && c.remove != c.add)
            /* Ignore errors, because another program may have removed the route. */
            (void)change_route(netlink, false, c.address, c.remove);
    }
    execlp("ip", "ip", "-6", "route", "flush", "table", NUMBER(GW_CLAIMS_TABLE), "proto", NUMBER(GW_CLAIMS_PROTOCOL),
           (char *)NULL);
    _exit(EXIT_FAILURE);
}

cmx_err gw_claims_open(struct gw_claims *c, const struct gw_fleet *f, uid_t uid, gid_t gid, struct cmx_why *e)
{
    int pair[2];
    pid_t pid;

    /* Fails when the table is empty. */
    (void)gw_program_runf(true, "ip -6 route flush table %d proto %d", GW_CLAIMS_TABLE, GW_CLAIMS_PROTOCOL);
    c->fd = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return cmx_why_fail(e, CMX_EIO, "no socket (%s)", strerror(errno));
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        close(pair[0]);
        keep_routes(pair[1], f, uid, gid);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return cmx_why_fail(e, CMX_EIO, "no process (%s)", strerror(errno));
    }
    c->fd = pair[0];
    return CMX_OK;
}

bool gw_claims_change(struct gw_claims *c, const uint8_t address[CMX_IPV6_LEN], unsigned add, unsigned remove)
{
    struct change change = {.add = add, .remove = remove};

    memcpy(change.address, address, sizeof change.address);
    return c->fd < 0 || send(c->fd, &change, sizeof change, MSG_NOSIGNAL) == (ssize_t)sizeof change;
}

void gw_claims_close(struct gw_claims *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

/* ---- routes of other gateways ---- */

struct remote_route {
    uint32_t table;
    uint8_t address[CMX_IPV6_LEN];
    struct gw_remote claim;
};

/* Parses a message about a route to a single address. The route was set by this gateway (claim.node is then 0), or it
 * leads through a link to another gateway. False: the message is not about such a route. */
static bool parse_route(const struct nlmsghdr *head, struct remote_route *out)
{
    const struct rtmsg *route = NLMSG_DATA(head);
    const struct rtattr *a = RTM_RTA(route);
    size_t left = head->nlmsg_len - NLMSG_LENGTH(sizeof *route);
    uint32_t out_interface = 0;
    uint64_t number;
    char name[IF_NAMESIZE];

    if ((head->nlmsg_type != RTM_NEWROUTE && head->nlmsg_type != RTM_DELROUTE) ||
        head->nlmsg_len < NLMSG_LENGTH(sizeof *route) || route->rtm_family != AF_INET6 || route->rtm_dst_len != 128)
        return false;
    *out = (struct remote_route){0};
    for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == RTA_TABLE && RTA_PAYLOAD(a) == 4)
            memcpy(&out->table, RTA_DATA(a), 4);
        else if (a->rta_type == RTA_OIF && RTA_PAYLOAD(a) == 4)
            memcpy(&out_interface, RTA_DATA(a), 4);
        else if (a->rta_type == RTA_PRIORITY && RTA_PAYLOAD(a) == 4)
            memcpy(&out->claim.metric, RTA_DATA(a), 4);
        else if (a->rta_type == RTA_DST && RTA_PAYLOAD(a) == 16)
            memcpy(out->address, RTA_DATA(a), CMX_IPV6_LEN);
    }
    if (out->table == GW_CLAIMS_TABLE)
        return route->rtm_protocol == GW_CLAIMS_PROTOCOL;
    if (!if_indextoname(out_interface, name) || strncmp(name, LINK, strlen(LINK)) != 0 ||
        cmx_text_u64(name + strlen(LINK), 1, GW_NODES_MAX, &number))
        return false;
    out->claim.node = (unsigned)number;
    return true;
}

unsigned gw_remote_node(const uint8_t address[CMX_IPV6_LEN])
{
    static const struct timeval patience = {.tv_sec = 1};
    struct route_message m = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof m.route), .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST},
        .route = {.rtm_family = AF_INET6, .rtm_dst_len = 128, .rtm_flags = RTM_F_FIB_MATCH}};
    union {
        struct nlmsghdr head;
        uint8_t bytes[2048];
    } answer;
    uint32_t mark = (uint32_t)strtoul(GW_NFT_MARK, NULL, 16);
    struct remote_route r;
    ssize_t len = -1;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0)
        return 0;
    put_attribute(&m, RTA_DST, address, CMX_IPV6_LEN);
    put_attribute(&m, RTA_MARK, &mark, sizeof mark);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (send(fd, &m, m.head.nlmsg_len, 0) == (ssize_t)m.head.nlmsg_len)
        len = recv(fd, &answer, sizeof answer, 0);
    close(fd);
    return len >= (ssize_t)sizeof answer.head && answer.head.nlmsg_len <= (size_t)len && parse_route(&answer.head, &r)
               ? r.claim.node
               : 0;
}

int gw_remote_watch(void)
{
    struct sockaddr_nl routes = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV6_ROUTE};
    struct route_message all = {.head = {.nlmsg_len = NLMSG_LENGTH(sizeof all.route),
                                         .nlmsg_type = RTM_GETROUTE,
                                         .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
                                .route = {.rtm_family = AF_INET6}};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

    if (fd >= 0 && (bind(fd, (const struct sockaddr *)&routes, sizeof routes) != 0 ||
                    send(fd, &all, all.head.nlmsg_len, 0) != (ssize_t)all.head.nlmsg_len)) {
        close(fd);
        return -1;
    }
    return fd;
}

void gw_remote_read(int fd, gw_remote_fn fn, void *arg)
{
    static union {
        struct nlmsghdr head;
        uint8_t bytes[32768]; /* one datagram with routes from the kernel */
    } piece;
    struct remote_route r;
    ssize_t len;

    while ((len = recv(fd, &piece, sizeof piece, 0)) > 0 || (len < 0 && (errno == ENOBUFS || errno == EINTR))) {
        const struct nlmsghdr *head = &piece.head;

        for (size_t left = len > 0 ? (size_t)len : 0; NLMSG_OK(head, left); head = NLMSG_NEXT(head, left))
            if (parse_route(head, &r) &&
                (head->nlmsg_type == RTM_NEWROUTE ? r.table == GW_ANNOUNCED_TABLE : r.table == GW_CLAIMS_TABLE))
                fn(arg, r.address, &r.claim);
    }
}
