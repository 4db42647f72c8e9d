/* Sends any bytes to the running gateway: as the request of a client that is not root (a compromised sshd), as the
 * request of another gateway, or as another gateway's answer. A request must not change a session, or anything that
 * only root may change. The request's first line alone decides which answer it gets, no matter in which pieces the
 * bytes arrive. What the gateway logs, and what it later answers to the operator, must be printable. The first byte of
 * the input chooses the sender; the second byte is the length of the first piece. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cli/common/json_get.h"
#include "cmxsafe/core/mem.h"
#include "fuzz/must.h"
#include "gateway/server/gw_client.h"
#include "gateway/server/gw_peer.h"
#include "port/linux/stderr_line.h"

#define ADDRESS "fd12::5"
#define FINGERPRINT "SHA256:live"
#define NO_PROCESS 0x3fffffff /* larger than any process id */
#define NODE 7

enum { LOGGING_IN = 1, LIVE, SESSIONS = LIVE };

static struct gw folder = {.dir = "/nonexistent-cmxsafe", .simple = true};
static struct gw_server server;
static struct gw_session sessions[SESSIONS];

void __wrap_cmx_stderr_line(const char *prefix, const char *line);

void __wrap_cmx_stderr_line(const char *prefix, const char *line)
{
    must_print(prefix);
    must_print(line);
}

/* Opens a port in this process, which stands for the child of the live session: the session then holds the port. */
static void open_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1) == 0);
}

static void set_up(void)
{
    static int epoll = -1;

    if (epoll < 0) {
        open_port();
        epoll = epoll_create1(EPOLL_CLOEXEC);
    }
    memset(&server, 0, sizeof server);
    memset(sessions, 0, sizeof sessions);
    server.g = &folder;
    server.epoll = epoll;
    server.ruleset = -1;
    server.sessions = sessions;
    /* All slots for processes that send long answers are in use, so that the gateway starts no such process. */
    for (size_t i = 0; i < GW_COUNT(server.reports); i++)
        server.reports[i] = NO_PROCESS;
    for (size_t i = 0; i < SESSIONS; i++) {
        sessions[i].number = i + 1;
        sessions[i].next = i + 1 < SESSIONS ? &sessions[i + 1] : NULL;
        sessions[i].tcp = sessions[i].watch.fd = -1;
        sessions[i].pid = NO_PROCESS;
    }
    sessions[LIVE - 1].up = sessions[LIVE - 1].holds = true;
    sessions[LIVE - 1].child = getpid();
    strcpy(sessions[LIVE - 1].address, ADDRESS);
    strcpy(sessions[LIVE - 1].fingerprint, FINGERPRINT);
    strcpy(sessions[LIVE - 1].name, "cam-1");
}

static void free_history(void)
{
    struct gw_history *next;

    for (struct gw_history *h = server.history; h; h = next) {
        next = h->next;
        cmx_mem_free(h);
    }
}

static void connect_pair(int pair[2])
{
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    must(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
}

/* Sends the bytes in two pieces, the first of `first` bytes. Stores the gateway's answer as text in `answer`. */
static void exchange(struct gw_client who, const uint8_t *data, size_t size, size_t first, char *answer, size_t cap)
{
    struct gw_client *c;
    int pair[2];
    size_t got = 0;
    ssize_t n;

    connect_pair(pair);
    c = gw_client_add(&server, pair[0]);
    must(c != NULL);
    c->session = who.session;
    c->root = who.root;
    c->node = who.node;
    if (first && first < size) {
        must(send(pair[1], data, first, MSG_NOSIGNAL) == (ssize_t)first);
        gw_control_readable(&server, c);
    } else {
        first = 0;
    }
    if (server.clients && size > first) {
        must(send(pair[1], data + first, size - first, MSG_NOSIGNAL) == (ssize_t)(size - first));
        gw_control_readable(&server, c);
    }
    shutdown(pair[1], SHUT_WR);
    if (server.clients)
        gw_control_readable(&server, c);
    must(!server.clients);
    while (got < cap - 1 && (n = recv(pair[1], answer + got, cap - 1 - got, 0)) > 0)
        got += (size_t)n;
    answer[got] = '\0';
    must(strlen(answer) == got);
    close(pair[1]);
}

static const char *expected_answer(bool node, const char *line)
{
    if (!node)
        return strncmp(line, "certificate ", 12) == 0 ? "refused\n" : "";
    if (strncmp(line, "takeover ", 9) != 0 || !line[9])
        return "";
    return strcmp(line + 9, ADDRESS) == 0 ? "held\n" : "free\n";
}

/* Copies the first line. Copies nothing if the line has no end or contains a NUL. */
static void first_line(const uint8_t *data, size_t size, char *out, size_t cap)
{
    const uint8_t *end = memchr(data, '\n', size < cap - 1 ? size : cap - 1);

    out[0] = '\0';
    if (end && !memchr(data, 0, (size_t)(end - data))) {
        memcpy(out, data, (size_t)(end - data));
        out[end - data] = '\0';
    }
}

static void check_operator(const char *request)
{
    static char answer[1 << 18];

    exchange((struct gw_client){.root = true}, (const uint8_t *)request, strlen(request), 0, answer, sizeof answer);
    must(json_is_whole(answer) && answer[strlen(answer) - 1] == '\n');
    answer[strlen(answer) - 1] = '\0';
    must_print(answer);
}

static void check_request(const struct gw_client *who, const uint8_t *data, size_t size, size_t first)
{
    static char line[sizeof who->request];
    struct gw_session before[SESSIONS];
    char answer[64];

    first_line(data, size, line, sizeof line);
    set_up();
    memcpy(before, sessions, sizeof before);
    exchange(*who, data, size, first, answer, sizeof answer);
    must(strcmp(answer, expected_answer(who->node, line)) == 0);
    if (who->session == LOGGING_IN) { /* a look-up of a key may change these members, which only hinder its own login */
        sessions[LOGGING_IN - 1].lookups = 0;
        sessions[LOGGING_IN - 1].sshd_line = 0;
    }
    must(memcmp(before, sessions, sizeof before) == 0);
    must(!server.stopping && !server.failed && !server.judged_ms && !server.queues.reported_ms);
    must(strlen(server.trouble) < sizeof server.trouble);
    must(!server.trouble[0] || who->session == LOGGING_IN);
    must(!server.pending.order || strncmp(line, "unknown ", 8) == 0);
    check_operator("pending\n");
    check_operator("traffic\n");
    check_operator("journal 0\n");
    free_history();
}

/* Reads the bytes as another gateway's answer. */
static void check_answer(const uint8_t *data, size_t size, size_t first)
{
    struct gw_client c = {.question = {.sent = true, .session = LOGGING_IN, .node = NODE, .deadline_ms = UINT64_MAX}};
    bool held = size >= 5 && memcmp(data, "held\n", 5) == 0;
    int pair[2];

    set_up();
    connect_pair(pair);
    c.question.fd = pair[0];
    first = first < size ? first : size;
    must(write(pair[1], data, first) == (ssize_t)first);
    if (gw_peer_tick(&server, &c)) {
        must(first < 5);
        must(write(pair[1], data + first, size - first) == (ssize_t)(size - first));
        c.question.deadline_ms = 0;
        must(!gw_peer_tick(&server, &c));
    }
    must(c.question.fd == -1 && sessions[0].held_by == (held ? NODE : 0) && !sessions[LIVE - 1].held_by);
    close(pair[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct gw_client clients[] = {
        {.session = LOGGING_IN}, {.session = LIVE}, {.session = 0}, {.node = true}};
    unsigned kind;

    if (size < 2)
        return 0;
    kind = data[0] % 5;
    if (kind == GW_COUNT(clients))
        check_answer(data + 2, size - 2, data[1]);
    else
        check_request(&clients[kind], data + 2, size - 2, data[1]);
    return 0;
}
