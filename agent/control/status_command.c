#include "agent/control/status_command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/config/agent_config.h"
#include "agent/config/config_table.h"
#include "agent/control/agent_status.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "port/linux/cli.h"

#define ANSWER_S 10
#define ERROR_START "{\"error\":"

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

/* Reads the answer up to the end of the connection. -1: it did not arrive whole. An answer ends in a newline; if the
 * agent ends, or drops a client that takes too long, the connection closes in the middle of the answer. The whole
 * answer is read before any of it is written, so that a slow reader of the output does not delay the agent. */
static int read_answer(int fd, char *answer, size_t *len)
{
    ssize_t n = 0;

    for (*len = 0; *len < STATUS_MAX; *len += (size_t)n) {
        do
            n = recv(fd, answer + *len, STATUS_MAX - *len, 0);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
            break;
    }
    return n >= 0 && *len > 0 && answer[*len - 1] == '\n' ? 0 : -1;
}

static int ask_agent(const char *path, int fd, const char *line)
{
    char *answer = cmx_mem_alloc(STATUS_MAX);
    size_t len = 0;
    bool error;

    if (!answer)
        return cli_fail(path, cmx_err_text(CMX_ENOMEM), "free some memory");
    if (send_line(fd, line) || read_answer(fd, answer, &len)) {
        cmx_mem_free(answer);
        return cli_fail(path, "the agent gave no answer", "see its log: journalctl -u cmxsafed");
    }
    error = len > strlen(ERROR_START) && strncmp(answer, ERROR_START, strlen(ERROR_START)) == 0;
    (void)fwrite(answer, 1, len, error ? stderr : stdout);
    cmx_mem_free(answer);
    return error ? 1 : 0;
}

/* Sends one line to the agent at path and prints its answer. The caller checks stdout for errors. Errors and an answer
 * {"error":...} go to stderr. Returns the exit code: 1 after an error. */
static int control_ask(const char *path, const char *line)
{
    int fd = connect_to(path);
    int code;

    if (fd < 0 && (errno == ENOENT || errno == ECONNREFUSED))
        return cli_fail(path, "no agent answers",
                        "start it (systemctl start cmxsafed), or name its socket with --socket");
    if (fd < 0)
        return cli_fail(path, strerror(errno), "run the command as root, or as a member of the socket's group");
    code = ask_agent(path, fd, line);
    close(fd);
    return code;
}

/* Finds the control socket that a configuration file names, and copies its path into out. file NULL: uses the default
 * file, or the default socket if that file cannot be read. Returns the exit code. */
static int control_path(const char *file, char *out, size_t cap)
{
    struct config_report quiet = {.file = file ? file : CONFIG_FILE_DEFAULT};
    struct agent_config *c = NULL;
    cmx_err err = config_read_text(quiet.file, &quiet, &c);
    const char *path = err ? config_key_find("agent", "control_socket")->fallback : c->agent.control_socket;

    if (err && file) {
        config_free(c);
        return cli_fail(file, "can't be read as a configuration", "see: cmxsafed --check -c FILE");
    }
    err = cmx_text_copy(out, cap, path);
    config_free(c);
    return err ? cli_fail("control_socket", cmx_err_text(err), "choose a shorter path") : 0;
}

int cmd_status(int argc, char **argv)
{
    bool json = false, color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    const char *config = NULL, *socket = NULL;
    uint64_t watch_s = 0;
    const struct cli_option options[] = {
        CLI_FLAG("json", "print one JSON document instead of a table", &json),
        CLI_NUMBER("watch", "SECONDS", 1, 3600, "print the state again every 2 seconds, or every SECONDS", &watch_s,
                   .implied = "2"),
        CLI_TEXT("config", "FILE", "read the path of the control socket from this configuration file", &config,
                 .short_name = 'c', .except = "socket"),
        CLI_TEXT("socket", "PATH", "use this control socket", &socket),
    };
    struct cli_line line =
        CLI_LINE("cmxsafed status", "", "Prints the state of every context of the running agent.", 0, 0, options);
    char path[108] = "";
    int code;

    if (cli_parse(&line, argc, argv, &code))
        return code;
    if (socket && cmx_text_copy(path, sizeof path, socket))
        return cli_usage(line.command, "--socket: the path is longer than %zu characters", sizeof path - 1);
    code = socket ? CLI_OK : control_path(config, path, sizeof path);
    if (code)
        return code;
    for (;;) {
        if (watch_s && color)
            fputs("\033[H\033[2J", stdout);
        code = control_ask(path, json ? "status json" : color ? "status table color" : "status table");
        if (!watch_s || code || !cli_flush())
            return code;
        sleep((unsigned)watch_s);
    }
}
