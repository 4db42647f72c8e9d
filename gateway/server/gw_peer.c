#include "gateway/server/gw_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/net.h"
#include "gateway/render/gw_nft.h"
#include "gateway/server/gw_client.h"

#define ANSWER_MS (GW_PROBE_MAX_MS + 1000) /* includes the time in which the other node probes its session */
#define PEER_CLIENTS_MAX 256
#define ASK "takeover "
#define HELD "held\n"
#define FREE "free\n"
#define ANSWER_LEN 5 /* length of HELD and of FREE */

int gw_peer_connect(const char *source, const char *target, uint16_t port)
{
    struct addrinfo *from = NULL;
    struct addrinfo *to = NULL;
    int fd = -1;

    if (cmx_net_resolve(target, port, AI_NUMERICHOST, &to) == CMX_OK &&
        (!source[0] || cmx_net_resolve(source, 0, AI_NUMERICHOST, &from) == CMX_OK))
        fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && ((from && bind(fd, from->ai_addr, from->ai_addrlen) != 0) ||
                    (connect(fd, to->ai_addr, to->ai_addrlen) != 0 && errno != EINPROGRESS))) {
        close(fd);
        fd = -1;
    }
    if (from)
        freeaddrinfo(from);
    if (to)
        freeaddrinfo(to);
    return fd;
}

void gw_peer_open(struct gw_server *s)
{
    struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_port = htons(GW_NFT_NODE_PORT)};
    int one = 1;
    int fd;

    if (s->peers.fd >= 0 || !s->nodes.own || inet_pton(AF_INET6, s->nodes.own->link, &own.sin6_addr) != 1)
        return;
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    s->peers.fd = fd;
    if (bind(fd, (const struct sockaddr *)&own, sizeof own) == 0 && listen(fd, PEER_CLIENTS_MAX) == 0 &&
        gw_watch_add(s->epoll, &s->peers))
        return;
    gw_note("other gateways can't ask this one about its sessions (%s)", strerror(errno));
    close(fd);
    s->peers.fd = -1;
}

void gw_peer_accept(struct gw_server *s)
{
    struct gw_client *c;
    size_t n = 0;
    int fd = accept4(s->peers.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        gw_client_accept_failed(s);
        return;
    }
    for (const struct gw_client *o = s->clients; o; o = o->next)
        n += o->node;
    if (n >= PEER_CLIENTS_MAX) {
        close(fd);
        return;
    }
    c = gw_client_add(s, fd);
    if (!c)
        return;
    c->node = true;
    c->deadline_ms = cmx_port_now_ms() + 2 * ANSWER_MS;
}

/* Returns the address in a "takeover" request; "" for any other request. */
static const char *asked_address(const struct gw_client *c)
{
    return strncmp(c->request, ASK, strlen(ASK)) == 0 ? c->request + strlen(ASK) : "";
}

const struct gw_session *gw_peer_subject(const struct gw_server *s, const struct gw_client *c)
{
    const char *address = asked_address(c);

    for (const struct gw_session *x = s->sessions; x; x = x->next)
        if (x->up && !x->ending && x->holds && strcmp(x->address, address) == 0)
            return x;
    return NULL;
}

void gw_peer_answer(const struct gw_server *s, const struct gw_client *c)
{
    const char *address = asked_address(c);
    struct gw_listeners l;
    struct gw_forward f;
    bool held = false;

    if (!c->node || !address[0])
        return;
    gw_listeners_read(&l);
    for (const struct gw_session *x = s->sessions; x && !held; x = x->next)
        held = x->holds && strcmp(x->address, address) == 0 && gw_session_forwards(x, &l, &f, 1) > 0;
    gw_listeners_free(&l);
    /* A failure is ignored: the other node has then disconnected. */
    (void)send(c->watch.fd, held ? HELD : FREE, ANSWER_LEN, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- asking the node that holds an identity ---- */

void gw_peer_ask(const struct gw_server *s, struct gw_client *c, struct gw_session *x)
{
    uint8_t address[CMX_IPV6_LEN];
    const struct gw_node *node = NULL;
    unsigned number;
    int fd;

    if (!s->nodes.own || strcmp(x->asked, x->candidate) == 0 || inet_pton(AF_INET6, x->address, address) != 1)
        return;
    snprintf(x->asked, sizeof x->asked, "%s", x->candidate);
    x->held_by = 0;
    number = gw_remote_node(address);
    for (size_t i = 0; i < s->nodes.n; i++)
        if (s->nodes.list[i].number == number)
            node = &s->nodes.list[i];
    fd = node ? gw_peer_connect(s->nodes.own->link, node->link, GW_NFT_NODE_PORT) : -1;
    if (fd < 0)
        return;
    c->question = (struct gw_question){
        .fd = fd, .session = x->number, .node = number, .deadline_ms = cmx_port_now_ms() + ANSWER_MS};
}

static bool would_block(ssize_t n)
{
    return n < 0 && (errno == EAGAIN || errno == ENOTCONN || errno == EINPROGRESS);
}

/* If the other gateway does not answer in time, the login continues as if that gateway had no live session. */
bool gw_peer_tick(const struct gw_server *s, struct gw_client *c)
{
    struct gw_question *q = &c->question;
    struct gw_session *x;
    bool waits = false;
    char line[80];
    int len;
    ssize_t n = -1;

    if (q->fd < 0)
        return false;
    x = gw_session_numbered(s, q->session);
    if (x && !q->sent) {
        len = snprintf(line, sizeof line, ASK "%s\n", x->address);
        n = send(q->fd, line, (size_t)len, MSG_NOSIGNAL);
        q->sent = n == len;
        waits = q->sent || would_block(n);
    } else if (x) {
        n = recv(q->fd, line, ANSWER_LEN, MSG_PEEK); /* the answer may arrive in parts */
        waits = would_block(n) || (n > 0 && n < ANSWER_LEN);
    }
    if (waits && cmx_port_now_ms() < q->deadline_ms)
        return true;
    if (x && n == ANSWER_LEN && memcmp(line, HELD, ANSWER_LEN) == 0)
        x->held_by = q->node;
    close(q->fd);
    q->fd = -1;
    return false;
}
