#include "cli/gateway/gw_fleet_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/port/port.h"
#include "gateway/render/gw_nft.h"
#include "gateway/server/gw_control.h"
#include "gateway/server/gw_peer.h"

#define SILENCE_MS 3000
#define TOTAL_MS 30000
#define ANSWER_END "]}\n"

struct asking {
    int fd; /* -1: the exchange has ended */
    bool sent;
    bool too_long;
    uint64_t deadline_ms;
    FILE *f;
    char *text;
    size_t len;
};

int gw_fleet_connect(gid_t gid, const char *source, const char *target, uint16_t port)
{
    int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int inside = open("/run/netns/" GW_NETNS, O_RDONLY | O_CLOEXEC);
    gid_t own = getegid();
    int fd = -1;

    /* Enters the fleet's namespace only to create the socket: the socket then stays in that namespace. */
    if (here >= 0 && inside >= 0 && setns(inside, CLONE_NEWNET) == 0) {
        if (setegid(gid) == 0)
            fd = gw_peer_connect(source, target, port);
        if (setegid(own) != 0 || setns(here, CLONE_NEWNET) != 0)
            _exit(EXIT_FAILURE); /* the command must not continue in the wrong namespace */
    }
    if (here >= 0)
        close(here);
    if (inside >= 0)
        close(inside);
    return fd;
}

int gw_fleet_connect_node(const struct gw_nodes *nodes, const struct gw_node *node)
{
    return gw_fleet_connect(getegid(), nodes->own->link, node->link, GW_NFT_NODE_PORT);
}

static void connect_all(struct asking *list, const struct gw_nodes *nodes)
{
    for (size_t i = 0; i < nodes->n; i++) {
        list[i] = (struct asking){.fd = -1, .deadline_ms = cmx_port_now_ms() + SILENCE_MS};
        if (&nodes->list[i] != nodes->own)
            list[i].fd = gw_fleet_connect_node(nodes, &nodes->list[i]);
        if (list[i].fd >= 0)
            list[i].f = open_memstream(&list[i].text, &list[i].len);
    }
}

static void finish(struct asking *a)
{
    close(a->fd);
    a->fd = -1;
}

static void move_on(struct asking *a, const char *question)
{
    char piece[16384];
    ssize_t n;

    if (!a->sent) {
        a->sent = send(a->fd, question, strlen(question), MSG_NOSIGNAL) == (ssize_t)strlen(question);
        if (!a->sent)
            finish(a);
        return;
    }
    n = recv(a->fd, piece, sizeof piece, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    a->too_long = n > 0 && a->f && ftell(a->f) > (long)GW_ANSWER_MAX;
    if (n <= 0 || !a->f || a->too_long || fwrite(piece, 1, (size_t)n, a->f) != (size_t)n)
        finish(a);
    a->deadline_ms = cmx_port_now_ms() + SILENCE_MS;
}

/* Continues all exchanges for up to 100 ms. False: all of them have ended. */
static bool wait_some(struct asking *list, size_t n, const char *question)
{
    struct pollfd p[GW_NODES_MAX];
    size_t of[GW_NODES_MAX];
    nfds_t waiting = 0;

    for (size_t i = 0; i < n; i++) {
        if (list[i].fd >= 0 && cmx_port_now_ms() >= list[i].deadline_ms)
            finish(&list[i]);
        if (list[i].fd < 0)
            continue;
        p[waiting] = (struct pollfd){.fd = list[i].fd, .events = list[i].sent ? POLLIN : POLLOUT};
        of[waiting++] = i;
    }
    if (waiting == 0)
        return false;
    if (poll(p, waiting, 100) > 0)
        for (nfds_t i = 0; i < waiting; i++)
            if (p[i].revents)
                move_on(&list[of[i]], question);
    return true;
}

/* True if the whole answer has arrived. */
static bool is_complete(const struct asking *a)
{
    const size_t end = strlen(ANSWER_END);

    return a->text && a->len >= end && memcmp(a->text + a->len - end, ANSWER_END, end) == 0;
}

/* Ends the exchange and passes a complete answer to the reader. */
static void take_answer(struct asking *asked, gw_fleet_reader reader, struct gw_fleet_answer *out)
{
    size_t len = 0;
    FILE *f;
    cmx_err err;

    if (asked->fd >= 0)
        finish(asked);
    if (asked->f)
        fclose(asked->f); /* if fclose fails, is_complete finds that the text is cut */
    out->malformed = asked->too_long;
    if (!asked->too_long && is_complete(asked)) {
        f = open_memstream(&out->text, &len);
        /* The reader stops at a NUL, so an answer that contains a NUL is refused. */
        err = !f                                  ? CMX_ENOMEM
              : strlen(asked->text) != asked->len ? CMX_EFORMAT
                                                  : reader(asked->text, f, &out->malformed);
        if (f && fclose(f) != 0 && !err)
            err = CMX_ENOMEM;
        if (err) {
            free(out->text); /* allocated by open_memstream */
            out->text = NULL;
            out->malformed = err == CMX_EFORMAT;
        }
    }
    free(asked->text); /* allocated by open_memstream */
}

void gw_fleet_ask(struct gw *g, const char *question, gw_fleet_reader reader, struct gw_fleet_answers *out)
{
    struct asking list[GW_NODES_MAX];
    struct cmx_why e = {0};
    uint64_t deadline = cmx_port_now_ms() + TOTAL_MS;

    memset(out, 0, sizeof *out);
    if (g->user || g->simple || gw_nodes_read(&g->registry, &g->fleet, &out->nodes, &e) || !out->nodes.own)
        return;
    connect_all(list, &out->nodes);
    while (wait_some(list, out->nodes.n, question) && cmx_port_now_ms() < deadline)
        ;
    for (size_t i = 0; i < out->nodes.n; i++) {
        if (&out->nodes.list[i] == out->nodes.own)
            continue;
        out->list[out->n].node = &out->nodes.list[i];
        take_answer(&list[i], reader, &out->list[out->n++]);
    }
}

void gw_fleet_warn(const struct gw_fleet_answers *a, const char *what)
{
    static const char todo[] = "check that gateway: its program may have been replaced";

    for (size_t i = 0; i < a->n; i++) {
        const char *name = a->list[i].node->name;

        if (a->list[i].text && a->list[i].malformed)
            fprintf(stderr, "cmxsafe: %s of the gateway %s are left out because they are malformed (%zu); %s\n", what,
                    name, a->list[i].malformed, todo);
        else if (a->list[i].malformed)
            fprintf(stderr, "cmxsafe: the answer from the gateway %s is malformed, so its %s are missing; %s\n", name,
                    what, todo);
        else if (!a->list[i].text)
            fprintf(stderr,
                    "cmxsafe: the gateway %s does not answer, so its %s are missing; see 'cmxsafe gateway "
                    "nodes'\n",
                    name, what);
    }
}

void gw_fleet_free(struct gw_fleet_answers *a)
{
    for (size_t i = 0; i < a->n; i++)
        free(a->list[i].text); /* allocated by open_memstream */
    a->n = 0;
}
