/* cmxsafe-authkeys - sshd's AuthorizedKeysCommand: prints the one line of the key that asks, or nothing. Run at every
 * login as the unprivileged account, so it links little and does little. Whatever goes wrong, the answer is nobody; why
 * goes to stderr, to syslog and to the running gateway, since sshd drops what the command says.
 *
 * Before answering it tells the gateway (`login FINGERPRINT` on its control socket): sessions of the same device that
 * no longer answer are then ended, so that the new one finds its ports free. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "cmxsafe/core/buf.h"
#include "gateway/registry/authline.h"
#include "gateway/registry/device.h"

#define GATEWAY_PATIENCE_S 5 /* takeover takes 3 at most */

static uint8_t line[GW_AUTHLINE_MAX];

/* Sends one line and waits for the answer. No gateway there: no takeover, and the login goes on. */
static void tell_gateway(const char *dir, const char *verb, const char *text)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = GATEWAY_PATIENCE_S};
    char message[512];
    char answer[16];
    int len = snprintf(message, sizeof message, "%s %s\n", verb, text);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return;
    if ((size_t)snprintf(a.sun_path, sizeof a.sun_path, "%s/run/control", dir) < sizeof a.sun_path && len > 0 &&
        (size_t)len < sizeof message && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
        connect(fd, (const struct sockaddr *)&a, sizeof a) == 0 && send(fd, message, (size_t)len, MSG_NOSIGNAL) == len)
        while (recv(fd, answer, sizeof answer, 0) > 0)
            ;
    close(fd);
}

static int refuse(const char *dir, const struct gw_error *e)
{
    char text[sizeof e->why + sizeof e->todo + 8];

    snprintf(text, sizeof text, "%s%s%s", e->why, e->todo[0] ? "; " : "", e->todo);
    fprintf(stderr, "cmxsafe-authkeys: %s\n", text);
    openlog("cmxsafe-authkeys", LOG_PID, LOG_AUTH);
    syslog(LOG_ERR, "nobody gets in: %s", text);
    tell_gateway(dir, "trouble", text);
    return 1;
}

int main(int argc, char **argv)
{
    struct gw_registry r;
    struct gw_error e = {0};
    struct cmx_buf out;
    char path[4096];
    cmx_err err;

    if (argc != 3 || argv[1][0] != '/') {
        fprintf(stderr, "usage: cmxsafe-authkeys FOLDER FINGERPRINT (run by sshd: AuthorizedKeysCommand)\n");
        return 2;
    }
    if ((size_t)snprintf(path, sizeof path, "%s/registry.db", argv[1]) >= sizeof path)
        return 2;
    err = gw_registry_open(&r, path, false, &e);
    if (err)
        return refuse(argv[1], &e);
    cmx_buf_init(&out, line, sizeof line);
    err = gw_authline(&r, argv[2], &out, NULL, &e);
    gw_registry_close(&r);
    if (err == CMX_ENOENT)
        return 0; /* an unknown key is no trouble: sshd says no, and logs it */
    if (err)
        return refuse(argv[1], &e);
    tell_gateway(argv[1], "login", argv[2]);
    return fwrite(cmx_buf_data(&out), 1, cmx_buf_len(&out), stdout) == cmx_buf_len(&out) && fflush(stdout) == 0 ? 0 : 1;
}
