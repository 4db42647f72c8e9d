#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"
#include "gateway/registry/control_socket.h"
#include "gateway/registry/copy_state.h"
#include "gateway/registry/sshdlog.h"
#include "gateway/server/gw_confine.h"
#include "gateway/server/gw_hold.h"
#include "gateway/server/gw_idsock.h"
#include "gateway/server/gw_report.h"
#include "gateway/server/gw_revoked.h"
#include "gateway/server/gw_rights.h"
#include "gateway/server/gw_server.h"
#include "gateway/server/gw_session_identity.h"
#include "port/linux/child.h"

#define SSHD "/usr/sbin/sshd"
/* Bytes of memory that each of a session's two sshd processes may allocate. sshd stores up to 2 MB for each connection
 * whose receiver does not read, and a client chooses how many connections it opens. At the limit sshd ends connections.
 * Builds with sanitizers set another limit, because sanitizers reserve more address space. */
#ifndef GW_SESSION_MEMORY_MAX
#define GW_SESSION_MEMORY_MAX ((rlim_t)256 << 20)
#endif
#define MESSAGES_AT_ONCE 16 /* messages read in one turn, so that one session does not delay the others */

/* Runs in the child. sshd inherits only stdin, stdout and stderr, because all other descriptors are close-on-exec. The
 * session ends with the server: without the server no grant is enforced and no revocation reaches the session. */
_Noreturn static void exec_sshd(const struct gw_server *s, pid_t server, int tcp, int log, int procs)
{
    const struct rlimit memory = {GW_SESSION_MEMORY_MAX, GW_SESSION_MEMORY_MAX};
    char config[GW_PATH_MAX];

    setpgid(0, 0);
    snprintf(config, sizeof config, "%.4000s/sshd_config", s->g->dir);
    if (s->idsock && write(procs, "0", 1) != 1)
        _exit(127);
    if ((s->ruleset >= 0 && !gw_confine(s->ruleset)) || !cmx_child_end_with(server, SIGTERM) ||
        setrlimit(RLIMIT_DATA, &memory) != 0)
        _exit(127);
    if (dup2(tcp, STDIN_FILENO) >= 0 && dup2(tcp, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0)
        execl(SSHD, SSHD, "-i", "-e", "-f", config, (char *)NULL);
    _exit(127);
}

/* Logs an event that any client can cause (a failure of sshd, a refused key or certificate), at most
 * GW_FATALS_PER_MINUTE times a minute. */
static void note_bounded(struct gw_server *s, const struct gw_session *x, const char *what, const char *detail)
{
    uint64_t now = cmx_port_now_ms();

    if (now - s->fatal_window_ms > 60000) {
        if (s->fatals > GW_FATALS_PER_MINUTE)
            gw_note("left out %u lines about failures of sshd and refused keys: only %d are logged in a minute",
                    s->fatals - GW_FATALS_PER_MINUTE, GW_FATALS_PER_MINUTE);
        s->fatal_window_ms = now;
        s->fatals = 0;
    }
    if (++s->fatals <= GW_FATALS_PER_MINUTE)
        gw_note("%s: %s: %s", x->from, what, detail);
}

/* Starts sshd for the connection. False: sshd can't be started, and the reason was logged. */
static bool spawn(struct gw_server *s, struct gw_session *x)
{
    static const char failed[] = "sshd can't be started";
    int pipe_fd[2];
    int procs = -1;
    struct cmx_why e = {0};
    const pid_t server = getpid();

    /* With O_DIRECT each write is a separate message. sshd logs names that peers choose, and does not remove line
     * breaks from them on stderr. So line breaks cannot separate sshd's own lines from a peer's text. */
    if (pipe2(pipe_fd, O_CLOEXEC | O_DIRECT) != 0) {
        note_bounded(s, x, failed, strerror(errno));
        return false;
    }
    x->number = ++s->last_number;
    if (s->idsock && gw_idsock_session_add(s->idsock, x->number, &procs, &e)) {
        note_bounded(s, x, failed, e.text);
        close(pipe_fd[0]);
        close(pipe_fd[1]);
        return false;
    }
    x->pid = cmx_child_fork();
    if (x->pid == 0)
        exec_sshd(s, server, x->tcp, pipe_fd[1], procs);
    if (x->pid < 0)
        note_bounded(s, x, failed, strerror(errno));
    if (procs >= 0)
        close(procs);
    close(pipe_fd[1]);
    if (x->pid < 0) {
        close(pipe_fd[0]);
        if (s->idsock)
            gw_idsock_session_remove(s->idsock, x->number);
        return false;
    }
    /* Parent and child both set the process group, because either process may run first. */
    setpgid(x->pid, x->pid);
    fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK);
    x->watch.fd = pipe_fd[0];
    return true;
}

/* True if the peer closed the connection while it waited in the queue; in that case no sshd is started. */
static bool peer_is_gone(int tcp)
{
    char byte;
    return recv(tcp, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void gw_session_discard(struct gw_session *x)
{
    close(x->tcp);
    cmx_mem_free(x);
}

/* Starts sshd for the connection. Frees x if the peer has disconnected or no process can be started. */
static void session_launch(struct gw_server *s, struct gw_session *x)
{
    if (peer_is_gone(x->tcp) || !spawn(s, x)) {
        gw_session_discard(x);
        return;
    }
    if (!gw_watch_add(s->epoll, &x->watch))
        gw_note("%s: can't read the log of the sshd for this connection: %s", x->from, strerror(errno));
    x->next = s->sessions;
    s->sessions = x;
    s->n_sessions++;
    s->n_greeting++;
}

/* Logs that a source is slowed or refused because of failed logins, at most once a minute for each source. */
static void note_pace(struct gw_server *s, const struct gw_session *x, const char *consequence)
{
    char source[GW_SOURCE_TEXT_MAX];

    gw_limits_source_text(x->source, source, sizeof source);
    if (gw_limits_note(&s->limits, x->source, x->started_ms))
        gw_note("%s: many of its logins failed; %s", source, consequence);
}

void gw_session_name_source(struct gw_session *x, const struct sockaddr_storage *peer)
{
    const socklen_t len = peer->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    char host[INET6_ADDRSTRLEN] = "?";
    char port[8] = "0";

    gw_limits_source((const struct sockaddr *)peer, x->source);
    (void)getnameinfo((const struct sockaddr *)peer, len, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV); /* can't fail for the numeric address of a TCP peer */
    snprintf(x->from, sizeof x->from, strchr(host, ':') ? "[%s]:%s" : "%s:%s",
             strncmp(host, "::ffff:", 7) == 0 ? host + 7 : host, port);
}

struct gw_session *gw_session_new(struct gw_server *s, int tcp, const struct sockaddr_storage *peer)
{
    struct gw_session *x = cmx_mem_alloc(sizeof *x);

    s->counters.accepted++;
    if (!x) {
        close(tcp);
        return NULL;
    }
    x->tcp = tcp;
    x->started_ms = cmx_port_now_ms();
    gw_session_name_source(x, peer);
    return x;
}

void gw_session_admit(struct gw_server *s, struct gw_session *x)
{
    x->watch = (struct gw_watch){GW_WATCH_LOG, -1};
    switch (gw_limits_pace(&s->limits, x->source, x->started_ms)) {
    case GW_LOGIN_NOW:
        session_launch(s, x);
        return;
    case GW_LOGIN_LATER:
        note_pace(s, x, "its connections are slowed");
        if (s->n_held < GW_HELD_MAX) {
            x->next = s->held;
            s->held = x;
            s->n_held++;
            return;
        }
        break;
    case GW_LOGIN_REFUSED:
        note_pace(s, x, "its connections are refused for now");
        break;
    }
    s->counters.refused_penalty++;
    gw_session_discard(x);
}

void gw_sessions_launch_held(struct gw_server *s, uint64_t now_ms)
{
    struct gw_session **link = &s->held;

    while (*link) {
        struct gw_session *x = *link;
        if (!s->stopping && now_ms - x->started_ms < GW_SLOW_MS) {
            link = &x->next;
            continue;
        }
        *link = x->next;
        s->n_held--;
        if (s->stopping)
            gw_session_discard(x);
        else
            session_launch(s, x);
    }
}

/* sshd checks a certificate's expiry only at the login. */
void gw_sessions_end_expired(struct gw_server *s, uint64_t now_ms)
{
    int64_t now = (int64_t)time(NULL);

    for (struct gw_session *x = s->sessions; x; x = x->next) {
        const struct gw_session_certificate *k = &x->certificate;
        if (x->up && !x->ending && k->ends && (now >= k->ends || now_ms >= k->end_ms))
            gw_session_end(s, x, "its certificate has expired");
    }
}

/* sshd's keepalives do not detect a frozen peer whose ports are in use: each use restarts sshd's timer. A live peer
 * answers every channel request and keepalive, so a silent peer is dead. */
void gw_sessions_end_silent(struct gw_server *s, uint64_t now_ms)
{
    if (now_ms - s->silence_checked_ms < GW_SILENCE_CHECK_MS)
        return;
    s->silence_checked_ms = now_ms;
    for (struct gw_session *x = s->sessions; x; x = x->next) {
        uint64_t silent_ms;
        if (x->up && !x->ending && gw_session_silence(x, &silent_ms) && silent_ms > GW_SILENCE_MAX_MS)
            gw_session_end(s, x, "its peer has been silent for too long");
    }
}

/* Counts the live sessions with the key of `like`. If `like` has a certificate, also counts sessions with its name. */
static size_t sessions_like(const struct gw_server *s, const struct gw_session *like)
{
    size_t n = 0;

    for (const struct gw_session *x = s->sessions; x; x = x->next)
        n += x->up && !x->ending &&
             (strcmp(x->fingerprint, like->fingerprint) == 0 ||
              (like->certificate.text && strcmp(x->name, like->name) == 0));
    return n;
}

static void note_up(struct gw_server *s, const struct gw_session *x)
{
    const struct gw_session_certificate *k = &x->certificate;

    if (!k->text) {
        gw_note("%s: logged in from %s", x->name, x->from);
        return;
    }
    gw_note("%s: logged in from %s with the certificate '%s', serial %llu", x->name, x->from, k->id,
            (unsigned long long)k->serial);
    gw_pending_forget(&s->pending, x->fingerprint); /* ssh may have offered the key without the certificate, too */
}

static void now_up(struct gw_server *s, struct gw_session *x, const struct gw_log_line *l)
{
    struct cmx_why e = {0};
    cmx_err err;

    if (x->up)
        return;
    x->up = true;
    s->n_greeting--;
    s->counters.logins++;
    x->since = (int64_t)time(NULL);
    snprintf(x->fingerprint, sizeof x->fingerprint, "%s", l->fingerprint);
    gw_limits_succeeded(&s->limits, x->source, cmx_port_now_ms());
    err = gw_session_check_certificate(x, l, &e);
    if (!err)
        err = gw_rights_read(s, x, &e);
    if (!err && s->idsock && strcmp(x->candidate, x->fingerprint) != 0)
        err = gw_session_set_identity(s, x, x->fingerprint, &e);
    if (sessions_like(s, x) > GW_SESSIONS_PER_KEY)
        gw_session_end(s, x, "its key has too many sessions");
    else if (err == CMX_ENOENT)
        gw_session_end(s, x, "its key was revoked while it logged in");
    else if (err && (s->idsock || l->authority[0]))
        gw_session_end(s, x, e.text);
    else if (err)
        /* The session's rights are unknown, so the next successful check against the registry ends the session. */
        gw_note("%s from %s: %s", x->fingerprint, x->from, e.text);
    else if (x->sshd_line && x->sshd_line != x->rights.line)
        gw_session_end(s, x, "disconnected because its permissions changed while it logged in; it may reconnect");
    else if (gw_revoked_may_be(s, x) && gw_revoked_session(s, x))
        gw_session_end(s, x, "its key or certificate was revoked while it logged in");
    else if (!gw_hold_begin(s, x))
        gw_session_end(s, x,
                       "its device has a live session at another gateway; is the same key installed on two devices?");
    else
        note_up(s, x);
    gw_journal_add_login(&s->journal, x->name, x->from, x->client);
    x->history = x->name[0] ? gw_traffic_of(s, x->name) : NULL;
    if (x->history)
        snprintf(x->history->address, sizeof x->history->address, "%s", x->address);
}

static bool key_is_retired(struct gw_server *s, const char *fingerprint)
{
    struct gw_registry r;
    char path[GW_PATH_MAX];
    bool retired;

    if (gw_registry_open(&r, gw_path(s->g, "registry.db", path), false, NULL))
        return false;
    retired = gw_device_find_retired_key(&r, fingerprint, NULL) == CMX_OK;
    gw_registry_close(&r);
    return retired;
}

static void note_refused(struct gw_server *s, const struct gw_session *x, const char *reason)
{
    s->counters.certificates_refused++;
    note_bounded(s, x, "certificate or key refused", reason);
}

void gw_session_refused(struct gw_server *s, const struct gw_session *x, const char *reason)
{
    if (!x->up)
        note_refused(s, x, reason);
}

static void take_line(struct gw_server *s, struct gw_session *x)
{
    struct gw_log_line l;

    gw_sshdlog_parse(&l, x->line);
    switch (l.kind) {
    case GW_LOG_ACCEPTED:
        now_up(s, x, &l);
        break;
    case GW_LOG_CHILD: /* a compromised sshd could name another session's process */
        if (gw_session_of_process(s, (pid_t)l.number) == x)
            x->child = (pid_t)l.number;
        break;
    case GW_LOG_FAILED:
        x->penalty_ms =
            l.fingerprint[0] && key_is_retired(s, l.fingerprint) ? GW_PENALTY_RETIRED_MS : GW_PENALTY_FAILED_MS;
        break;
    case GW_LOG_FATAL:
        note_bounded(s, x, "sshd", l.detail);
        break;
    case GW_LOG_REFUSED:
        note_refused(s, x, l.detail);
        break;
    case GW_LOG_CLIENT:
        snprintf(x->client, sizeof x->client, "%.63s", l.detail);
        break;
    case GW_LOG_DENIED:
        gw_forwards_denied(s, x, l.detail);
        break;
    case GW_LOG_IN_USE:
        gw_forwards_in_use(s, x, l.number);
        break;
    case GW_LOG_OTHER:
        break;
    }
}

/* Reads one message of sshd and handles it. Replaces control characters, which a peer may have put into it. False:
 * there is no message now. */
static bool read_message(struct gw_server *s, struct gw_session *x)
{
    ssize_t n = read(x->watch.fd, x->line, sizeof x->line - 1);

    if (n == 0 || (n < 0 && errno != EAGAIN))
        epoll_ctl(s->epoll, EPOLL_CTL_DEL, x->watch.fd, NULL); /* sshd is ending; SIGCHLD follows */
    if (n <= 0)
        return false;
    while (n > 0 && (x->line[n - 1] == '\n' || x->line[n - 1] == '\r'))
        n--;
    x->line[n] = '\0';
    cmx_text_clean(x->line);
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
    if (x->ending)
        return;
    x->ending = true;
    gw_note("%s from %s: ended: %s", x->name[0] ? x->name : "(not logged in)", x->from, why);
    if (s->idsock)
        gw_idsock_session_end(s->idsock, x->number);
    kill(-x->pid, SIGKILL); /* SIGKILL reaches a stopped process too, and its listeners close with it */
    shutdown(x->tcp, SHUT_RDWR);
}

bool gw_session_look_up(struct gw_server *s, struct gw_session *x, const char *request)
{
    if (x->up || x->ending)
        return true;
    x->sshd_line = gw_control_socket_digest(request);
    if (++x->lookups <= GW_LOOKUPS_MAX)
        return true;
    gw_limits_failed(&s->limits, x->source, GW_PENALTY_FAILED_MS, cmx_port_now_ms());
    gw_session_end(s, x, "its client offered keys too often without logging in");
    return false;
}

static void free_session(struct gw_server *s, struct gw_session **link)
{
    struct gw_session *x = *link;

    kill(-x->pid, SIGKILL); /* kills processes that sshd left in its group */
    if (!x->up) {
        s->n_greeting--;
        s->counters.failed++;
        if (!x->ending)
            gw_limits_failed(&s->limits, x->source, x->penalty_ms ? x->penalty_ms : GW_PENALTY_NO_LOGIN_MS,
                             cmx_port_now_ms());
    } else if (!x->ending) {
        gw_note("%s from %s: closed", x->name, x->from);
    }
    if (x->up)
        gw_journal_add(&s->journal, GW_JOURNAL_DOWN, x->name, x->from);
    gw_traffic_keep(x);
    gw_hold_end(s, x);
    if (s->idsock)
        gw_idsock_session_remove(s->idsock, x->number);
    gw_rights_free(&x->rights);
    gw_session_drop_certificate(x);
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

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        gw_report_ended(s, pid);
        for (struct gw_session **link = &s->sessions; *link; link = &(*link)->next)
            if ((*link)->pid == pid) {
                gw_session_readable(s, *link); /* the pipe may still have the last lines of sshd's log */
                free_session(s, link);
                break;
            }
    }
}

/* Records that checking sessions against the registry failed. Logs only the first of several failures in a row.
 * noted: the previous check failed, too. */
static void recheck_failed(struct gw_server *s, bool noted, const char *from, const char *why)
{
    if (!noted && !s->unchecked_ms)
        gw_note("%s can't be checked against the registry: %s", from, why);
    s->unchecked_ms = cmx_port_now_ms();
    if (!s->unchecked_since_ms)
        s->unchecked_since_ms = s->unchecked_ms;
}

static cmx_err recheck(struct gw_server *s, struct gw_session *x, struct gw_registry *r, struct cmx_why *e)
{
    struct gw_rights now = {0};
    char name[GW_NAME_MAX];
    cmx_err err = gw_rights_in(r, x, &now, name, e);
    gw_rights_change change;

    if (err == CMX_EAUTH || err == CMX_ENOENT) {
        s->counters.ended_revoked++;
        gw_session_end(s, x, err == CMX_EAUTH ? e->text : "its key was revoked");
        return CMX_OK;
    }
    if (err)
        return err;
    change = gw_rights_compare(&x->rights, &now);
    if (change == GW_RIGHTS_OTHER || (change == GW_RIGHTS_LESS && !s->idsock))
        gw_session_end(s, x, "disconnected because its permissions changed; it may reconnect");
    gw_rights_free(&now); /* x keeps its rights, because sshd still applies those of the login */
    return CMX_OK;
}

static void end_revoked(struct gw_server *s)
{
    for (struct gw_session *x = s->sessions; x; x = x->next)
        if (x->revoked && !x->ending) {
            s->counters.ended_revoked++;
            gw_session_end(s, x, "the KRL revokes its key or certificate");
        }
}

/* Ends a session whose rights could not be checked for GW_UNREAD_MAX_MS. */
static void end_unchecked(struct gw_server *s, struct gw_session *x)
{
    gw_session_end(s, x, "its rights could not be read from the registry for a minute");
}

static void end_all_unchecked(struct gw_server *s)
{
    for (struct gw_session *x = s->sessions; x; x = x->next)
        if (x->up && !x->ending)
            end_unchecked(s, x);
}

/* In a small deployment no process of the gateway may write to the registry. An interrupted write is therefore finished
 * by the service manager, as root, before it starts the gateway again ('net heal'). */
static void stop_to_heal(struct gw_server *s, const char *why)
{
    gw_note("ending all sessions and stopping the gateway: %s", why);
    s->failed = true;
    s->stopping = true;
}

/* Checks all sessions against the open registry. overdue: ends those that can't be checked. */
static void recheck_all(struct gw_server *s, struct gw_registry *r, bool noted, bool overdue)
{
    struct cmx_why e = {0};

    for (struct gw_session *x = s->sessions; x; x = x->next)
        if (x->up && !x->ending && r->stale) {
            gw_session_end(s, x, "the copy of the registry has not been confirmed for too long");
        } else if (x->up && !x->ending && recheck(s, x, r, &e)) {
            recheck_failed(s, noted, x->from, e.text);
            if (overdue)
                end_unchecked(s, x);
        }
    if (gw_revoked_check(s, r, &e)) {
        recheck_failed(s, noted, "the sessions", e.text);
        if (overdue)
            end_all_unchecked(s);
    }
    end_revoked(s);
}

bool gw_sessions_recheck(struct gw_server *s)
{
    struct gw_copy_state copy;
    struct gw_registry r;
    struct cmx_why e = {0};
    char path[GW_PATH_MAX];
    int64_t left = 0;
    const bool noted = s->unchecked_ms != 0;
    const bool overdue = noted && cmx_port_now_ms() - s->unchecked_since_ms >= GW_UNREAD_MAX_MS;
    bool any_end;
    cmx_err err;

    s->unchecked_ms = 0;
    err = gw_registry_open(&r, gw_path(s->g, "registry.db", path), false, &e);
    if (err) {
        recheck_failed(s, noted, "the sessions", e.text);
        if (overdue)
            end_all_unchecked(s);
        if (overdue && s->g->simple && err == CMX_EBUSY)
            stop_to_heal(s, e.text);
        return false;
    }
    recheck_all(s, &r, noted, overdue);
    gw_hold_recheck(s, &r);
    gw_registry_copy_state(&r, path, &copy);
    err = gw_grant_next_end(&r, false, &left, &e);
    any_end = err == CMX_OK;
    if (err && err != CMX_ENOENT)
        recheck_failed(s, noted, "the ends of grants", e.text);
    if (copy.shared && !r.stale && (!any_end || copy.left < left)) { /* copy.left is 0 if the copy is stale by now */
        any_end = true;
        left = copy.left;
    }
    s->end_ms = any_end ? cmx_port_now_ms() + (uint64_t)left * 1000 + 1 : 0;
    s->end_wall = (int64_t)time(NULL) + (left ? left : 1);
    gw_registry_close(&r);
    if (!s->unchecked_ms)
        s->unchecked_since_ms = 0;
    return s->unchecked_ms == 0;
}
