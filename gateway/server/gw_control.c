/* The control socket, DIR/run/control. A client sends one line; the server answers and closes the connection. The table
 * `requests` lists who may send which request. The server checks a client's permissions by the ids that the kernel
 * reports (SO_PEERCRED). In system mode, the socket's mode also keeps other users from using up its queue. */
#include "gateway/server/gw_control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_copy.h"
#include "gateway/folder/gw_files.h"
#include "gateway/registry/authline.h"
#include "gateway/registry/control_socket.h"
#include "gateway/server/gw_access_log.h"
#include "gateway/server/gw_client.h"
#include "gateway/server/gw_hold.h"
#include "gateway/server/gw_peer.h"
#include "gateway/server/gw_report.h"
#include "gateway/server/gw_server.h"
#include "gateway/server/gw_session_identity.h"

#define ANSWER_S 30           /* a running gateway that sends nothing for this time counts as hung */
#define ANSWER_MS 45000       /* a gateway whose answer is not complete after this time counts as hung, too */
#define HELPER_MS 10000       /* time limit of a connection from sshd's helper, which stops waiting earlier */
#define HELPERS_PER_SESSION 4 /* sshd runs one helper at a time; an earlier helper's connection may still be open */
#define TELL_S 1              /* gw_control_tell waits at most this long for a gateway that is busy or hung */
#define SEND_MS 5000          /* the server stops sending an answer after this time */
#define SEND_PIECE_S 1        /* the server stops sending if the client reads nothing for this time */

#define UNREAD "unread\n" /* the answer to `reload` if the sessions can't be checked */

bool gw_control_open(struct gw_server *s)
{
    const mode_t mode = s->g->user ? 0666 : 0600; /* in --user mode, the owner and the account are different users */
    struct sockaddr_un a;
    int dir;
    bool ok;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    s->control = (struct gw_watch){GW_WATCH_CONTROL, fd};
    if (fd < 0 || !gw_control_socket_address(s->g->dir, &a, &dir))
        return false;
    unlinkat(dir, "control", 0);
    ok = bind(fd, (const struct sockaddr *)&a, sizeof a) == 0 && fchmodat(dir, "control", mode, 0) == 0 &&
         listen(fd, 1024) == 0;
    close(dir);
    return ok && gw_watch_add(s->epoll, &s->control);
}

/* Counts a session's clients, that is, connections to the control socket from processes of that session. session 0:
 * from processes that belong to no session. Connections from root and from other gateways do not count. */
static size_t clients_of(const struct gw_server *s, uint64_t session)
{
    size_t n = 0;

    for (const struct gw_client *c = s->clients; c; c = c->next)
        n += !c->root && !c->node && c->session == session;
    return n;
}

/* Accepts a client. Looks up the client's session now, because the client's process may end, and another session's
 * process may then get its pid. */
static void control_take(struct gw_server *s, int fd)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t len = sizeof peer;
    const struct gw_session *x = NULL;
    struct gw_client *c;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || (peer.uid != 0 && peer.uid != geteuid())) {
        close(fd);
        return;
    }
    if (peer.uid != 0)
        x = gw_session_of_process(s, peer.pid);
    /* A compromised sshd must not use up the connections of the other sessions and of root, or keep a connection
     * forever. */
    if (peer.uid != 0 && clients_of(s, x ? x->number : 0) >= HELPERS_PER_SESSION) {
        close(fd);
        return;
    }
    c = gw_client_add(s, fd);
    if (!c)
        return;
    c->session = x ? x->number : 0;
    c->root = peer.uid == 0;
    if (!c->root)
        c->deadline_ms = cmx_port_now_ms() + HELPER_MS;
}

void gw_control_accept(struct gw_server *s)
{
    int fd = 0;

    for (int i = 0; i < ACCEPTS_AT_ONCE && fd >= 0; i++) {
        fd = accept4(s->control.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            control_take(s, fd);
        else
            gw_client_accept_failed(s);
    }
}

static void put_counters(struct cmx_json *j, const struct gw_server *s)
{
    const struct gw_counters *n = &s->counters;

    cmx_json_object(j, "counters");
    cmx_json_u64(j, "connections", n->accepted);
    cmx_json_u64(j, "refused_penalty", n->refused_penalty);
    cmx_json_u64(j, "refused_pressed", n->refused_pressed);
    cmx_json_u64(j, "logins", n->logins);
    cmx_json_u64(j, "failed", n->failed);
    cmx_json_u64(j, "revoked", n->ended_revoked);
    cmx_json_u64(j, "takeovers", n->takeovers);
    cmx_json_u64(j, "takeovers_refused", n->takeovers_refused);
    cmx_json_u64(j, "forwards_denied", n->denied);
    cmx_json_u64(j, "ports_in_use", n->in_use);
    cmx_json_u64(j, "registry_trouble", n->trouble);
    cmx_json_u64(j, "denied_packets", s->traffic.denied_total);
    cmx_json_u64(j, "certificates_refused", n->certificates_refused);
    cmx_json_u64(j, "judge_repairs", s->repairs);
    cmx_json_end(j);
}

/* Returns what is wrong with the rules or with the process that watches them; "": nothing is wrong. */
static const char *judge_text(const struct gw_server *s)
{
    if (!s->idsock)
        return "";
    if (cmx_port_now_ms() - (s->judged_ms ? s->judged_ms : s->begun_ms) > GW_JUDGE_STALE_MS)
        return "no process is watching the fleet's rules; start cmxsafe-gateway-guard.service, or run 'cmxsafe gateway "
               "net watch'";
    return s->judged_ms ? s->judge : GW_CONTROL_JUDGE_PENDING;
}

static void put_queues(struct cmx_json *j, const struct gw_server *s)
{
    const struct gw_queues *q = &s->queues;

    cmx_json_object(j, "worker");
    cmx_json_bool(j, "running", q->reported_ms && cmx_port_now_ms() - q->reported_ms <= GW_WORKER_STALE_MS);
    cmx_json_u64(j, "checks_waiting", q->checks_waiting);
    cmx_json_u64(j, "checks_running", q->checks_running);
    cmx_json_u64(j, "events_waiting", q->events_waiting);
    cmx_json_end(j);
}

static void put_certificates(struct cmx_json *j, const struct gw_server *s)
{
    int64_t first = 0;
    uint64_t n = 0;

    for (const struct gw_session *x = s->sessions; x; x = x->next)
        if (x->up && !x->ending && x->certificate.text) {
            n++;
            if (x->certificate.ends && (!first || x->certificate.ends < first))
                first = x->certificate.ends;
        }
    cmx_json_u64(j, "certificate_sessions", n);
    cmx_json_i64(j, "certificate_first_end", first);
}

static void put_registry(struct cmx_json *j, const struct gw_server *s)
{
    char path[GW_PATH_MAX];
    char warning[GW_COPY_WARNING_MAX] = "";

    if (gw_registry_open(&s->g->registry, gw_path(s->g, "registry.db", path), false, NULL) == CMX_OK) {
        gw_copy_warning(s->g, warning);
        gw_registry_close(&s->g->registry);
    }
    cmx_json_str(j, "registry", warning);
}

/* Writes the members that the answers to `status` and `traffic` have in common. */
static void put_state(struct cmx_json *j, const struct gw_server *s)
{
    cmx_json_i64(j, "pid", getpid());
    cmx_json_u64(j, "logging_in", s->n_greeting);
    cmx_json_str(j, "trouble", s->trouble);
    cmx_json_bool(j, "identities", s->idsock != NULL);
    cmx_json_bool(j, "confined", s->ruleset >= 0);
    cmx_json_str(j, "judge", judge_text(s));
    put_registry(j, s);
    put_certificates(j, s);
    put_counters(j, s);
    put_queues(j, s);
}

static void put_traffic(struct cmx_json *j, struct gw_server *s, uint64_t from)
{
    (void)from;
    put_state(j, s);
    gw_traffic_json(j, s);
}

static void put_status(struct cmx_json *j, struct gw_server *s, uint64_t from)
{
    struct gw_listeners l;

    (void)from;
    gw_listeners_read(&l);
    put_state(j, s);
    cmx_json_array(j, "sessions");
    for (const struct gw_session *x = s->sessions; x; x = x->next)
        if (x->up && !x->ending)
            gw_forwards_session_json(j, x, &l);
    cmx_json_end(j);
    gw_listeners_free(&l);
}

static void put_pending(struct cmx_json *j, struct gw_server *s, uint64_t from)
{
    (void)from;
    gw_pending_json(j, &s->pending);
}

static void put_journal(struct cmx_json *j, struct gw_server *s, uint64_t from)
{
    gw_journal_json(j, &s->journal, from);
}

typedef void (*put_fn)(struct cmx_json *j, struct gw_server *s, uint64_t from);

/* Returns one JSON object, to be freed with free(); NULL: out of memory. */
static char *answer_text(struct gw_server *s, size_t *len, put_fn put, uint64_t from)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, len);
    struct gw_json out;

    if (!f)
        return NULL;
    gw_json_begin(&out, f);
    cmx_json_object(&out.j, NULL);
    put(&out.j, s, from);
    cmx_json_end(&out.j);
    (void)gw_json_end(&out); /* f is in memory: fclose fails if memory ran out */
    if (fclose(f) == 0)
        return text;
    free(text); /* allocated by open_memstream */
    return NULL;
}

/* Starts a child process that answers a request from another gateway's operator. Returns false for any other
 * request. */
static bool serve_report(struct gw_server *s, const struct gw_client *c)
{
    bool status = strcmp(c->request, GW_REPORT_STATUS) == 0;
    bool traffic = strcmp(c->request, GW_REPORT_TRAFFIC) == 0;
    bool follows = strncmp(c->request, GW_REPORT_FOLLOW, strlen(GW_REPORT_FOLLOW)) == 0;
    size_t len = 0;
    char *text;

    if (!status && !traffic && !follows)
        return false;
    if (!gw_report_start(s, c, follows))
        return true;
    if (follows)
        gw_report_follow(s, c);
    text = answer_text(s, &len, status ? put_status : put_traffic, 0);
    gw_report_text(c, text ? text : "", len);
}

/* Sends the answer. Blocks while the client does not read, but not much longer than SEND_MS. This is acceptable,
 * because the client is root. */
static void send_answer(struct gw_server *s, struct gw_client *c, put_fn put, uint64_t from)
{
    static const struct timeval patience = {.tv_sec = SEND_PIECE_S};
    uint64_t end_ms = cmx_port_now_ms() + SEND_MS;
    size_t len = 0;
    char *text = answer_text(s, &len, put, from);
    ssize_t n = 1;

    fcntl(c->watch.fd, F_SETFL, 0);
    setsockopt(c->watch.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    for (size_t sent = 0; text && sent < len && n > 0 && cmx_port_now_ms() < end_ms; sent += (size_t)n)
        n = send(c->watch.fd, text + sent, len - sent, MSG_NOSIGNAL);
    free(text); /* allocated by open_memstream */
}

static void send_line(const struct gw_client *c, const char *line)
{
    (void)send(c->watch.fd, line, strlen(line), MSG_NOSIGNAL); /* a client that has disconnected needs no answer */
}

/* ---- one function for each request; the argument `text` is the rest of the request after its first word ---- */

static void take_login(struct gw_server *s, struct gw_client *c, const char *text)
{
    struct gw_session *x = gw_session_numbered(s, c->session);

    /* The identity is set before the helper answers sshd, because sshd may listen and connect after the answer. */
    if (x && (!gw_session_look_up(s, x, text) || !gw_session_identify(s, x, text)))
        send_line(c, GW_REFUSED "\n");
    else
        gw_takeover_begin(s, c, text);
}

static void take_certificate(struct gw_server *s, struct gw_client *c, const char *text)
{
    struct gw_session *x = gw_session_numbered(s, c->session);

    if (!x || !gw_session_look_up(s, x, text) || !gw_session_certify(s, x, text))
        send_line(c, GW_REFUSED "\n");
}

static void take_refused(struct gw_server *s, struct gw_client *c, const char *text)
{
    const struct gw_session *x = gw_session_numbered(s, c->session);

    if (x)
        gw_session_refused(s, x, text);
}

static void take_unknown(struct gw_server *s, struct gw_client *c, const char *text)
{
    const struct gw_session *x = gw_session_numbered(s, c->session);

    if (x)
        gw_pending_note(&s->pending, text, x->from, x->source, (int64_t)time(NULL));
}

static void take_trouble(struct gw_server *s, struct gw_client *c, const char *text)
{
    const struct gw_session *x = gw_session_numbered(s, c->session);

    if (!x || x->up)
        return; /* only a session that is logging in may report: others must not fill the log */
    s->counters.trouble++;
    if (strcmp(s->trouble, text) != 0)
        gw_note("no login is possible: %s", text);
    snprintf(s->trouble, sizeof s->trouble, "%.299s", text);
}

/* text: the guard's report, "ok", "repaired WHAT", "bad WHAT" or "stop WHAT". */
static void take_judge(struct gw_server *s, struct gw_client *c, const char *text)
{
    (void)c;
    s->judged_ms = cmx_port_now_ms();
    if (strcmp(text, "ok") == 0) {
        if (s->judge[0])
            gw_note("the fleet's network is as configured again");
        s->judge[0] = '\0';
    } else if (strncmp(text, "repaired ", 9) == 0) {
        s->repairs++;
        gw_note("repaired: %s", text + 9);
    } else if (strncmp(text, "stop ", 5) == 0) {
        gw_note("ending all sessions and stopping the gateway: %s", text + 5);
        s->failed = true;
        s->stopping = true;
    } else if (strncmp(text, "bad ", 4) == 0) {
        if (strcmp(s->judge, text + 4) != 0)
            gw_note("the fleet's network differs from its configuration: %s", text + 4);
        snprintf(s->judge, sizeof s->judge, "%s", text + 4);
    }
}

/* text: "SOURCE TARGET PORT COUNT" of a refused connection. */
static void take_denied(struct gw_server *s, struct gw_client *c, const char *text)
{
    char source[GW_ADDRESS_MAX];
    char target[GW_ADDRESS_MAX];
    unsigned port;

    (void)c;
    if (!s->access || sscanf(text, "%45s %45s %u", source, target, &port) != 3)
        return;
    gw_journal_add_refusal(&s->journal, source, target, port);
    gw_access_denied(s->access, text);
    gw_traffic_denied(s, text);
}

/* text: "CHECKS-WAITING CHECKS-RUNNING EVENTS-WAITING". */
static void take_queues(struct gw_server *s, struct gw_client *c, const char *text)
{
    struct gw_queues q = {.reported_ms = cmx_port_now_ms()};

    (void)c;
    if (sscanf(text, "%llu %llu %llu", &q.checks_waiting, &q.checks_running, &q.events_waiting) == 3)
        s->queues = q;
}

static void answer_reload(struct gw_server *s, struct gw_client *c, const char *text)
{
    (void)text;
    send_line(c, gw_sessions_recheck(s) ? "ok\n" : UNREAD);
}

static void answer_forget(struct gw_server *s, struct gw_client *c, const char *text)
{
    gw_pending_forget(&s->pending, text);
    send_line(c, "ok\n");
}

static const struct {
    /* The first word of the request, including the blank after it if the request has more text. */
    const char *verb;
    /* True: only root may send this request. */
    bool root;
    void (*serve)(struct gw_server *s, struct gw_client *c, const char *text); /* NULL: `put` writes the answer */
    put_fn put;
} requests[] = {
    /* sshd's helper sends these requests. A compromised sshd can send them, too, but it can neither end a live session
     * with them nor change the identity of another session. */
    {"login ", false, take_login, NULL},
    {"certificate ", false, take_certificate, NULL},
    {"refused ", false, take_refused, NULL},
    {"unknown ", false, take_unknown, NULL},
    {"trouble ", false, take_trouble, NULL},
    /* From the guard. */
    {"judge ", true, take_judge, NULL},
    {"denied ", true, take_denied, NULL},
    /* From the operator's commands. */
    {"reload", true, answer_reload, NULL},
    {"status", true, NULL, put_status},
    {"traffic", true, NULL, put_traffic},
    {"pending", true, NULL, put_pending},
    {"forget ", true, answer_forget, NULL},
    /* From the worker. */
    {"journal ", true, NULL, put_journal},
    {"claims ", true, NULL, gw_hold_json},
    {"queues ", true, take_queues, NULL},
};

static void serve_local(struct gw_server *s, struct gw_client *c)
{
    for (size_t i = 0; i < GW_COUNT(requests); i++) {
        size_t len = strlen(requests[i].verb);
        const char *text = c->request + len;

        if (strncmp(c->request, requests[i].verb, len) != 0 || (text[-1] != ' ' && *text) ||
            (requests[i].root && !c->root))
            continue;
        if (requests[i].serve)
            requests[i].serve(s, c, text);
        else
            send_answer(s, c, requests[i].put, strtoull(text, NULL, 10));
        return;
    }
}

static void serve_node(struct gw_server *s, struct gw_client *c)
{
    const struct gw_session *subject = gw_peer_subject(s, c);

    if (!serve_report(s, c) && subject)
        gw_takeover_begin(s, c, subject->fingerprint);
}

/* True if the answer waits for probes or for another gateway. */
static bool waits(const struct gw_client *c)
{
    return c->n_probes || c->follows || c->question.fd >= 0;
}

void gw_control_readable(struct gw_server *s, struct gw_client *c)
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
    if (waits(c))
        return; /* the request was read; further bytes are ignored */
    if (end && c->node)
        serve_node(s, c);
    else if (end)
        serve_local(s, c);
    if (!waits(c)) {
        gw_peer_answer(s, c);
        gw_client_close(s, c);
    }
}

static cmx_err not_running(const struct gw *g, struct cmx_why *e)
{
    if (!g->user && access("/etc/systemd/system/cmxsafe-gateway.service", F_OK) == 0)
        return cmx_why_fail(e, CMX_ECLOSED,
                            "no gateway is running here; start it with 'systemctl start cmxsafe-gateway.socket "
                            "cmxsafe-gateway.service'; to see why it ended, run journalctl -u "
                            "'cmxsafe-gateway*'");
    return cmx_why_fail(e, CMX_ECLOSED, "no gateway is running here; start it with 'cmxsafe gateway serve'");
}

static bool send_request(int fd, const char *request)
{
    return send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request) &&
           send(fd, "\n", 1, MSG_NOSIGNAL) == 1;
}

bool gw_control_is_serving(const struct gw *g)
{
    char path[GW_PATH_MAX];
    /* O_NONBLOCK: a compromised account may have put a FIFO there. */
    int lock = open(gw_path(g, "run/lock", path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool serving = lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) != 0;
    int fd = serving ? -1 : gw_control_socket_connect(g->dir, 0);

    if (lock >= 0)
        close(lock);
    if (fd >= 0)
        close(fd);
    return serving || fd >= 0 || errno == EAGAIN;
}

bool gw_control_tell(const struct gw *g, const char *line)
{
    int fd = gw_control_socket_connect(g->dir, TELL_S);
    bool sent = fd >= 0 && send_request(fd, line);

    if (fd >= 0)
        close(fd);
    return sent;
}

/* Sends a request. out: receives the answer; may be NULL. */
static cmx_err ask(const struct gw *g, const char *request, FILE *out, struct cmx_why *e)
{
    char chunk[16384] = "";
    ssize_t n;
    ssize_t got = 0;
    size_t total = 0;
    bool sent;
    bool hung;
    uint64_t end_ms = cmx_port_now_ms() + ANSWER_MS;
    int fd = gw_control_socket_connect(g->dir, ANSWER_S);

    if (fd < 0 && errno == EACCES)
        return cmx_why_fail(e, CMX_EPERM,
                            "the running gateway answers only root and its own account; run this as root");
    if (fd < 0 && errno != EAGAIN)
        return not_running(g, e);
    sent = fd >= 0 && send_request(fd, request);
    hung = !sent && errno == EAGAIN;
    while (sent && total < GW_ANSWER_MAX && (n = recv(fd, chunk, sizeof chunk, 0)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        hung = n < 0 ? errno == EAGAIN : cmx_port_now_ms() >= end_ms;
        if (n < 0 || hung)
            break;
        got = n;
        total += (size_t)n;
        if (out)
            fwrite(chunk, 1, (size_t)n, out);
    }
    if (fd >= 0)
        close(fd);
    if (hung)
        return cmx_why_fail(e, CMX_EPERM, "the running gateway does not answer; restart it");
    if (total >= GW_ANSWER_MAX)
        return cmx_why_fail(e, CMX_EPERM, "the running gateway's answer is longer than %u MB; restart the gateway",
                            GW_ANSWER_MAX >> 20);
    if (got == (ssize_t)strlen(UNREAD) && memcmp(chunk, UNREAD, strlen(UNREAD)) == 0)
        return cmx_why_fail(
            e, CMX_EPERM,
            "the running gateway can't check its sessions against the registry, so they keep their rights "
            "until it can; see its log and 'cmxsafe gateway doctor'");
    if (got && chunk[got - 1] == '\n')
        return CMX_OK;
    return cmx_why_fail(e, CMX_EPERM,
                        got ? "the running gateway sent only part of its answer; try again"
                            : "the running gateway sent no answer; run this as root, or as the gateway's owner");
}

cmx_err gw_control(const struct gw *g, const char *request, char **answer, struct cmx_why *e)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = answer ? open_memstream(&text, &len) : NULL;
    cmx_err err = answer && !out ? CMX_OK : ask(g, request, out, e);

    if (answer) {
        err = gw_file_end_text(out, err, e);
        *answer = err ? NULL : text;
    }
    if (err)
        free(text); /* allocated by open_memstream */
    return err;
}
