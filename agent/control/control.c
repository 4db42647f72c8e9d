#include "agent/control/control.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/json.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/nearest.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"
#include "port/linux/unix_listen.h"

#define DISCARD_MAX 128      /* maximum number of reads in discard_input, because a client might never stop sending */
#define CONTROL_PATH_MAX 108 /* size of sun_path (unix(7)) */
#define TAG "control"

/* Invariants: fd is negative in a free slot; answer is NULL until the request has been read. */
struct client {
    int fd;
    uint64_t deadline_ms;
    size_t got;
    uint8_t line[CONTROL_LINE_MAX];
    uint8_t *answer;
    struct cmx_buf out;
};

struct control {
    int listener; /* -1: the socket could not be created at the start */
    /* An open descriptor, which is closed to make room for a client if the process has no other descriptor left. -1: it
     * is closed. */
    int spare;
    int watch; /* inotify descriptor of the socket's folder; -1: none, so a removed socket does not wake the loop */
    bool lost; /* the socket could not be created, or created again after its removal; this was logged */
    char path[CONTROL_PATH_MAX];
    const struct control_command *commands;
    size_t n_commands;
    void *arg;
    size_t answer_max;
    struct client clients[CONTROL_CLIENTS_MAX];
};

static int spare_open(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* Returns an inotify descriptor that becomes readable when a file is removed from the folder of path. -1: error. */
static int watch_folder(const char *path)
{
    char folder[CONTROL_PATH_MAX];
    const char *slash = strrchr(path, '/');
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    if (fd >= 0 && inotify_add_watch(fd, folder, IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

cmx_err control_open(struct control **out, const char *path, const struct control_command *commands, size_t n,
                     void *arg, size_t answer_max)
{
    struct control *c;
    cmx_err err;

    if (strlen(path) >= sizeof c->path)
        return CMX_ENOSPC;
    c = cmx_mem_alloc(sizeof *c);
    if (!c)
        return CMX_ENOMEM;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        c->clients[i].fd = -1;
    memcpy(c->path, path, strlen(path) + 1);
    c->commands = commands;
    c->n_commands = n;
    c->arg = arg;
    c->answer_max = answer_max;
    err = cmx_unix_listen(c->path, CONTROL_CLIENTS_MAX, &c->listener);
    if (err == CMX_EBUSY) {
        cmx_mem_free(c);
        return err;
    }
    c->lost = err != CMX_OK;
    if (err)
        cmx_log(CMX_LOG_ERROR, TAG, "there is no control socket %s: %s; %s", c->path, cmx_err_text(err),
                err == CMX_EEXIST
                    ? "remove this file, which is not a socket"
                    : "let the agent's user write to its folder, which must exist, then restart the agent");
    c->spare = spare_open();
    c->watch = watch_folder(c->path);
    *out = c;
    return CMX_OK;
}

/* If the socket could not be created at the start, or another program has removed it, creates a new one, so that
 * clients can connect. */
static void restore_socket(struct control *c)
{
    const int old = c->listener;
    char events[sizeof(struct inotify_event) + NAME_MAX + 1];
    struct stat st;
    cmx_err err;

    while (c->watch >= 0 && read(c->watch, events, sizeof events) > 0)
        ;
    if (old >= 0 && (lstat(c->path, &st) == 0 || errno != ENOENT))
        return;
    err = cmx_unix_listen(c->path, CONTROL_CLIENTS_MAX, &c->listener);
    if (err) {
        c->listener = old;
        if (!c->lost)
            cmx_log(CMX_LOG_ERROR, TAG, "%s was removed and cannot be created again: %s; restart the agent", c->path,
                    cmx_err_text(err));
    } else {
        if (old >= 0)
            close(old);
        if (c->watch < 0)
            c->watch = watch_folder(c->path);
        cmx_log(CMX_LOG_WARN, TAG, "%s%s", c->path, old >= 0 ? " was removed; it was created again" : " was created");
    }
    c->lost = err != CMX_OK;
}

/* Reads and discards what the client has sent. Otherwise close would reset the connection before the client has read
 * the answer. */
static void discard_input(int fd)
{
    uint8_t bytes[512];

    for (int i = 0; i < DISCARD_MAX && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0;)
        i++;
}

static void drop(struct client *k)
{
    discard_input(k->fd);
    close(k->fd);
    cmx_mem_free(k->answer);
    memset(k, 0, sizeof *k);
    k->fd = -1;
}

/* Accepts a client. If the process has no other descriptor left, closes the spare one, so that the client gets it. This
 * way `status` works even when connections have used up all other descriptors. */
static int accept_client(struct control *c)
{
    int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0 || (errno != EMFILE && errno != ENFILE) || c->spare < 0)
        return fd;
    close(c->spare);
    c->spare = -1;
    return accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void take_clients(struct control *c, uint64_t now_ms)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *k = &c->clients[i];

        if (k->fd >= 0)
            continue;
        k->fd = accept_client(c);
        if (k->fd < 0)
            return;
        k->deadline_ms = now_ms + CONTROL_CLIENT_MS;
    }
}

/* Runs the command in a request and begins to send its answer. False: the connection must be closed. */
static bool answer(struct control *c, struct client *k, size_t len)
{
    k->answer = cmx_mem_alloc(c->answer_max);
    if (!k->answer)
        return false;
    cmx_buf_init(&k->out, k->answer, c->answer_max);
    control_answer(c->commands, c->n_commands, c->arg, k->line, len, &k->out);
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
        return false; /* the client closed before it had sent a whole line */
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
    return false; /* all is sent; the caller closes the connection, which marks the end of the answer */
}

int control_watch(const struct control *c)
{
    return c->watch;
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
    /* Poll the listener only while the spare is open: a client that cannot be accepted would end every poll at once. */
    if (room && c->spare >= 0)
        fds[n++] = (struct pollfd){.fd = c->listener, .events = POLLIN};
    return n;
}

bool control_rests(const struct control *c)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (c->clients[i].fd >= 0)
            return false;
    return c->spare >= 0;
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
    if (c->spare < 0)
        c->spare = spare_open();
    restore_socket(c);
}

void control_close(struct control *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (c->clients[i].fd >= 0)
            drop(&c->clients[i]);
    if (c->listener >= 0 && unlink(c->path) != 0)
        cmx_log(CMX_LOG_WARN, TAG, "%s: %s", c->path, strerror(errno));
    if (c->listener >= 0)
        close(c->listener);
    if (c->spare >= 0)
        close(c->spare);
    if (c->watch >= 0)
        close(c->watch);
    cmx_mem_free(c);
}

/* ---- the protocol, without I/O ---- */

cmx_err control_parse(const uint8_t *line, size_t len, struct control_request *r)
{
    memset(r, 0, sizeof *r);
    if (len && line[len - 1] == '\r')
        len--;
    if (len >= sizeof r->text)
        return CMX_ENOSPC;
    for (size_t i = 0; i < len; i++) {
        if (cmx_text_printable((char)line[i]) != (char)line[i])
            return CMX_EFORMAT;
        r->text[i] = line[i] == ' ' ? 0 : (char)line[i];
        if (!r->text[i] || (i && r->text[i - 1]))
            continue;
        if (r->n == CONTROL_WORDS_MAX)
            return CMX_ENOSPC;
        r->word[r->n++] = &r->text[i];
    }
    return r->n ? CMX_OK : CMX_EFORMAT;
}

static void answer_error(struct cmx_buf *out, const char *what)
{
    struct cmx_json j;

    cmx_buf_clear(out);
    cmx_json_init(&j, out);
    cmx_json_object(&j, NULL);
    cmx_json_str(&j, "error", what);
    cmx_json_end(&j);
    if (cmx_json_finish(&j) || cmx_buf_put_str(out, "\n"))
        cmx_buf_clear(out); /* the error does not fit either: send nothing */
}

static void answer_unknown(const struct control_command *commands, size_t n, const char *word, struct cmx_buf *out)
{
    struct cmx_nearest near = CMX_NEAREST_INIT(word);
    char what[160];

    for (size_t i = 0; i < n; i++)
        cmx_nearest_offer(&near, commands[i].name);
    if (cmx_nearest_result(&near))
        snprintf(what, sizeof what, "unknown command '%.40s'; did you mean '%s'?", word, cmx_nearest_result(&near));
    else
        snprintf(what, sizeof what, "unknown command '%.40s'", word);
    answer_error(out, what);
}

void control_answer(const struct control_command *commands, size_t n, void *arg, const uint8_t *line, size_t len,
                    struct cmx_buf *out)
{
    struct control_request r;
    cmx_err err = control_parse(line, len, &r);

    if (err) {
        answer_error(out,
                     err == CMX_ENOSPC ? "the request is too long" : "the request must be words of printable ASCII");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(r.word[0], commands[i].name) != 0)
            continue;
        err = commands[i].run(arg, &r, out);
        if (err)
            answer_error(out, cmx_err_text(err));
        return;
    }
    answer_unknown(commands, n, r.word[0], out);
}
