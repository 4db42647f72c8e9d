#include "gateway/server/gw_report.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/server/gw_access_read.h"
#include "port/linux/child.h"

#define SILENCE_S 5
#define TOTAL_S 60
#define FOLLOW_MS 300

static void send_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n <= 0)
            _exit(EXIT_FAILURE); /* the other gateway disconnected, or does not read */
        text += n;
        len -= (size_t)n;
    }
}

static void send_lines(struct gw_access_reader *r, int fd, int64_t since_ms)
{
    char line[GW_ACCESS_LINE_MAX];

    while (gw_access_read_line(r, line)) {
        const char *at = strstr(line, "\"at\":");

        if (at && strtoll(at + strlen("\"at\":"), NULL, 10) >= since_ms)
            send_all(fd, line, strlen(line));
    }
}

/* Closes every descriptor except the connection to the other gateway, stdout and stderr. A session's connection would
 * otherwise stay open here after the session has ended. */
static int keep_connection(const struct gw_client *c)
{
    static const struct timeval patience = {.tv_sec = SILENCE_S};
    int fd = dup2(c->watch.fd, STDIN_FILENO);

    if (fd < 0 || close_range(STDERR_FILENO + 1, ~0u, 0) != 0)
        _exit(EXIT_FAILURE);
    fcntl(fd, F_SETFL, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

bool gw_report_start(struct gw_server *s, const struct gw_client *c, bool follows)
{
    pid_t *slot = NULL;
    pid_t parent = getpid();
    size_t end = follows ? GW_COUNT(s->reports) : GW_PEER_REPORTS_MAX;

    for (size_t i = follows ? GW_PEER_REPORTS_MAX : 0; i < end && !slot; i++)
        slot = s->reports[i] ? NULL : &s->reports[i];
    if (!slot)
        return false; /* the connection is closed without an answer; the operator may ask again */
    fflush(NULL);
    *slot = cmx_child_fork();
    if (*slot == 0) {
        if (!cmx_child_end_with(parent, SIGKILL))
            _exit(EXIT_FAILURE);
        alarm(follows ? 0 : TOTAL_S);
        return true;
    }
    if (*slot < 0)
        *slot = 0;
    /* Closing the descriptor would not end epoll's watch, because the new process keeps its copy open. */
    (void)epoll_ctl(s->epoll, EPOLL_CTL_DEL, c->watch.fd, NULL);
    return false;
}

_Noreturn void gw_report_text(const struct gw_client *c, const char *text, size_t len)
{
    int fd = keep_connection(c);

    send_all(fd, text, len);
    _exit(EXIT_SUCCESS);
}

/* The process ends when the connection is lost, or when the other gateway acknowledges nothing for SILENCE_S. */
_Noreturn void gw_report_follow(const struct gw_server *s, const struct gw_client *c)
{
    static const unsigned silence_ms = SILENCE_S * 1000;
    int64_t since_ms = strtoll(c->request + strlen(GW_REPORT_FOLLOW), NULL, 10);
    int fd = keep_connection(c);
    struct gw_access_reader r;

    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof silence_ms);
    for (gw_access_read_begin(&r, s->g);; since_ms = 0) {
        send_lines(&r, fd, since_ms);
        send_all(fd, "\n", 1);
        usleep(FOLLOW_MS * 1000);
    }
}

void gw_report_ended(struct gw_server *s, pid_t pid)
{
    for (size_t i = 0; i < GW_COUNT(s->reports); i++)
        if (s->reports[i] == pid)
            s->reports[i] = 0;
}
