#include "agent/ota/ota_runner.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"
#include "port/linux/child.h"

enum {
    TERM_MS = 2000, /* time from SIGTERM to SIGKILL */
    KILL_MS = 3000, /* longest wait after SIGKILL: a process in an uninterruptible call does not end */
    KILL_STEP_MS = 20,
    DRAIN_MAX = 64 * 1024, /* maximum number of bytes of output read at once: a pipe's capacity */
    AGENT_FD = 3           /* the runner's descriptor of the socket to the agent */
};

struct reply {
    cmx_err err;
    char line[RUNNER_LINE_MAX];
};

/* ---- in the runner: the output ---- */

/* Keeps the last line that is not empty. */
struct last_line {
    char kept[RUNNER_LINE_MAX], now[RUNNER_LINE_MAX];
    size_t n;
};

static void line_end(struct last_line *l)
{
    l->now[l->n] = '\0';
    if (l->n > 0)
        memcpy(l->kept, l->now, l->n + 1);
    l->n = 0;
}

/* Reads the available bytes. False: end of file. */
static bool line_read(struct last_line *l, int fd)
{
    char block[512];

    for (size_t total = 0; total < DRAIN_MAX;) {
        ssize_t got = read(fd, block, sizeof block);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 && errno == EAGAIN;
        for (ssize_t i = 0; i < got; i++) {
            if (block[i] == '\n')
                line_end(l);
            else if (l->n + 1 < sizeof l->now)
                l->now[l->n++] = cmx_text_printable(block[i]);
        }
        total += (size_t)got;
    }
    return true;
}

/* ---- in the runner: processes ---- */

static void close_from(int first)
{
    struct rlimit limit;

    if (syscall(SYS_close_range, (unsigned)first, ~0u, 0) == 0)
        return;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 65536)
        limit.rlim_cur = 65536;
    for (int fd = first; fd < (int)limit.rlim_cur; fd++)
        (void)close(fd);
}

/* Removes the agent's heap limit, which must not apply to the hook. */
static void unlimited_heap(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_DATA, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_DATA, &limit);
}

static void exec_command(const char *command, pid_t runner, int in, int out)
{
    if (!cmx_child_end_with(runner, SIGKILL))
        _exit(126);
    (void)setsid(); /* gives the hook its own process group, which can be signalled, and takes away the terminal */
    unlimited_heap();
    if (in < 0)
        in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
        _exit(126);
    close_from(3);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* Returns the parent of a process, from /proc/PID/stat ("PID (NAME) STATE PPID ..."). 0: the process has ended. */
static pid_t parent_of(const char *pid)
{
    char path[64], text[512];
    const char *after;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    after = strrchr(text, ')');
    return after && strlen(after) > 4 ? (pid_t)strtol(after + 4, NULL, 10) : 0;
}

/* Signals the hook's process group and every child of the runner. The runner is the subreaper, so it becomes the parent
 * of each descendant whose own parent has ended. */
static void signal_all(pid_t group, int sig)
{
    const pid_t self = getpid();
    const struct dirent *entry;
    DIR *proc;

    (void)kill(-group, sig);
    proc = opendir("/proc");
    while (proc && (entry = readdir(proc)) != NULL)
        if (isdigit((unsigned char)entry->d_name[0]) && parent_of(entry->d_name) == self)
            (void)kill((pid_t)strtol(entry->d_name, NULL, 10), sig);
    if (proc)
        closedir(proc);
}

/* Reaps the children that have ended. If pid is one of them, sets *status and *ended. False: there is no child left. */
static bool reap(pid_t pid, int *status, bool *ended)
{
    int s;
    pid_t p;

    while ((p = waitpid(-1, &s, WNOHANG)) > 0)
        if (p == pid) {
            *status = s;
            *ended = true;
        }
    return p == 0;
}

/* Ends the remaining processes of a hook. */
static void end_all(pid_t group)
{
    int status, waited = 0;
    bool ended;

    if (!reap(0, &status, &ended))
        return;
    signal_all(group, SIGTERM);
    while (reap(0, &status, &ended) && waited < TERM_MS + KILL_MS) {
        if (waited >= TERM_MS)
            signal_all(group, SIGKILL);
        cmx_port_sleep_ms(KILL_STEP_MS);
        waited += KILL_STEP_MS;
    }
}

/* ---- in the runner: one hook ---- */

static bool agent_gone(void)
{
    char byte;
    ssize_t n = recv(AGENT_FD, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* Waits until the command itself exits. CMX_ETIMEOUT: limit_ms has passed; CMX_ECLOSED: the agent has ended. */
static cmx_err wait_for_exit(pid_t pid, int children, int out, uint64_t limit_ms, int *status, struct last_line *line)
{
    const uint64_t start = cmx_port_now_ms();
    struct signalfd_siginfo info;
    bool ended = false;

    for (;;) {
        struct pollfd p[] = {
            {.fd = AGENT_FD, .events = POLLIN}, {.fd = children, .events = POLLIN}, {.fd = out, .events = POLLIN}};
        const uint64_t took = cmx_port_now_ms() - start;

        if (took >= limit_ms)
            return CMX_ETIMEOUT;
        (void)poll(p, 3, limit_ms - took < 60000 ? (int)(limit_ms - took) : 60000);
        if (p[2].revents && !line_read(line, out))
            out = -1;
        if (p[1].revents) {
            (void)!read(children, &info, sizeof info);
            (void)reap(pid, status, &ended);
            if (ended)
                break;
        }
        if (p[0].revents && agent_gone())
            return CMX_ECLOSED;
    }
    if (out >= 0)
        (void)line_read(line, out); /* reads only what is available: descendants may hold the pipe open */
    return CMX_OK;
}

/* Runs one hook. Returns its process group, in which processes may still run; 0: no process was started. */
static pid_t run_hook(const struct runner_command *c, int children, int in, struct reply *reply)
{
    struct last_line line = {.n = 0};
    const pid_t self = getpid();
    int out[2], status = 0;
    pid_t pid;

    *reply = (struct reply){.err = CMX_OK};
    if (!c->text)
        return 0;
    reply->err = CMX_EIO;
    if (pipe2(out, O_CLOEXEC) != 0)
        return 0;
    (void)fcntl(out[0], F_SETFL, O_NONBLOCK);
    pid = cmx_child_fork();
    if (pid == 0)
        exec_command(c->text, self, in, out[1]);
    close(out[1]);
    if (pid > 0) {
        reply->err = wait_for_exit(pid, children, out[0], c->limit_ms, &status, &line);
        if (!reply->err && status != 0)
            reply->err = CMX_EPERM;
        line_end(&line);
        memcpy(reply->line, line.kept, sizeof reply->line);
    }
    close(out[0]);
    return pid > 0 ? pid : 0;
}

/* Receives one request: the hook's number, and perhaps a descriptor. False: the agent has ended. */
static bool receive(uint8_t *hook, int *in)
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
        n = recvmsg(AGENT_FD, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        return false;
    c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(in, CMSG_DATA(c), sizeof *in);
    return true;
}

/* Ignores SIGTERM, SIGINT and SIGHUP, which a terminal or systemd sends to both the agent and the runner. The runner
 * must end only when the agent does. Returns a signalfd for SIGCHLD. */
static int take_signals(void)
{
    sigset_t set;

    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_SETMASK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The runner's main function; does not return. Closes all descriptors but the socket and the standard ones, because
 * copies of the agent's control socket and spool would outlive the agent. */
static void serve(int fd, const struct runner_command command[RUNNER_HOOKS])
{
    struct reply reply;
    uint8_t hook;
    int in, children;

    if (fd != AGENT_FD && dup2(fd, AGENT_FD) < 0)
        _exit(1);
    close_from(AGENT_FD + 1);
    (void)fcntl(AGENT_FD, F_SETFD, FD_CLOEXEC);
    (void)prctl(PR_SET_DUMPABLE, 0); /* the runner's memory is a copy of the agent's, which holds credentials */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    children = take_signals();
    while (children >= 0 && receive(&hook, &in)) {
        pid_t group = 0;

        if (hook < RUNNER_HOOKS)
            group = run_hook(&command[hook], children, in, &reply);
        else
            reply = (struct reply){.err = CMX_EINVAL};
        if (in >= 0)
            close(in);
        if (group > 0 && reply.err != CMX_OK)
            end_all(group);
        if (send(AGENT_FD, &reply, sizeof reply, MSG_NOSIGNAL) != (ssize_t)sizeof reply)
            break;
        /* After a success the reply comes first, so that the caller does not wait for processes that the hook left
         * behind. */
        if (group > 0 && reply.err == CMX_OK)
            end_all(group);
    }
    _exit(0);
}

/* ---- in the agent ---- */

cmx_err ota_runner_start(struct runner *r, const struct runner_command command[RUNNER_HOOKS])
{
    int pair[2];

    *r = (struct runner){.fd = -1};
    for (int i = 0; i < RUNNER_HOOKS; i++)
        r->limit_ms[i] = command[i].limit_ms;
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

cmx_err ota_runner_call(struct runner *r, runner_hook hook, int in, char *line, size_t cap)
{
    static const char *const names[RUNNER_HOOKS] = {"install", "confirm", "rollback", "restart", "version"};
    struct reply reply = {.err = CMX_EIO};
    ssize_t n = 0;

    if (r->fd >= 0 && request(r->fd, (uint8_t)hook, in) == CMX_OK)
        do
            n = recv(r->fd, &reply, sizeof reply, 0);
        while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof reply) {
        snprintf(line, cap, "the %s hook was not run: %s", names[hook],
                 r->aborted ? "the agent is stopping" : "the process for hooks has ended; restart the agent");
        return CMX_EIO;
    }
    reply.line[sizeof reply.line - 1] = '\0';
    if (reply.err == CMX_OK)
        snprintf(line, cap, "%s", reply.line);
    else if (reply.err == CMX_ETIMEOUT)
        snprintf(line, cap, "the %s hook was ended after %llu s%s%s", names[hook],
                 (unsigned long long)(r->limit_ms[hook] / 1000), reply.line[0] ? ": " : "", reply.line);
    else
        snprintf(line, cap, "the %s hook failed%s%s", names[hook], reply.line[0] ? ": " : "", reply.line);
    return reply.err == CMX_ECLOSED ? CMX_EIO : reply.err;
}

void ota_runner_abort(struct runner *r)
{
    r->aborted = true;
    if (r->fd >= 0)
        (void)shutdown(r->fd, SHUT_WR); /* the runner reads an end of file and ends the hook */
}

void ota_runner_stop(struct runner *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    (void)cmx_child_wait(r->pid);
    r->pid = 0;
}
