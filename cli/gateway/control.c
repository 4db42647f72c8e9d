/* The control socket, DIR/run/control. One line in, the answer out, then it closes. sshd's helper says `login` and
 * `trouble`; the operator's commands `reload` and `status`. Who asks is known by the kernel (SO_PEERCRED), not by file
 * modes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/gateway/serve.h"
#include "cmxsafe/core/mem.h"

/* sun_path is short, folders may be long: the socket is named through a handle of its folder. */
static bool short_address(const char *run, struct sockaddr_un *a, int *dir)
{
    *dir = open(run, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*dir < 0)
        return false;
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d/control", *dir);
    return true;
}

bool gw_control_open(struct gw_server *s)
{
    char run[GW_PATH_MAX];
    struct sockaddr_un a;
    int dir;
    bool ok;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || !short_address(gw_path(s->g, "run", run), &a, &dir))
        return false;
    unlinkat(dir, "control", 0);
    ok = bind(fd, (const struct sockaddr *)&a, sizeof a) == 0 && fchmodat(dir, "control", 0666, 0) == 0 &&
         listen(fd, 1024) == 0;
    close(dir);
    s->control = (struct gw_watch){GW_WATCH_CONTROL, fd};
    return ok && gw_watch_add(s, &s->control);
}

void gw_control_accept(struct gw_server *s)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t len = sizeof peer;
    struct gw_client *c;
    int fd = accept4(s->control.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    c = cmx_mem_alloc(sizeof *c);
    if (!c || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || (peer.uid != 0 && peer.uid != geteuid())) {
        cmx_mem_free(c);
        close(fd);
        return;
    }
    c->watch = (struct gw_watch){GW_WATCH_CLIENT, fd};
    if (!gw_watch_add(s, &c->watch)) {
        close(fd);
        cmx_mem_free(c);
        return;
    }
    c->next = s->clients;
    s->clients = c;
}

void gw_client_close(struct gw_server *s, struct gw_client *c)
{
    struct gw_client **link = &s->clients;

    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    for (size_t i = 0; i < c->n_probes; i++)
        if (c->probes[i].fd >= 0)
            close(c->probes[i].fd);
    close(c->watch.fd);
    cmx_mem_free(c);
}

static void put_counters(FILE *f, const struct gw_server *s)
{
    const struct gw_counters *n = &s->counters;

    fprintf(f, ",\"counters\":{");
    gw_json_number(f, true, "connections", (int64_t)n->accepted);
    gw_json_number(f, false, "refused_penalty", (int64_t)n->refused_penalty);
    gw_json_number(f, false, "refused_pressed", (int64_t)n->refused_pressed);
    gw_json_number(f, false, "logins", (int64_t)n->logins);
    gw_json_number(f, false, "failed", (int64_t)n->failed);
    gw_json_number(f, false, "revoked", (int64_t)n->ended_revoked);
    gw_json_number(f, false, "takeovers", (int64_t)n->takeovers);
    gw_json_number(f, false, "takeovers_refused", (int64_t)n->takeovers_refused);
    gw_json_number(f, false, "forwards_denied", (int64_t)n->denied);
    gw_json_number(f, false, "ports_in_use", (int64_t)n->in_use);
    gw_json_number(f, false, "registry_trouble", (int64_t)n->trouble);
    fputc('}', f);
}

static void put_status(FILE *f, const struct gw_server *s)
{
    bool first = true;

    fputc('{', f);
    gw_json_number(f, true, "pid", getpid());
    gw_json_number(f, false, "logging_in", (int64_t)s->n_greeting);
    gw_json_text(f, false, "trouble", s->trouble);
    put_counters(f, s);
    fprintf(f, ",\"sessions\":[");
    for (const struct gw_session *x = s->sessions; x; x = x->next)
        if (x->up && !x->ending) {
            fputs(first ? "" : ",", f);
            gw_session_json(f, x);
            first = false;
        }
    fprintf(f, "]}\n");
}

/* A local operator reads at once; one who does not can hold the gateway for a second, and is root or the account. */
static void send_status(struct gw_server *s, struct gw_client *c)
{
    struct timeval patience = {.tv_sec = 1};
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    size_t sent = 0;

    if (!f)
        return;
    put_status(f, s);
    if (fclose(f) == 0) {
        fcntl(c->watch.fd, F_SETFL, 0);
        setsockopt(c->watch.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        while (sent < len) {
            ssize_t n = send(c->watch.fd, text + sent, len - sent, MSG_NOSIGNAL);
            if (n <= 0)
                break;
            sent += (size_t)n;
        }
    }
    free(text); /* open_memstream's own */
}

/* True: answered, close. */
static bool serve_request(struct gw_server *s, struct gw_client *c)
{
    if (strncmp(c->request, "login ", 6) == 0)
        return gw_takeover_begin(s, c, c->request + 6);
    if (strncmp(c->request, "trouble ", 8) == 0) {
        s->counters.trouble++;
        if (strcmp(s->trouble, c->request + 8) != 0)
            gw_note("nobody gets in: %s", c->request + 8);
        snprintf(s->trouble, sizeof s->trouble, "%.299s", c->request + 8);
    } else if (strcmp(c->request, "reload") == 0) {
        gw_sessions_recheck(s);
        (void)send(c->watch.fd, "ok\n", 3, MSG_NOSIGNAL); /* a caller that left needs no answer */
    } else if (strcmp(c->request, "status") == 0) {
        send_status(s, c);
    }
    return true;
}

void gw_client_readable(struct gw_server *s, struct gw_client *c)
{
    ssize_t n = recv(c->watch.fd, c->request + c->len, sizeof c->request - 1 - c->len, 0);
    char *end;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        gw_client_close(s, c);
        return;
    }
    c->len += (size_t)n;
    c->request[c->len] = '\0';
    end = strchr(c->request, '\n');
    if (end)
        *end = '\0';
    else if (c->len < sizeof c->request - 1)
        return;
    if (c->n_probes || c->follows)
        return; /* its answer is under way; more bytes change nothing */
    if (!end || serve_request(s, c))
        gw_client_close(s, c);
}

static cmx_err not_running(const struct gw *g, struct gw_error *e)
{
    bool units = !g->user && access("/etc/systemd/system/cmxsafe-gateway.service", F_OK) == 0;

    return gw_error_set(e, CMX_ECLOSED,
                        units
                            ? "start it with 'systemctl start cmxsafe-gateway.socket cmxsafe-gateway.service'; why it "
                              "ended: journalctl -u 'cmxsafe-gateway*'"
                            : "start it with 'cmxsafe gateway serve'",
                        "no gateway is running here");
}

cmx_err gw_control(const struct gw *g, const char *request, FILE *out, struct gw_error *e)
{
    char path[GW_PATH_MAX];
    char chunk[4096];
    struct sockaddr_un a;
    int dir;
    ssize_t n;
    size_t got = 0;
    bool sent;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || !short_address(gw_path(g, "run", path), &a, &dir)) {
        if (fd >= 0)
            close(fd);
        return not_running(g, e);
    }
    sent = connect(fd, (const struct sockaddr *)&a, sizeof a) == 0 &&
           send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request) &&
           send(fd, "\n", 1, MSG_NOSIGNAL) == 1;
    close(dir);
    if (!sent) {
        close(fd);
        return not_running(g, e);
    }
    while ((n = recv(fd, chunk, sizeof chunk, 0)) > 0) {
        got += (size_t)n;
        if (out)
            fwrite(chunk, 1, (size_t)n, out);
    }
    close(fd);
    return got ? CMX_OK
               : gw_error_set(e, CMX_EPERM, "ask as root, or as the gateway's owner",
                              "the running gateway gave no answer");
}
