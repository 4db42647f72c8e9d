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
#include "port/linux/file_read.h"

enum {
    TERM_MS = 2000, /* time from SIGTERM to SIGKILL */
    KILL_MS = 3000, /* longest wait after SIGKILL: a process in an uninterruptible call does not end */
    KILL_STEP_MS = 20,
    RESTORE_MS = 10000,    /* longest wait for a new runner, which starts after the old one's processes are ended */
    DRAIN_MAX = 64 * 1024, /* maximum number of bytes of output read in one call: a pipe's capacity */
    AGENT_FD = 3,          /* a runner's descriptor of the socket to the agent */
    REQUEST_RUNNER = RUNNER_HOOKS /* a request that is no hook: start a runner, and reply with its socket */
};

enum { PARENT, CHILD }; /* indices of runner.fd */

struct reply {
    cmx_err err;
    int signo; /* the signal that ended the command; 0: none */
    char line[RUNNER_LINE_MAX];
};

/* A message with one descriptor, or none. */
struct message {
    struct iovec iov;
    struct msghdr head;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
};

static void message_init(struct message *m, void *data, size_t len)
{
    memset(m, 0, sizeof *m);
    m->iov = (struct iovec){data, len};
    m->head = (struct msghdr){.msg_iov = &m->iov, .msg_iovlen = 1};
}

/* fd: the descriptor that goes with the message, or -1. False: the other side has ended. */
static bool message_send(int socket, void *data, size_t len, int fd)
{
    struct message m;
    struct cmsghdr *c;

    message_init(&m, data, len);
    if (fd >= 0) {
        m.head.msg_control = m.control.bytes;
        m.head.msg_controllen = sizeof m.control.bytes;
        c = CMSG_FIRSTHDR(&m.head);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    return sendmsg(socket, &m.head, MSG_NOSIGNAL) == (ssize_t)len;
}

/* Sets *fd to the descriptor that came with the message, or to -1. False: the other side has ended. */
static bool message_receive(int socket, void *data, size_t len, int *fd)
{
    struct message m;
    const struct cmsghdr *c;
    ssize_t n;

    *fd = -1;
    message_init(&m, data, len);
    m.head.msg_control = m.control.bytes;
    m.head.msg_controllen = sizeof m.control.bytes;
    do
        n = recvmsg(socket, &m.head, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)len)
        return false;
    c = CMSG_FIRSTHDR(&m.head);
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    return true;
}

/* True if no process has the other end of the socket open. Takes no message from it. */
static bool peer_gone(int socket)
{
    char byte;
    ssize_t n = recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

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

/* Reads the available bytes. False: end of file, or an error. */
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
    (void)setsid(); /* gives the hook its own process group, which can be signalled, and no terminal */
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

    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    (void)cmx_file_read_begin(AT_FDCWD, path, text, sizeof text);
    after = strrchr(text, ')');
    return after && strlen(after) > 4 ? (pid_t)strtol(after + 4, NULL, 10) : 0;
}

/* Signals the hook's process group, if it is not 0, and every child of the runner. The runner is the subreaper, so it
 * becomes the parent of each descendant whose own parent has ended. */
static void signal_all(pid_t group, int sig)
{
    const pid_t self = getpid();
    const struct dirent *entry;
    DIR *proc;

    if (group > 0)
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

/* Ends the remaining processes of a hook. group: its process group; 0: not known, because its runner was killed. */
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
        if (p[0].revents && peer_gone(AGENT_FD))
            return CMX_ECLOSED;
    }
    if (out >= 0)
        (void)line_read(line, out); /* reads only what is available: descendants may hold the pipe open */
    return CMX_OK;
}

/* Sets the outcome from the command's wait status. A shell exits with 128 + N if signal N has ended its command; other
 * statuses, such as 255, are the command's own. */
static void settle(int status, struct reply *reply)
{
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

    reply->signo = code > 128 && code - 128 <= SIGRTMAX ? code - 128 : 0;
    if (code != 0)
        reply->err = reply->signo ? CMX_ECLOSED : CMX_EPERM;
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
        if (!reply->err)
            settle(status, reply);
        line_end(&line);
        memcpy(reply->line, line.kept, sizeof reply->line);
    }
    close(out[0]);
    return pid > 0 ? pid : 0;
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

static void serve(int fd, const struct runner_command command[RUNNER_HOOKS]);

/* Starts a runner. Returns the agent's end of its socket, or -1. */
static int start_runner(const struct runner_command command[RUNNER_HOOKS])
{
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    pid = fork();
    if (pid == 0)
        serve(pair[1], command);
    close(pair[1]);
    if (pid > 0)
        return pair[0];
    close(pair[0]);
    return -1;
}

/* Ends the processes that a killed child runner left, then starts another child runner. */
static bool answer_with_runner(const struct runner_command command[RUNNER_HOOKS])
{
    struct reply reply = {.err = CMX_OK};
    bool sent;
    int fd;

    end_all(0);
    fd = start_runner(command);
    sent = message_send(AGENT_FD, &reply, sizeof reply, fd);
    if (fd >= 0)
        close(fd);
    return sent;
}

static bool answer_with_outcome(const struct runner_command *c, int children, int in)
{
    struct reply reply;
    const pid_t group = run_hook(c, children, in, &reply);
    bool sent;

    if (in >= 0)
        close(in);
    if (group > 0 && reply.err != CMX_OK)
        end_all(group);
    sent = message_send(AGENT_FD, &reply, sizeof reply, -1);
    /* After a success the reply comes first, so that the caller does not wait for processes that the hook left
     * behind. */
    if (sent && group > 0 && reply.err == CMX_OK)
        end_all(group);
    return sent;
}

/* The runner's main function; does not return. Closes all descriptors but the socket and the standard ones, because
 * copies of the agent's control socket and spool would outlive the agent. */
static void serve(int fd, const struct runner_command command[RUNNER_HOOKS])
{
    uint8_t request;
    bool sent = true;
    int in, children;

    if (fd != AGENT_FD && dup2(fd, AGENT_FD) < 0)
        _exit(1);
    close_from(AGENT_FD + 1);
    (void)fcntl(AGENT_FD, F_SETFD, FD_CLOEXEC);
    (void)prctl(PR_SET_DUMPABLE, 0); /* the runner's memory is a copy of the agent's, which holds credentials */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    children = take_signals();
    while (sent && children >= 0 && message_receive(AGENT_FD, &request, sizeof request, &in))
        sent =
            request < RUNNER_HOOKS ? answer_with_outcome(&command[request], children, in) : answer_with_runner(command);
    _exit(0);
}

/* ---- in the agent ---- */

static void runner_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool readable_within(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

/* Starts another runner in place of one that has ended; the remaining one becomes its parent. Call with the lock held
 * and while no hook runs. False: no runner is left, or it does not answer. */
static bool runners_restore(struct runner *r)
{
    uint8_t hook = REQUEST_RUNNER;
    struct reply reply;

    for (int i = PARENT; i <= CHILD; i++)
        if (r->fd[i] >= 0 && peer_gone(r->fd[i]))
            runner_close(&r->fd[i]);
    if (r->fd[PARENT] < 0) {
        r->fd[PARENT] = r->fd[CHILD];
        r->fd[CHILD] = -1;
    }
    if (r->fd[PARENT] >= 0 && r->fd[CHILD] < 0 && !r->aborted &&
        (!message_send(r->fd[PARENT], &hook, sizeof hook, -1) || !readable_within(r->fd[PARENT], RESTORE_MS) ||
         !message_receive(r->fd[PARENT], &reply, sizeof reply, &r->fd[CHILD])))
        runner_close(&r->fd[PARENT]);
    return r->fd[PARENT] >= 0;
}

cmx_err ota_runner_start(struct runner *r, const struct runner_command command[RUNNER_HOOKS])
{
    *r = (struct runner)RUNNER_NONE;
    for (int i = 0; i < RUNNER_HOOKS; i++)
        r->limit_ms[i] = command[i].limit_ms;
    r->fd[PARENT] = start_runner(command);
    if (r->fd[PARENT] >= 0 && ota_runner_restore(r))
        return CMX_OK;
    runner_close(&r->fd[PARENT]);
    return CMX_EIO;
}

bool ota_runner_restore(struct runner *r)
{
    bool usable;

    pthread_mutex_lock(&r->lock);
    usable = r->calling || r->aborted || runners_restore(r);
    pthread_mutex_unlock(&r->lock);
    return usable;
}

/* Returns the socket for a call; it stays open until call_end. -1: no runner is left. */
static int call_begin(struct runner *r)
{
    int fd = -1;

    pthread_mutex_lock(&r->lock);
    if (!r->aborted && runners_restore(r)) {
        r->calling = true;
        fd = r->fd[CHILD] >= 0 ? r->fd[CHILD] : r->fd[PARENT];
    }
    pthread_mutex_unlock(&r->lock);
    return fd;
}

/* If the runner was killed, this also ends the processes that its hook left. False: no runner is left. */
static bool call_end(struct runner *r)
{
    pthread_mutex_lock(&r->lock);
    r->calling = false;
    pthread_mutex_unlock(&r->lock);
    return ota_runner_restore(r);
}

/* Writes what happened to the hook, without its last output line. usable false: no process that runs hooks is left. */
static void explain(const struct runner *r, runner_hook hook, const struct reply *reply, bool usable, char *out,
                    size_t cap)
{
    static const char *const names[RUNNER_HOOKS] = {"install", "confirm", "rollback", "restart", "version"};
    const char *name = names[hook];

    if (reply->err == CMX_ETIMEOUT)
        snprintf(out, cap, "the %s hook was ended after %llu s", name, (unsigned long long)(r->limit_ms[hook] / 1000));
    else if (reply->err == CMX_EIO)
        snprintf(out, cap, "%sthe %s hook was not run%s", r->aborted ? "the agent is stopping: " : "", name,
                 usable ? "" : ": the processes that run hooks were killed");
    else if (reply->err != CMX_ECLOSED)
        snprintf(out, cap, "the %s hook failed", name);
    else if (reply->signo)
        snprintf(out, cap, "the %s hook was ended by signal %d", name, reply->signo);
    else if (r->aborted)
        snprintf(out, cap, "the agent is stopping: the %s hook was ended or not run", name);
    else
        snprintf(out, cap, "the %s hook was ended or not run: the process that runs hooks was killed", name);
}

cmx_err ota_runner_call(struct runner *r, runner_hook hook, int in, char *line, size_t cap)
{
    const int fd = call_begin(r);
    uint8_t request = (uint8_t)hook;
    struct reply reply;
    char what[128];
    bool usable;
    int none;

    if (fd < 0 || !message_send(fd, &request, sizeof request, in))
        reply = (struct reply){.err = CMX_EIO};
    else if (!message_receive(fd, &reply, sizeof reply, &none))
        reply = (struct reply){.err = CMX_ECLOSED};
    usable = call_end(r);
    reply.line[sizeof reply.line - 1] = '\0';
    explain(r, hook, &reply, usable, what, sizeof what);
    if (reply.err)
        snprintf(line, cap, "%s%s%s", what, reply.line[0] ? ": " : "", reply.line);
    else
        snprintf(line, cap, "%s", reply.line);
    return reply.err;
}

void ota_runner_abort(struct runner *r)
{
    r->aborted = true;
    pthread_mutex_lock(&r->lock);
    for (int i = PARENT; i <= CHILD; i++)
        if (r->fd[i] >= 0)
            (void)shutdown(r->fd[i], SHUT_WR); /* the runner reads an end of file and ends the hook */
    pthread_mutex_unlock(&r->lock);
}

/* The confined agent cannot wait for processes, so it reads from each runner's socket: the end of file shows that the
 * runner has ended. */
void ota_runner_stop(struct runner *r)
{
    struct reply reply;

    ota_runner_abort(r);
    for (int i = CHILD; i >= PARENT; i--) {
        while (r->fd[i] >= 0 && (recv(r->fd[i], &reply, sizeof reply, 0) > 0 || errno == EINTR))
            errno = 0;
        runner_close(&r->fd[i]);
    }
}
