#include "cli/tunnel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmxsafe/port/port.h"
#include "port/linux/child.h"
#include "port/linux/cli.h"

/* Longer than sshd's default LoginGraceTime of 120 s, after which sshd ends a login that still waits at a prompt. */
enum { OPEN_TIMEOUT_MS = 180000, FOLDER_TRIES = 10 };

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

static void remove_folder(int lock, const char *path)
{
    for (unsigned i = 0; i < 2; i++)
        (void)unlinkat(lock, i ? "1" : "0", 0);
    (void)rmdir(path);
    close(lock);
}

/* Opens and locks the folder of a tunnel of this user. -1: it is no such folder, or its tunnel is in use. */
static int lock_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && st.st_nlink)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Removes the folders of tunnels that were killed: nobody has locked them. */
static void remove_stale(void)
{
    const struct dirent *entry;
    DIR *dir = opendir(TUNNEL_PARENT);

    while (dir && (entry = readdir(dir)) != NULL) {
        char path[sizeof TUNNEL_FOLDER];
        int lock = -1;

        if (strlen(entry->d_name) == strlen(TUNNEL_NAME) &&
            strncmp(entry->d_name, TUNNEL_START, strlen(TUNNEL_START)) == 0) {
            snprintf(path, sizeof path, TUNNEL_PARENT "/%.21s", entry->d_name);
            lock = lock_folder(path);
        }
        if (lock >= 0)
            remove_folder(lock, path);
    }
    if (dir)
        closedir(dir);
}

/* Another process may remove the new folder as stale before it is locked. */
static cmx_err make_folder(struct tunnel *t)
{
    for (int tries = 0; tries < FOLDER_TRIES; tries++) {
        memcpy(t->folder, TUNNEL_FOLDER, sizeof t->folder);
        if (!mkdtemp(t->folder))
            break;
        t->lock = lock_folder(t->folder);
        if (t->lock >= 0)
            return CMX_OK;
    }
    t->folder[0] = '\0';
    return CMX_EIO;
}

cmx_err tunnel_open(struct tunnel *t)
{
    cmx_err err;

    remove_stale();
    err = make_folder(t);
    if (err)
        return err;
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
    if (t->folder[0])
        remove_folder(t->lock, t->folder);
}
