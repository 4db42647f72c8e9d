/* cmxsafe-authkeys - sshd's AuthorizedKeysCommand: prints the authorized_keys line of the key that logs in, or nothing.
 * Runs at every login as the unprivileged account. After any error it prints nothing, so that sshd denies the login. It
 * then writes the reason to stderr and syslog. Because sshd discards its stderr, it also sends the reason to the
 * running gateway.
 *
 * It sends one of these requests to the gateway's control socket. It waits for the answer before it prints a
 * line.
 * - `login FINGERPRINT`: an enrolled key. Before the gateway answers, it ends sessions of the same device that no
 *   longer respond (a takeover). Their ports are then free for the new session.
 * - `certificate TYPE KEY`: a certificate that may log in. The gateway may still refuse the login.
 * - `refused REASON`: a certificate that must not log in.
 * - `unknown TYPE KEY`: a key that is not enrolled.
 * - `trouble REASON`: an error.
 *
 * A second line, "DIGEST VERSION", has the digest of the line that the program will print, and this program's version.
 * If the key's permissions change during the login, the gateway notices that by the digest, and ends the session. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/version.h"
#include "gateway/registry/authline.h"
#include "gateway/registry/control_socket.h"
#include "gateway/registry/registry_device.h"

#define GATEWAY_PATIENCE_S 5 /* longer than a takeover, which takes at most 3.5 s (ANSWER_MS in gw_peer.c) */

static uint8_t line[GW_AUTHLINE_MAX];

/* Sends a request and waits for the answer. Returns false if the gateway refuses the login. Also returns false if the
 * gateway does not answer in time, because the session may then have the identity of another key, which the client
 * offered before. If no gateway is running, the login continues without a takeover. */
static bool notify_gateway(const char *dir, const char *verb, const char *text, uint64_t digest)
{
    char message[GW_CONTROL_REQUEST_MAX];
    char answer[16] = "";
    size_t got = 0;
    ssize_t n = 0;
    bool late;
    int len =
        snprintf(message, sizeof message, "%s %s\n%016llx " CMX_VERSION "\n", verb, text, (unsigned long long)digest);
    int fd = gw_control_socket_connect(dir, GATEWAY_PATIENCE_S);

    if (fd < 0)
        return errno != EAGAIN;
    if (len > 0 && (size_t)len < sizeof message)
        n = send(fd, message, (size_t)len, MSG_NOSIGNAL);
    while (n > 0 && got < sizeof answer - 1 && (n = recv(fd, answer + got, sizeof answer - 1 - got, 0)) > 0)
        got += (size_t)n;
    late = n < 0 && errno == EAGAIN;
    close(fd);
    return !late && strncmp(answer, GW_REFUSED, strlen(GW_REFUSED)) != 0;
}

static cmx_err open_registry(const char *dir, struct gw_registry *r, struct cmx_why *e)
{
    char path[4096];

    if ((size_t)snprintf(path, sizeof path, "%s/registry.db", dir) >= sizeof path)
        return cmx_why_fail(e, CMX_EINVAL, "the path of the registry is too long");
    return gw_registry_open_tables(r, path, e);
}

static int refuse(const char *dir, const struct cmx_why *why)
{
    fprintf(stderr, "cmxsafe-authkeys: %s\n", why->text);
    openlog("cmxsafe-authkeys", LOG_PID, LOG_AUTH);
    syslog(LOG_ERR, "no login is possible: %s", why->text);
    (void)notify_gateway(dir, "trouble", why->text, 0);
    return 1;
}

/* Reports an unknown key to the gateway, which shows the latest of them to the operator ('cmxsafe gateway pending').
 * Does not report a key that cannot be enrolled, for example because it was revoked or replaced. */
static void report_unknown(struct gw_registry *r, const char *dir, const char *type, const char *blob)
{
    char text[GW_KEY_TYPE_MAX + GW_KEY_BLOB_MAX];
    struct gw_key k;

    if ((size_t)snprintf(text, sizeof text, "%s %s", type, blob) < sizeof text &&
        gw_key_parse(&k, text, NULL) == CMX_OK && gw_device_key_is_free(r, &k, NULL) == CMX_OK)
        (void)notify_gateway(dir, "unknown", text, 0);
}

static uint64_t line_digest(const struct cmx_buf *out)
{
    return gw_authline_digest(GW_AUTHLINE_DIGEST, cmx_buf_data(out), cmx_buf_len(out));
}

static int print_line(const struct cmx_buf *out)
{
    return fwrite(cmx_buf_data(out), 1, cmx_buf_len(out), stdout) == cmx_buf_len(out) && fflush(stdout) == 0 ? 0 : 1;
}

static int answer_certificate(const char *dir, const char *type, const char *blob)
{
    static struct gw_certificate c;
    char text[GW_CERTIFICATE_TEXT_MAX];
    struct gw_registry r = {0};
    struct cmx_why e = {0};
    struct cmx_buf out;
    cmx_err err = (size_t)snprintf(text, sizeof text, "%s %s", type, blob) < sizeof text
                      ? gw_certificate_parse(&c, text, &e)
                      : cmx_why_fail(&e, CMX_EFORMAT, "the certificate is too long");

    if (err) {
        (void)notify_gateway(dir, "refused", e.text, 0);
        return 0;
    }
    err = open_registry(dir, &r, &e);
    if (err)
        return refuse(dir, &e);
    cmx_buf_init(&out, line, sizeof line);
    err = gw_authline_certificate(&r, &c, &out, NULL, &e);
    gw_registry_close(&r);
    if (err == CMX_EAUTH) {
        (void)notify_gateway(dir, "refused", e.text, 0);
        return 0; /* sshd denies and logs the login */
    }
    if (err)
        return refuse(dir, &e);
    return notify_gateway(dir, "certificate", text, line_digest(&out)) ? print_line(&out) : 0;
}

int main(int argc, char **argv)
{
    struct gw_registry r;
    struct cmx_why e = {0};
    struct cmx_buf out;
    cmx_err err;

    if ((argc != 3 && argc != 5) || argv[1][0] != '/') {
        fprintf(stderr, "usage: cmxsafe-authkeys FOLDER FINGERPRINT [TYPE KEY] (run by sshd: AuthorizedKeysCommand)\n");
        return 2;
    }
    if (argc == 5 && gw_certificate_is_type(argv[3]))
        return answer_certificate(argv[1], argv[3], argv[4]);
    err = open_registry(argv[1], &r, &e);
    if (err)
        return refuse(argv[1], &e);
    cmx_buf_init(&out, line, sizeof line);
    err = gw_authline(&r, argv[2], &out, NULL, &e);
    if (err == CMX_ENOENT && argc == 5)
        report_unknown(&r, argv[1], argv[3], argv[4]);
    gw_registry_close(&r);
    if (err == CMX_ENOENT)
        return 0; /* an unknown key: sshd denies and logs the login */
    if (err)
        return refuse(argv[1], &e);
    return notify_gateway(argv[1], "login", argv[2], line_digest(&out)) ? print_line(&out) : 0;
}
