#include "cli/tunnel.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmxsafe/port/port.h"
#include "port/linux/child.h"
#include "port/linux/cli.h"

/* Longer than sshd's default LoginGraceTime of 120 s, after which sshd ends a login that still waits at a prompt. */
enum { OPEN_TIMEOUT_MS = 180000 };

static const char *path_of(const struct tunnel *t, unsigned i)
{
    return t->local[i] + strlen(HTTP_UNIX);
}

static bool answers(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes;

    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    yes = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

/* Removes brackets, which ssh does not accept. */
static void unbracket(char *host)
{
    char *to = host;

    for (const char *c = host; *c; c++)
        if (*c != '[' && *c != ']')
            *to++ = *c;
    *to = '\0';
}

/* Splits "user@host:2222"; an IPv6 address with a port is in brackets. */
static void split(const char *gateway, char *host, size_t cap, char port[6])
{
    const char *colon = strrchr(gateway, ':'), *bracket = strchr(gateway, '[');
    const bool has_port = colon && colon > gateway && (bracket ? colon[-1] == ']' : strchr(gateway, ':') == colon) &&
                          strlen(colon + 1) <= 5;

    snprintf(host, cap, "%.*s", has_port ? (int)(colon - gateway) : (int)strlen(gateway), gateway);
    unbracket(host);
    snprintf(port, 6, "%s", has_port ? colon + 1 : "");
}

static void forward(char *out, size_t cap, const struct tunnel *t, unsigned i)
{
    bool v6 = strchr(t->device, ':') != NULL && t->device[0] != '[';

    snprintf(out, cap, "%s:%s%s%s:%u", path_of(t, i), v6 ? "[" : "", t->device, v6 ? "]" : "", (unsigned)t->remote[i]);
}

static void run_ssh(const struct tunnel *t)
{
    char host[512], port[6], a[512], b[512];
    const char *argv[24];
    size_t n = 0;

    split(t->gateway, host, sizeof host, port);
    argv[n++] = "ssh";
    argv[n++] = "-N";
    argv[n++] = "-T";
    argv[n++] = "-oLogLevel=ERROR";   /* hides messages about channels that are refused while the device restarts */
    argv[n++] = "-oControlPath=none"; /* a shared connection would outlive this program */
    argv[n++] = "-oExitOnForwardFailure=yes";
    argv[n++] = "-oStreamLocalBindUnlink=yes";             /* a former ssh of this tunnel left its sockets */
    argv[n++] = "-oIgnoreUnknown=ForkAfterAuthentication"; /* OpenSSH before 8.7 */
    argv[n++] = "-oForkAfterAuthentication=no";
    argv[n++] = "-oServerAliveInterval=5";
    argv[n++] = "-oServerAliveCountMax=3";
    if (t->config) {
        argv[n++] = "-F";
        argv[n++] = t->config;
    }
    if (port[0]) {
        argv[n++] = "-p";
        argv[n++] = port;
    }
    forward(a, sizeof a, t, 0);
    argv[n++] = "-L";
    argv[n++] = a;
    if (t->remote[1]) {
        forward(b, sizeof b, t, 1);
        argv[n++] = "-L";
        argv[n++] = b;
    }
    argv[n++] = "--";
    argv[n++] = host;
    argv[n] = NULL;
    execvp("ssh", (char *const *)(uintptr_t)argv);
    (void)cli_fail("ssh can't be started", strerror(errno), "install OpenSSH's client");
    _exit(127);
}

/* Runs in the child process. Does not return. */
static void become_ssh(const struct tunnel *t, pid_t parent)
{
    if (cmx_child_end_with(parent, SIGTERM))
        run_ssh(t);
    _exit(127);
}

static void end_ssh(struct tunnel *t)
{
    if (!t->pid)
        return;
    kill(t->pid, SIGTERM);
    (void)cmx_child_wait(t->pid);
    t->pid = 0;
}

static cmx_err start(struct tunnel *t)
{
    pid_t parent = getpid();

    if (*t->stop)
        return CMX_EAGAIN;
    t->pid = cmx_child_fork();
    if (t->pid < 0) {
        t->pid = 0;
        return CMX_ENOMEM;
    }
    if (t->pid == 0)
        become_ssh(t, parent);
    for (unsigned waited = 0; waited < OPEN_TIMEOUT_MS && !*t->stop; waited += 50) {
        if (waitpid(t->pid, NULL, WNOHANG) == t->pid) {
            t->pid = 0;
            return *t->stop ? CMX_EAGAIN : CMX_EREFUSED;
        }
        if (answers(path_of(t, 0)))
            return CMX_OK;
        cmx_port_sleep_ms(50);
    }
    end_ssh(t);
    return *t->stop ? CMX_EAGAIN : CMX_ETIMEOUT;
}

cmx_err tunnel_open(struct tunnel *t)
{
    memcpy(t->folder, TUNNEL_FOLDER, sizeof t->folder);
    if (!mkdtemp(t->folder)) {
        t->folder[0] = '\0';
        return CMX_EIO;
    }
    for (unsigned i = 0; i < 2; i++)
        snprintf(t->local[i], sizeof t->local[i], HTTP_UNIX "%s/%u", t->folder, i);
    return start(t);
}

cmx_err tunnel_keep(struct tunnel *t)
{
    if (t->pid && waitpid(t->pid, NULL, WNOHANG) == 0)
        return CMX_OK;
    return start(t);
}

void tunnel_close(struct tunnel *t)
{
    end_ssh(t);
    if (!t->folder[0])
        return;
    for (unsigned i = 0; i < 2; i++)
        (void)unlink(path_of(t, i));
    (void)rmdir(t->folder);
}
