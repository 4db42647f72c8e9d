#include "gateway/server/gw_report.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/server/gw_access_log.h"

#define SILENCE_S 5
#define TOTAL_S 60

static void send_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n <= 0)
            _exit(EXIT_FAILURE); /* the node left, or does not read */
        text += n;
        len -= (size_t)n;
    }
}

static void send_file(int fd, FILE *f, int64_t since_ms)
{
    char line[1024];

    while (fgets(line, sizeof line, f)) {
        const char *at = strstr(line, "\"at\":");

        if (at && strchr(line, '\n') && strtoll(at + strlen("\"at\":"), NULL, 10) >= since_ms)
            send_all(fd, line, strlen(line));
    }
}

/* All files are opened first, because the log may be rotated meanwhile. */
static void send_access(const struct gw *g, int fd, int64_t since_ms)
{
    char path[GW_PATH_MAX];
    FILE *files[GW_ACCESS_FILES];

    for (unsigned n = 0; n < GW_ACCESS_FILES; n++)
        files[n] = fopen(gw_access_path(g, n, path), "re");
    for (unsigned n = GW_ACCESS_FILES; n-- > 0;)
        if (files[n]) {
            send_file(fd, files[n], since_ms);
            fclose(files[n]);
        }
    send_all(fd, GW_REPORT_END, strlen(GW_REPORT_END));
}

/* The process closes everything except the node's connection, so that sessions can end while it runs. */
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

bool gw_report_start(struct gw_server *s, const struct gw_client *c)
{
    pid_t *slot = NULL;
    sigset_t none;

    for (size_t i = 0; i < GW_PEER_REPORTS_MAX && !slot; i++)
        slot = s->reports[i] ? NULL : &s->reports[i];
    if (!slot)
        return false; /* closes without an answer; the operator may ask again */
    fflush(NULL);
    *slot = fork();
    if (*slot == 0) {
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(TOTAL_S);
        return true;
    }
    if (*slot < 0)
        *slot = 0;
    (void)epoll_ctl(s->epoll, EPOLL_CTL_DEL, c->watch.fd, NULL); /* the process keeps the connection open */
    return false;
}

_Noreturn void gw_report_status(const struct gw_client *c, const char *text, size_t len)
{
    int fd = keep_connection(c);

    send_all(fd, text, len);
    _exit(EXIT_SUCCESS);
}

_Noreturn void gw_report_access(const struct gw_server *s, const struct gw_client *c)
{
    int fd = keep_connection(c);

    send_access(s->g, fd, strtoll(c->request + strlen(GW_REPORT_ACCESS), NULL, 10));
    _exit(EXIT_SUCCESS);
}

void gw_report_ended(struct gw_server *s, pid_t pid)
{
    for (size_t i = 0; i < GW_PEER_REPORTS_MAX; i++)
        if (s->reports[i] == pid)
            s->reports[i] = 0;
}
