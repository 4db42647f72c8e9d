#include "ota_runner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE_MAX_ = 160 };

struct reply {
    int status; /* of waitpid */
    char line[LINE_MAX_];
};

/* ---- in the runner ---- */

/* Keeps the last line that is not empty. */
static void last_line(int fd, char line[LINE_MAX_])
{
    char now[LINE_MAX_] = "", c;
    size_t n = 0;
    ssize_t got;

    line[0] = '\0';
    for (;;) {
        got = read(fd, &c, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || c == '\n') {
            now[n] = '\0';
            if (n > 0)
                memcpy(line, now, n + 1);
            n = 0;
            if (got <= 0)
                return;
        } else if (n + 1 < sizeof now) {
            now[n++] = c >= 0x20 && c < 0x7f ? c : '?';
        }
    }
}

static void run_command(const char *command, int in, int out)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (in < 0)
        in = open("/dev/null", O_RDONLY);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
        _exit(126);
    (void)close_range(3, ~0u, 0);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static void run_hook(const char *command, int in, struct reply *reply)
{
    int out[2];
    pid_t pid;

    memset(reply, 0, sizeof *reply);
    if (!command)
        return;
    reply->status = -1;
    if (pipe2(out, O_CLOEXEC) != 0)
        return;
    pid = fork();
    if (pid == 0)
        run_command(command, in, out[1]);
    close(out[1]);
    if (pid > 0) {
        last_line(out[0], reply->line);
        while (waitpid(pid, &reply->status, 0) < 0 && errno == EINTR)
            ;
    }
    close(out[0]);
}

/* One request: the hook's number, and perhaps a descriptor. False: the agent is gone. */
static bool receive(int fd, uint8_t *hook, int *in)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {hook, 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c;
    ssize_t n;

    *in = -1;
    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        return false;
    c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(in, CMSG_DATA(c), sizeof *in);
    return true;
}

static void serve(int fd, const char *const command[RUNNER_HOOKS])
{
    struct reply reply;
    uint8_t hook;
    int in;

    signal(SIGINT, SIG_IGN); /* the terminal's goes to the agent, whose end ends this loop */
    signal(SIGTERM, SIG_IGN);
    (void)prctl(PR_SET_DUMPABLE, 0); /* it was forked from a process that holds credentials */
    while (receive(fd, &hook, &in)) {
        if (hook < RUNNER_HOOKS)
            run_hook(command[hook], in, &reply);
        else
            reply = (struct reply){.status = -1};
        if (in >= 0)
            close(in);
        if (send(fd, &reply, sizeof reply, MSG_NOSIGNAL) != (ssize_t)sizeof reply)
            break;
    }
    _exit(0);
}

/* ---- in the agent ---- */

cmx_err runner_start(struct runner *r, const char *const command[RUNNER_HOOKS])
{
    int pair[2];

    r->fd = -1;
    r->pid = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return CMX_EIO;
    r->pid = fork();
    if (r->pid == 0) {
        close(pair[0]);
        serve(pair[1], command);
    }
    close(pair[1]);
    if (r->pid < 0) {
        close(pair[0]);
        r->pid = 0;
        return CMX_EIO;
    }
    r->fd = pair[0];
    return CMX_OK;
}

static cmx_err request(int fd, uint8_t hook, int in)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {&hook, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    memset(&control, 0, sizeof control);
    if (in >= 0) {
        struct cmsghdr *c;

        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof in);
        memcpy(CMSG_DATA(c), &in, sizeof in);
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL) == 1 ? CMX_OK : CMX_EIO;
}

cmx_err runner_call(struct runner *r, runner_hook hook, int in, char *line, size_t cap)
{
    struct reply reply;
    ssize_t n;

    line[0] = '\0';
    if (r->fd < 0 || request(r->fd, (uint8_t)hook, in) != CMX_OK)
        return CMX_EIO;
    do
        n = recv(r->fd, &reply, sizeof reply, 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof reply)
        return CMX_EIO;
    reply.line[sizeof reply.line - 1] = '\0';
    snprintf(line, cap, "%s", reply.line);
    return reply.status == 0 ? CMX_OK : CMX_EPERM;
}

void runner_stop(struct runner *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    if (r->pid > 0)
        while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    r->pid = 0;
}
