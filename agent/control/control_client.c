#include "agent/control/control_client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/config/agent_config.h"
#include "agent/config/config_table.h"
#include "cmxsafe/core/text.h"

#define ANSWER_S 10
#define ERROR_START "{\"error\":"

static int fail(const char *what, const char *why, const char *todo)
{
    fprintf(stderr, "cmxsafe: %s: %s; %s\n", what, why, todo);
    return 1;
}

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = ANSWER_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (cmx_text_copy(a.sun_path, sizeof a.sun_path, path) == CMX_OK &&
        connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

static int send_line(int fd, const char *line)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%s\n", line);

    return n > 0 && (size_t)n < sizeof text && send(fd, text, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -1;
}

/* Copies the answer to `to`, or to stderr if the answer is {"error":...}; *error tells which. -1: there was no answer.
 */
static int copy_answer(int fd, FILE *to, int *error)
{
    char piece[4096];
    size_t total = 0;

    for (;;) {
        ssize_t n = recv(fd, piece, sizeof piece, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        if (total == 0)
            *error = (size_t)n >= strlen(ERROR_START) && strncmp(piece, ERROR_START, strlen(ERROR_START)) == 0;
        total += (size_t)n;
        fwrite(piece, 1, (size_t)n, *error ? stderr : to);
    }
    return total ? fflush(to) : -1;
}

int control_ask(const char *path, const char *line, FILE *to)
{
    int error = 0;
    int fd = connect_to(path);
    int rc;

    if (fd < 0 && (errno == ENOENT || errno == ECONNREFUSED))
        return fail(path, "no agent answers", "start it (systemctl start cmxsafed), or name its socket with --socket");
    if (fd < 0)
        return fail(path, strerror(errno), "ask as root or as a member of the socket's group");
    rc = send_line(fd, line);
    if (!rc)
        rc = copy_answer(fd, to, &error);
    close(fd);
    if (rc)
        return fail(path, "the agent gave no answer", "see its log: journalctl -u cmxsafed");
    return error ? 1 : 0;
}

static void drop_line(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

int control_path(const char *file, char *out, size_t cap)
{
    struct config_report quiet = {.file = file ? file : CONFIG_FILE_DEFAULT, .line = drop_line};
    struct agent_config *c = NULL;
    cmx_err err = config_read_text(quiet.file, &quiet, &c);
    const char *path = err ? config_key_find("agent", "control_socket")->fallback : c->agent.control_socket;

    if (err && file) {
        config_free(c);
        return fail(file, "can't be read as a configuration", "see: cmxsafed --check -c FILE");
    }
    err = cmx_text_copy(out, cap, path);
    config_free(c);
    return err ? fail("control_socket", cmx_err_text(err), "choose a shorter path") : 0;
}
