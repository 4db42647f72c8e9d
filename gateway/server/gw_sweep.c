#include "gateway/server/gw_sweep.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "gateway/registry/list.h"
#include "gateway/registry/party.h"
#include "port/linux/child.h"

#define PIECE 32768 /* size of the buffer for netlink messages */

struct pair {
    uint8_t source[CMX_IPV6_LEN];
    uint8_t target[CMX_IPV6_LEN];
    uint16_t port; /* network byte order */
};

struct pair_list {
    struct pair *pairs; /* sorted */
    size_t n;
};

static int compare_pairs(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct pair));
}

static cmx_err make_pairs(struct pair_list *out, const struct gw_allowed_list *allowed)
{
    *out = (struct pair_list){0};
    if (!allowed->n)
        return CMX_OK;
    out->pairs = cmx_mem_alloc(allowed->n * sizeof out->pairs[0]);
    if (!out->pairs)
        return CMX_ENOMEM;
    for (size_t i = 0; i < allowed->n; i++) {
        const struct gw_allowed *a = &allowed->entries[i];
        struct pair *p = &out->pairs[out->n];

        p->port = htons(a->port);
        if (inet_pton(AF_INET6, a->source, p->source) == 1 && inet_pton(AF_INET6, a->target, p->target) == 1)
            out->n++;
    }
    qsort(out->pairs, out->n, sizeof out->pairs[0], compare_pairs);
    return CMX_OK;
}

static bool allows(const struct pair_list *l, const void *source, const void *target, uint16_t port)
{
    struct pair key;

    memset(&key, 0, sizeof key);
    memcpy(key.source, source, CMX_IPV6_LEN);
    memcpy(key.target, target, CMX_IPV6_LEN);
    key.port = port;
    return l->n && bsearch(&key, l->pairs, l->n, sizeof key, compare_pairs) != NULL; /* pairs is NULL when n is 0 */
}

struct id_list {
    struct inet_diag_sockid *ids;
    size_t n, cap;
};

struct sweep {
    const struct pair_list *allowed;
    const struct gw_fleet *fleet;
    uint8_t gateway[CMX_IPV6_LEN]; /* the gateway's own identity; connections from and to it need no grant */
    uint8_t host[CMX_IPV6_LEN];    /* the host's address on the link */
    struct id_list doomed;
    struct id_list operators; /* connections that root's programs opened; they need no grant */
};

static bool in_fleet(const struct sweep *s, const void *address)
{
    return memcmp(address, s->fleet->prefix, s->fleet->bits / 8) == 0;
}

/* True if the connection needs a grant and none allows it. Connections between two identities and connections to the
 * host need a grant, except the gateway's own. Any other connection belongs to a program that root started in the
 * namespace, and may continue. The caller also spares connections whose socket belongs to root. */
static bool is_doomed(const struct sweep *s, const struct inet_diag_sockid *id)
{
    const void *local = id->idiag_src;
    const void *remote = id->idiag_dst;
    bool judged = (in_fleet(s, local) && in_fleet(s, remote)) || memcmp(remote, s->host, CMX_IPV6_LEN) == 0;

    if (!judged || memcmp(local, s->gateway, CMX_IPV6_LEN) == 0 || memcmp(remote, s->gateway, CMX_IPV6_LEN) == 0)
        return false;
    return !allows(s->allowed, local, remote, id->idiag_dport) && !allows(s->allowed, remote, local, id->idiag_sport);
}

/* True if id is the other end of an operator's connection. */
static bool serves_operator(const struct sweep *s, const struct inet_diag_sockid *id)
{
    for (size_t i = 0; i < s->operators.n; i++) {
        const struct inet_diag_sockid *o = &s->operators.ids[i];

        if (o->idiag_sport == id->idiag_dport && o->idiag_dport == id->idiag_sport &&
            memcmp(o->idiag_src, id->idiag_dst, CMX_IPV6_LEN) == 0 &&
            memcmp(o->idiag_dst, id->idiag_src, CMX_IPV6_LEN) == 0)
            return true;
    }
    return false;
}

struct diag_request {
    struct nlmsghdr head;
    struct inet_diag_req_v2 req;
};

static struct diag_request diag_request(uint16_t type, uint16_t flags)
{
    return (struct diag_request){
        .head = {.nlmsg_len = sizeof(struct diag_request), .nlmsg_type = type, .nlmsg_flags = flags},
        .req = {.sdiag_family = AF_INET6, .sdiag_protocol = IPPROTO_TCP},
    };
}

/* Reads one datagram of the dump. Returns 1: more follows; 0: done; -1: failed, see errno. */
static int read_piece(struct sweep *s, int fd, void *piece)
{
    ssize_t got = recv(fd, piece, PIECE, 0);
    int64_t len = got; /* 64 bits: NLMSG_NEXT subtracts an unsigned 32-bit length, and the result may be negative */

    for (struct nlmsghdr *h = piece; len > 0 && NLMSG_OK(h, (size_t)len); h = NLMSG_NEXT(h, len)) {
        const struct inet_diag_msg *m = NLMSG_DATA(h);
        const struct nlmsgerr *error = NLMSG_DATA(h);
        struct id_list *l;

        if (h->nlmsg_type == NLMSG_DONE)
            return 0;
        if (h->nlmsg_type == NLMSG_ERROR) {
            errno = -error->error;
            return -1;
        }
        if (m->idiag_family != AF_INET6 || !is_doomed(s, &m->id))
            continue;
        l = m->idiag_uid == 0 ? &s->operators : &s->doomed;
        if (gw_list_add(&l->ids, &l->n, &l->cap, &m->id, sizeof m->id)) {
            errno = ENOMEM;
            return -1;
        }
    }
    return got > 0 || errno == EINTR ? 1 : -1;
}

static bool find_doomed(struct sweep *s, int fd)
{
    struct diag_request dump = diag_request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP);
    void *piece = cmx_mem_alloc(PIECE);
    int more = -1;

    /* Request the connections in all states except LISTEN, CLOSE and TIME_WAIT. */
    dump.req.idiag_states = ~(1u << TCP_LISTEN | 1u << TCP_CLOSE | 1u << TCP_TIME_WAIT);
    if (piece && send(fd, &dump, sizeof dump, 0) == sizeof dump)
        do
            more = read_piece(s, fd, piece);
        while (more > 0);
    cmx_mem_free(piece);
    return more == 0;
}

/* Destroys a socket. False: it failed, and errno is set. */
static bool destroy(int fd, const struct inet_diag_sockid *id)
{
    struct diag_request kill = diag_request(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK);
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char rest[512];
    } answer;

    kill.req.id = *id;
    if (send(fd, &kill, sizeof kill, 0) != sizeof kill || recv(fd, &answer, sizeof answer, 0) <= 0)
        return false;
    errno = answer.head.nlmsg_type == NLMSG_ERROR ? -answer.error.error : EPROTO;
    return errno == 0 || errno == ENOENT; /* ENOENT: the connection closed meanwhile */
}

/* Runs in a child that is in the namespace. Returns 0, or errno after a failure. */
static int sweep_here(struct sweep *s)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

    if (fd < 0 || !find_doomed(s, fd))
        return errno;
    for (size_t i = 0; i < s->doomed.n; i++)
        if (!serves_operator(s, &s->doomed.ids[i]) && !destroy(fd, &s->doomed.ids[i]))
            return errno;
    return 0;
}

/* Returns 0, or errno after a failure. If a signal ended the child, returns 128 plus the signal's number. -1: the child
 * can't be waited for. */
static int sweep_in_namespace(struct sweep *s)
{
    pid_t pid;

    fflush(NULL);
    pid = cmx_child_fork();
    if (pid == 0) {
        int fd = open("/run/netns/" GW_NETNS, O_RDONLY | O_CLOEXEC);
        _exit(fd >= 0 && setns(fd, CLONE_NEWNET) == 0 ? sweep_here(s) : errno);
    }
    return pid < 0 ? errno : cmx_child_wait(pid);
}

/* host: the host's address on the link; "::": connections to the host are not checked. */
static cmx_err sweep(const struct gw *g, const struct gw_allowed_list *allowed, const char *host, struct cmx_why *e)
{
    struct pair_list pairs;
    struct sweep s = {.allowed = &pairs, .fleet = &g->fleet};
    char gateway[GW_ADDRESS_MAX];
    int failed;
    cmx_err err = gw_party_gateway_identity(&g->fleet, gateway, e);

    if (!err && make_pairs(&pairs, allowed))
        err = cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    if (err)
        return err;
    inet_pton(AF_INET6, host, s.host);
    inet_pton(AF_INET6, gateway, s.gateway);
    failed = sweep_in_namespace(&s);
    cmx_mem_free(pairs.pairs);
    if (failed)
        return cmx_why_fail(e, CMX_EPERM,
                            "idle connections that are no longer allowed could not be ended (%s); the filter resets "
                            "them at their next packet",
                            failed > 0 && failed < 128 ? strerror(failed) : "the process that ends them was killed");
    return CMX_OK;
}

cmx_err gw_sweep(struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e)
{
    struct gw_link link;
    cmx_err err;

    if (access("/run/netns/" GW_NETNS, F_OK) != 0)
        return CMX_OK;
    err = gw_link_get(g, &link, e);
    return err ? err : sweep(g, allowed, link.host, e);
}

cmx_err gw_sweep_fleet(const struct gw *g, struct cmx_why *e)
{
    const struct gw_allowed_list none = {0};

    return sweep(g, &none, "::", e);
}
