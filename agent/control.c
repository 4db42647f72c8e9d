#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"

#define TAG "control"

/* Invariants: fd < 0: a free place. answer is NULL while the request is read. */
struct client {
    int fd;
    bool privileged;
    uint64_t deadline_ms;
    size_t got;
    uint8_t line[CONTROL_LINE_MAX];
    uint8_t *answer;
    struct cmx_buf out;
};

struct control {
    int listener;
    struct sockaddr_un address;
    const struct control_command *commands;
    size_t n_commands;
    void *arg;
    size_t answer_max;
    struct client clients[CONTROL_CLIENTS_MAX];
};

/* True when someone answers at the address: then it is not ours to replace. */
static bool someone_listens(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool yes = fd >= 0 && (connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 || errno == EAGAIN);

    if (fd >= 0)
        close(fd);
    return yes;
}

static cmx_err listen_at(struct control *c)
{
    const char *path = c->address.sun_path;
    mode_t mask;
    struct stat st;
    int rc;

    if (someone_listens(&c->address))
        return CMX_EBUSY;
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return CMX_EEXIST; /* somebody's file */
    if (unlink(path) != 0 && errno != ENOENT)
        return errno == EACCES || errno == EPERM ? CMX_EPERM : CMX_EIO;
    c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listener < 0)
        return CMX_EIO;
    mask = umask(0117); /* no moment at which others could connect */
    rc = bind(c->listener, (struct sockaddr *)&c->address, sizeof c->address);
    umask(mask);
    if (rc != 0)
        return errno == EACCES || errno == EPERM ? CMX_EPERM : errno == ENOENT ? CMX_ENOENT : CMX_EIO;
    return listen(c->listener, CONTROL_CLIENTS_MAX) == 0 ? CMX_OK : CMX_EIO;
}

cmx_err control_open(struct control **out, const char *path, const struct control_command *commands, size_t n,
                     void *arg, size_t answer_max)
{
    struct control *c;
    cmx_err err;

    if (strlen(path) >= sizeof c->address.sun_path)
        return CMX_ENOSPC;
    c = cmx_mem_alloc(sizeof *c);
    if (!c)
        return CMX_ENOMEM;
    c->listener = -1;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        c->clients[i].fd = -1;
    c->address.sun_family = AF_UNIX;
    memcpy(c->address.sun_path, path, strlen(path) + 1);
    c->commands = commands;
    c->n_commands = n;
    c->arg = arg;
    c->answer_max = answer_max;
    err = listen_at(c);
    if (err) {
        if (c->listener >= 0)
            close(c->listener);
        cmx_mem_free(c);
        return err;
    }
    *out = c;
    return CMX_OK;
}

static void drop(struct client *k)
{
    close(k->fd);
    cmx_mem_free(k->answer);
    memset(k, 0, sizeof *k);
    k->fd = -1;
}

static bool is_privileged(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof cred;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
        return false;
    return cred.uid == 0 || cred.uid == geteuid();
}

static void take_clients(struct control *c, uint64_t now_ms)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *k = &c->clients[i];

        if (k->fd >= 0)
            continue;
        k->fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (k->fd < 0)
            return;
        k->privileged = is_privileged(k->fd);
        k->deadline_ms = now_ms + CONTROL_CLIENT_MS;
    }
}

/* False: the client is done with, one way or the other. */
static bool answer(struct control *c, struct client *k, size_t len)
{
    k->answer = cmx_mem_alloc(c->answer_max);
    if (!k->answer)
        return false;
    cmx_buf_init(&k->out, k->answer, c->answer_max);
    control_answer(c->commands, c->n_commands, c->arg, k->privileged, k->line, len, &k->out);
    return true;
}

static bool read_request(struct control *c, struct client *k)
{
    ssize_t n = recv(k->fd, k->line + k->got, sizeof k->line - k->got, 0);
    const uint8_t *end;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    k->got += (size_t)n;
    end = memchr(k->line, '\n', k->got);
    if (end)
        return answer(c, k, (size_t)(end - k->line));
    if (n == 0)
        return false; /* gone without a whole line */
    return k->got < sizeof k->line || answer(c, k, k->got);
}

static bool write_answer(struct client *k)
{
    while (cmx_buf_len(&k->out)) {
        ssize_t n = send(k->fd, cmx_buf_data(&k->out), cmx_buf_len(&k->out), MSG_NOSIGNAL);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (cmx_buf_skip(&k->out, (size_t)n))
            return false;
    }
    return false; /* all of it is out: the end of the stream is the end of the answer */
}

size_t control_polls(const struct control *c, struct pollfd *fds)
{
    size_t n = 0;
    bool room = false;

    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        const struct client *k = &c->clients[i];

        room = room || k->fd < 0;
        if (k->fd >= 0)
            fds[n++] = (struct pollfd){.fd = k->fd, .events = k->answer ? POLLOUT : POLLIN};
    }
    if (room)
        fds[n++] = (struct pollfd){.fd = c->listener, .events = POLLIN};
    return n;
}

static void serve_client(struct control *c, int fd)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *k = &c->clients[i];

        if (k->fd != fd)
            continue;
        if (!k->answer && !read_request(c, k))
            drop(k);
        else if (k->answer && !write_answer(k))
            drop(k);
        return;
    }
}

void control_serve(struct control *c, const struct pollfd *fds, size_t n, uint64_t now_ms)
{
    bool arrivals = false;

    for (size_t i = 0; i < n; i++) {
        if (fds[i].revents && fds[i].fd == c->listener)
            arrivals = true;
        else if (fds[i].revents)
            serve_client(c, fds[i].fd);
    }
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (c->clients[i].fd >= 0 && now_ms >= c->clients[i].deadline_ms)
            drop(&c->clients[i]);
    if (arrivals)
        take_clients(c, now_ms);
}

void control_close(struct control *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (c->clients[i].fd >= 0)
            drop(&c->clients[i]);
    close(c->listener);
    if (unlink(c->address.sun_path) != 0)
        cmx_log(CMX_LOG_WARN, TAG, "%s: %s", c->address.sun_path, strerror(errno));
    cmx_mem_free(c);
}
