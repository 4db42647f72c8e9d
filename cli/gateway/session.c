#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/gateway/serve.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/registry/authline.h"
#include "gateway/registry/sshdlog.h"

#define SSHD "/usr/sbin/sshd"
#define MESSAGES_AT_ONCE 16 /* as many as a pipe holds; then others get their turn */

static uint8_t line_memory[GW_AUTHLINE_MAX];

/* FNV-1a: tells a changed line from the same; nothing secret, no adversary chooses both. */
static uint64_t digest_of(const uint8_t *p, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static cmx_err rights_in(struct gw_registry *r, const char *fingerprint, uint64_t *digest, char *name,
                         struct gw_error *e)
{
    struct cmx_buf b;
    cmx_err err;

    cmx_buf_init(&b, line_memory, sizeof line_memory);
    err = gw_authline(r, fingerprint, &b, name, e);
    if (!err)
        *digest = digest_of(cmx_buf_data(&b), cmx_buf_len(&b));
    return err;
}

cmx_err gw_rights(struct gw_server *s, const char *fingerprint, uint64_t *digest, char *name, struct gw_error *e)
{
    struct gw_registry r;
    char path[GW_PATH_MAX];
    cmx_err err = gw_registry_open(&r, gw_path(s->g, "registry.db", path), false, e);

    if (err)
        return err;
    err = rights_in(&r, fingerprint, digest, name, e);
    gw_registry_close(&r);
    return err;
}

static void name_peer(struct gw_session *x)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    char host[INET6_ADDRSTRLEN] = "?";
    char port[8] = "0";

    if (getpeername(x->tcp, (struct sockaddr *)&peer, &len) == 0) {
        gw_limits_source((const struct sockaddr *)&peer, x->source);
        (void)getnameinfo((const struct sockaddr *)&peer, len, host, sizeof host, port, sizeof port,
                          NI_NUMERICHOST | NI_NUMERICSERV); /* numeric: can't fail for a TCP peer */
    }
    snprintf(x->from, sizeof x->from, strchr(host, ':') ? "[%s]:%s" : "%s:%s",
             strncmp(host, "::ffff:", 7) == 0 ? host + 7 : host, port);
}

/* In the child. Everything else is close-on-exec. */
_Noreturn static void exec_sshd(const struct gw_server *s, int tcp, int log)
{
    char config[GW_PATH_MAX];
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    snprintf(config, sizeof config, "%.4000s/sshd_config", s->g->dir);
    if (dup2(tcp, STDIN_FILENO) >= 0 && dup2(tcp, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0)
        execl(SSHD, SSHD, "-i", "-e", "-f", config, (char *)NULL);
    _exit(127);
}

static bool spawn(struct gw_server *s, struct gw_session *x)
{
    int pipe_fd[2];

    /* O_DIRECT: what one write wrote is read as one. Peers choose names that sshd logs, and on stderr it leaves line
     * breaks in them: a line of its own is told from theirs by this alone. */
    if (pipe2(pipe_fd, O_CLOEXEC | O_DIRECT) != 0)
        return false;
    x->pid = fork();
    if (x->pid == 0)
        exec_sshd(s, x->tcp, pipe_fd[1]);
    close(pipe_fd[1]);
    if (x->pid < 0) {
        close(pipe_fd[0]);
        return false;
    }
    setpgid(x->pid, x->pid); /* both sides do it: whoever is first */
    fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK);
    x->watch.fd = pipe_fd[0];
    return true;
}

/* A peer that gave up while it waited in the queue costs no sshd. */
static bool peer_is_gone(int tcp)
{
    char byte;
    return recv(tcp, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void discard(struct gw_session *x)
{
    close(x->tcp);
    cmx_mem_free(x);
}

void gw_session_start(struct gw_server *s, int tcp)
{
    struct gw_session *x = cmx_mem_alloc(sizeof *x);

    s->counters.accepted++;
    if (!x) {
        close(tcp);
        return;
    }
    x->tcp = tcp;
    x->watch = (struct gw_watch){GW_WATCH_LOG, -1};
    x->started_ms = cmx_port_now_ms();
    name_peer(x);
    if (gw_limits_refuse(&s->limits, x->source, x->started_ms)) {
        s->counters.refused_penalty++;
        discard(x);
        return;
    }
    if (peer_is_gone(tcp) || !spawn(s, x)) {
        discard(x);
        return;
    }
    if (!gw_watch_add(s, &x->watch))
        gw_note("%s: its log can't be watched", x->from);
    x->next = s->sessions;
    s->sessions = x;
    s->n_sessions++;
    s->n_greeting++;
}

static size_t sessions_of(const struct gw_server *s, const char *fingerprint)
{
    size_t n = 0;

    for (const struct gw_session *x = s->sessions; x; x = x->next)
        n += x->up && !x->ending && strcmp(x->fingerprint, fingerprint) == 0;
    return n;
}

static void now_up(struct gw_server *s, struct gw_session *x, const char *fingerprint)
{
    struct gw_error e = {0};
    cmx_err err;

    if (x->up)
        return;
    x->up = true;
    s->n_greeting--;
    s->counters.logins++;
    x->since = (int64_t)time(NULL);
    snprintf(x->fingerprint, sizeof x->fingerprint, "%s", fingerprint);
    gw_limits_succeeded(&s->limits, x->source, cmx_port_now_ms());
    err = gw_rights(s, fingerprint, &x->rights, x->name, &e);
    if (sessions_of(s, fingerprint) > GW_SESSIONS_PER_KEY)
        gw_session_end(s, x, "its key has too many sessions");
    else if (err == CMX_ENOENT)
        gw_session_end(s, x, "revoked while it logged in");
    else if (err)
        gw_note("%s from %s: %s", fingerprint, x->from, e.why); /* rights 0: looked at again with the next change */
    else
        gw_note("%s: logged in from %s", x->name, x->from);
}

static void take_line(struct gw_server *s, struct gw_session *x)
{
    struct gw_log_line l;

    gw_sshdlog_parse(&l, x->line);
    switch (l.kind) {
    case GW_LOG_ACCEPTED:
        now_up(s, x, l.fingerprint);
        break;
    case GW_LOG_CHILD:
        x->child = (pid_t)l.number;
        break;
    case GW_LOG_FAILED:
        x->failed = true;
        break;
    case GW_LOG_DENIED:
        s->counters.denied++;
        if (x->denied++ < 5) /* a peer that asks for ever fills no journal */
            gw_note("%s from %s: refused %s", x->name, x->from, l.detail);
        break;
    case GW_LOG_IN_USE:
        s->counters.in_use++;
        if (x->denied++ < 5)
            gw_note("%s from %s: refused port %lu, a session that answers holds it; is the key in two hands?", x->name,
                    x->from, l.number);
        break;
    case GW_LOG_OTHER:
        break;
    }
}

/* One message of sshd's; control characters within are a peer's. False: nothing is there now. */
static bool read_message(struct gw_server *s, struct gw_session *x)
{
    ssize_t n = read(x->watch.fd, x->line, sizeof x->line - 1);

    if (n == 0 || (n < 0 && errno != EAGAIN))
        epoll_ctl(s->epoll, EPOLL_CTL_DEL, x->watch.fd, NULL); /* sshd is ending; SIGCHLD tells */
    if (n <= 0)
        return false;
    while (n > 0 && (x->line[n - 1] == '\n' || x->line[n - 1] == '\r'))
        n--;
    for (ssize_t i = 0; i < n; i++)
        if ((unsigned char)x->line[i] < 0x20)
            x->line[i] = '?';
    x->line[n] = '\0';
    take_line(s, x);
    return true;
}

void gw_session_readable(struct gw_server *s, struct gw_session *x)
{
    for (int i = 0; i < MESSAGES_AT_ONCE && read_message(s, x); i++)
        ;
}

void gw_session_end(struct gw_server *s, struct gw_session *x, const char *why)
{
    (void)s;
    if (x->ending)
        return;
    x->ending = true;
    gw_note("%s from %s: ended: %s", x->name[0] ? x->name : "(not logged in)", x->from, why);
    kill(-x->pid, SIGKILL); /* SIGKILL reaches a stopped process too, and its listeners close with it */
    shutdown(x->tcp, SHUT_RDWR);
}

static void free_session(struct gw_server *s, struct gw_session **link)
{
    struct gw_session *x = *link;

    kill(-x->pid, SIGKILL); /* what sshd left behind in its group */
    if (!x->up) {
        s->n_greeting--;
        s->counters.failed++;
        if (!x->ending)
            gw_limits_failed(&s->limits, x->source, x->failed ? GW_PENALTY_FAILED_MS : GW_PENALTY_NO_LOGIN_MS,
                             cmx_port_now_ms());
    } else if (!x->ending) {
        gw_note("%s from %s: closed", x->name, x->from);
    }
    gw_takeover_forget(s, x);
    *link = x->next;
    s->n_sessions--;
    close(x->watch.fd);
    close(x->tcp);
    cmx_mem_free(x);
}

void gw_sessions_reap(struct gw_server *s)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (struct gw_session **link = &s->sessions; *link; link = &(*link)->next)
            if ((*link)->pid == pid) {
                gw_session_readable(s, *link); /* its last lines may still be in the pipe */
                free_session(s, link);
                break;
            }
}

void gw_sessions_recheck(struct gw_server *s)
{
    struct gw_registry r;
    struct gw_error e = {0};
    char path[GW_PATH_MAX];
    uint64_t rights = 0;
    char name[GW_NAME_MAX];

    if (gw_registry_open(&r, gw_path(s->g, "registry.db", path), false, &e)) {
        gw_note("the registry can't be read: %s", e.why);
        return;
    }
    for (struct gw_session *x = s->sessions; x; x = x->next) {
        cmx_err err;
        if (!x->up || x->ending)
            continue;
        err = rights_in(&r, x->fingerprint, &rights, name, &e);
        if (err == CMX_ENOENT) {
            s->counters.ended_revoked++;
            gw_session_end(s, x, "its key was revoked");
        } else if (!err && rights != x->rights) {
            gw_session_end(s, x, "its rights changed, it may come back");
        }
    }
    gw_registry_close(&r);
}

void gw_session_json(FILE *f, const struct gw_session *x)
{
    struct gw_forward forwards[GW_SESSION_FORWARDS_MAX];
    size_t n = gw_session_forwards(x, forwards, GW_COUNT(forwards));
    uint64_t in = 0;
    uint64_t out = 0;
    uint32_t rtt = 0;

    (void)gw_session_counters(x, &in, &out, &rtt); /* zeros where the kernel can't tell */
    fputc('{', f);
    gw_json_text(f, true, "name", x->name);
    gw_json_text(f, false, "from", x->from);
    gw_json_text(f, false, "key", x->fingerprint);
    gw_json_number(f, false, "since", x->since);
    gw_json_number(f, false, "pid", x->pid);
    gw_json_number(f, false, "bytes_in", (int64_t)in);
    gw_json_number(f, false, "bytes_out", (int64_t)out);
    gw_json_number(f, false, "rtt_us", rtt);
    gw_json_number(f, false, "refused", (int64_t)x->denied);
    fprintf(f, ",\"forwards\":[");
    for (size_t i = 0; i < n; i++) {
        char text[GW_ADDRESS_MAX + 12];
        snprintf(text, sizeof text, strchr(forwards[i].address, ':') ? "[%s]:%u" : "%s:%u", forwards[i].address,
                 forwards[i].port);
        fputs(i ? "," : "", f);
        gw_json_string(f, text);
    }
    fputs("]}", f);
}
