/* The running gateway's loop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_fail.h"
#include "gateway/registry/party.h"
#include "gateway/server/gw_access_log.h"
#include "gateway/server/gw_client.h"
#include "gateway/server/gw_confine.h"
#include "gateway/server/gw_header.h"
#include "gateway/server/gw_hold.h"
#include "gateway/server/gw_idsock.h"
#include "gateway/server/gw_locks.h"
#include "gateway/server/gw_peer.h"
#include "gateway/server/gw_server.h"
#include "port/linux/notify.h"

#define EVENTS_AT_ONCE 64
#define SPARE_DESCRIPTORS 256 /* stay free for the control socket, probes and the registry */
#define CROWDED_NOTE_MS 60000
#define CLOSING_MS 3000

/* True if SPARE_DESCRIPTORS would stay free with one more session. Each session uses two descriptors. */
static bool has_descriptors(struct gw_server *s)
{
    uint64_t now = cmx_port_now_ms();

    if (2 * (s->n_sessions + 1) + s->n_held + s->n_headers + SPARE_DESCRIPTORS <= s->max_descriptors)
        return true;
    if (!s->crowded_ms || now - s->crowded_ms > CROWDED_NOTE_MS) {
        gw_note("new connections wait: %zu sessions use up the %zu files that this process may open (LimitNOFILE)",
                s->n_sessions, s->max_descriptors);
        s->crowded_ms = now;
    }
    return false;
}

static void watch_or_not(const struct gw_server *s, struct gw_watch *w, bool want)
{
    struct epoll_event ev = {.events = want ? EPOLLIN : 0, .data.ptr = w};

    if (w->fd >= 0)
        epoll_ctl(s->epoll, EPOLL_CTL_MOD, w->fd, &ev);
}

/* Stops accepting devices' connections while every slot is used: new connections wait in the kernel's queue, and the
 * logins that have begun finish in time. For a time after a failed accept (accept_ms), accepts no connection at all. */
static void listen_or_not(struct gw_server *s)
{
    bool paused = cmx_port_now_ms() < s->accept_ms;
    bool want = !s->stopping && s->n_greeting < s->slots && has_descriptors(s) && !paused;

    for (size_t i = 0; want != s->listening && i < s->n_listeners; i++)
        watch_or_not(s, &s->listeners[i], want);
    s->listening = want;
    if (paused == s->paused)
        return;
    s->paused = paused;
    watch_or_not(s, &s->control, !paused);
    watch_or_not(s, &s->peers, !paused);
}

static void accept_some(struct gw_server *s, struct gw_watch *w)
{
    for (int i = 0; i < ACCEPTS_AT_ONCE && s->n_greeting < s->slots && has_descriptors(s); i++) {
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof peer;
        int fd = accept4(w->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
        struct gw_session *x = fd < 0 ? NULL : gw_session_new(s, fd, &peer);

        if (fd < 0)
            gw_client_accept_failed(s);
        if (!x)
            return;
        if (gw_header_is_due(s, (const struct sockaddr *)&peer))
            gw_header_await(s, x);
        else
            gw_session_admit(s, x);
    }
}

/* When all slots are used, closes connections whose login is slow, so that idle connections can't block devices. */
static void relieve(struct gw_server *s)
{
    uint64_t now = cmx_port_now_ms();

    if (s->n_greeting < s->slots)
        return;
    for (struct gw_session *x = s->sessions; x; x = x->next)
        if (!x->up && !x->ending && now - x->started_ms > GW_PRESSED_LOGIN_MS) {
            s->counters.refused_pressed++;
            gw_limits_failed(&s->limits, x->source, GW_PENALTY_FAILED_MS, now);
            gw_session_end(s, x, "its login took too long while other connections waited");
        }
}

/* Creates the control socket again if it was removed. */
static void keep_control(struct gw_server *s)
{
    char path[GW_PATH_MAX];
    bool lost = access(gw_path(s->g, "run/control", path), F_OK) != 0;
    bool had = s->control.fd >= 0;

    if (!lost)
        return;
    if (had)
        close(s->control.fd);
    if (gw_control_open(s)) {
        gw_note("the control socket was removed; it was created again");
        return;
    }
    if (had)
        gw_note("the control socket was removed and can't be created again (%s): new sessions get no identity, and "
                "commands can't reach this gateway; run 'cmxsafe gateway init', which creates the folder 'run'",
                strerror(errno));
    if (s->control.fd >= 0)
        close(s->control.fd);
    s->control.fd = -1;
}

/* Checks the control socket. Checks sessions when a grant or evidence ends, when the copy becomes stale, and when the
 * registry's file has changed: some changes, such as a restored backup, are not reported by a command. */
static void watch_folder(struct gw_server *s)
{
    uint64_t now = cmx_port_now_ms();
    char path[GW_PATH_MAX];
    struct stat st = {0};
    bool changed;

    if (now - s->registry_checked_ms < GW_REGISTRY_POLL_MS)
        return;
    s->registry_checked_ms = now;
    keep_control(s);
    (void)stat(gw_path(s->g, "registry.db", path), &st); /* st stays zeroed if the file is missing */
    changed = st.st_mtim.tv_sec != s->registry_mtime.tv_sec || st.st_mtim.tv_nsec != s->registry_mtime.tv_nsec ||
              (int64_t)st.st_ino != s->registry_inode;
    if (changed || (s->end_ms && (now >= s->end_ms || (int64_t)time(NULL) >= s->end_wall)) ||
        (s->unchecked_ms && now - s->unchecked_ms >= GW_RECHECK_MS))
        (void)gw_sessions_recheck(s); /* if this fails, the loop repeats it after GW_RECHECK_MS */
    s->registry_mtime = st.st_mtim;
    s->registry_inode = (int64_t)st.st_ino;
}

static void take_signals(struct gw_server *s)
{
    struct signalfd_siginfo si;

    while (read(s->signals.fd, &si, sizeof si) == sizeof si)
        if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
            s->stopping = true;
        else if (si.ssi_signo == SIGHUP)
            (void)gw_sessions_recheck(s);
    gw_sessions_reap(s);
}

/* True if the watch still exists. An earlier event of the same batch may have freed it (a client closed, a session
 * reaped), so each watch is looked up before it is used. */
static bool still_there(struct gw_server *s, const struct gw_watch *w)
{
    for (struct gw_client *c = s->clients; c; c = c->next)
        if (&c->watch == w)
            return true;
    for (struct gw_session *x = s->sessions; x; x = x->next)
        if (&x->watch == w)
            return true;
    for (struct gw_session *x = s->headers; x; x = x->next)
        if (&x->watch == w)
            return true;
    return false;
}

static bool is_own(const struct gw_server *s, const struct gw_watch *w)
{
    return w == &s->control || w == &s->signals || w == &s->events || w == &s->routes || w == &s->peers ||
           (w >= s->listeners && w < s->listeners + GW_LISTENERS_MAX);
}

static void dispatch(struct gw_server *s, struct gw_watch *w)
{
    if (!is_own(s, w) && !still_there(s, w))
        return;
    switch (w->kind) {
    case GW_WATCH_LISTENER:
        accept_some(s, w);
        break;
    case GW_WATCH_SIGNAL:
        take_signals(s);
        break;
    case GW_WATCH_CONTROL:
        gw_control_accept(s);
        break;
    case GW_WATCH_CLIENT:
        gw_control_readable(s, (struct gw_client *)(void *)w);
        break;
    case GW_WATCH_HEADER:
        gw_header_readable(s, (struct gw_session *)(void *)w);
        break;
    case GW_WATCH_LOG:
        gw_session_readable(s, (struct gw_session *)(void *)w);
        break;
    case GW_WATCH_EVENTS:
        gw_access_take(s->access, s->idsock);
        break;
    case GW_WATCH_ROUTES:
        gw_hold_routes(s);
        break;
    case GW_WATCH_PEERS:
        gw_peer_accept(s);
        break;
    }
}

static void close_answered(struct gw_server *s)
{
    struct gw_client *next;

    for (struct gw_client *c = s->clients; c; c = next) {
        next = c->next;
        if (c->closing) {
            gw_peer_answer(s, c);
            gw_client_close(s, c);
        }
    }
}

static bool is_alive(void *arg, uint64_t number)
{
    return gw_session_numbered(arg, number) != NULL;
}

/* If the identity programs were removed, ends all sessions and the server; the service manager starts it again with new
 * programs. */
static void watch_identities(struct gw_server *s)
{
    uint64_t now = cmx_port_now_ms();
    struct cmx_why e = {0};

    if (!s->idsock || now - s->tidied_ms < GW_TIDY_MS)
        return;
    s->tidied_ms = now;
    gw_idsock_tidy(s->idsock, is_alive, s);
    if (gw_idsock_check(s->idsock, &e)) {
        gw_note("ending all sessions and stopping the gateway: %s", e.text);
        s->failed = true;
        s->stopping = true;
    }
}

/* Ends sessions whose identity another gateway has claimed since they began. */
static void end_lost(struct gw_server *s)
{
    char why[2 * GW_NAME_MAX + 40];

    for (struct gw_session *x = s->sessions; x; x = x->next)
        if (x->lost_to[0] && !x->ending) {
            snprintf(why, sizeof why, "%s has since logged in to the gateway %s", x->name, x->lost_to);
            gw_session_end(s, x, why);
        }
}

static void loop(struct gw_server *s)
{
    struct epoll_event events[EVENTS_AT_ONCE];

    while (!s->stopping) {
        int wait_ms = gw_takeover_tick(s);
        int n;

        close_answered(s);
        relieve(s);
        watch_folder(s);
        gw_header_expire(s, cmx_port_now_ms());
        gw_sessions_launch_held(s, cmx_port_now_ms());
        gw_sessions_end_silent(s, cmx_port_now_ms());
        gw_sessions_end_expired(s, cmx_port_now_ms());
        gw_locks_check(s, cmx_port_now_ms());
        gw_hold_tick(s);
        end_lost(s);
        gw_peer_open(s);
        watch_identities(s);
        gw_traffic_tick(s);
        listen_or_not(s);
        n = epoll_wait(s->epoll, events, EVENTS_AT_ONCE, wait_ms >= 0 ? wait_ms : GW_REGISTRY_POLL_MS);
        for (int i = 0; i < n && !s->stopping; i++)
            dispatch(s, events[i].data.ptr);
    }
}

static void end_all(struct gw_server *s)
{
    uint64_t deadline = cmx_port_now_ms() + CLOSING_MS;

    gw_header_expire(s, deadline);
    gw_sessions_launch_held(s, deadline);
    for (struct gw_session *x = s->sessions; x; x = x->next) {
        x->ending = true;
        if (s->idsock)
            gw_idsock_session_end(s->idsock, x->number);
        kill(-x->pid, SIGKILL);
        shutdown(x->tcp, SHUT_RDWR);
    }
    while (s->sessions && cmx_port_now_ms() < deadline) {
        gw_sessions_reap(s);
        cmx_port_sleep_ms(5);
    }
    if (s->access)
        gw_access_take(s->access, s->idsock); /* the ends of the sessions' connections */
    while (s->clients)
        gw_client_close(s, s->clients);
    while (s->history) {
        struct gw_history *next = s->history->next;
        cmx_mem_free(s->history);
        s->history = next;
    }
}

static bool open_signals(struct gw_server *s)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_SETMASK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->signals = (struct gw_watch){GW_WATCH_SIGNAL, signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    return s->signals.fd >= 0 && gw_watch_add(s->epoll, &s->signals);
}

/* Raises the limit on open descriptors, because each session needs two in this process. Returns the new limit. */
static size_t raise_limits(void)
{
    struct rlimit lim = {.rlim_cur = 1024, .rlim_max = 1024};

    (void)getrlimit(RLIMIT_NOFILE, &lim);
    lim.rlim_cur = lim.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &lim); /* can't fail: the hard limit is unchanged */
    return (size_t)lim.rlim_max;
}

/* Opens the resources that sessions with identities need: the watch on other gateways' claims, the access log and the
 * kernel's events. */
static bool open_identities(struct gw_server *s)
{
    struct cmx_why e = {0};

    if (!s->idsock)
        return true;
    if (!gw_hold_open(s))
        return false;
    if (gw_party_gateway_identity(&s->g->fleet, s->own_address, &e))
        return false;
    s->access = gw_access_open(s->g, s->own_address);
    s->events = (struct gw_watch){GW_WATCH_EVENTS, gw_idsock_events_fd(s->idsock)};
    return s->access && gw_watch_add(s->epoll, &s->events);
}

static bool open_all(struct gw_server *s, const int *listeners, size_t n)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    s->slots = cpus > 0 ? (size_t)cpus * GW_SLOTS_PER_CPU : 0;
    if (s->slots < GW_SLOTS_MIN)
        s->slots = GW_SLOTS_MIN;
    s->ruleset = gw_confine_ruleset();
    if (s->ruleset < 0)
        gw_note("the kernel has no Landlock: a session whose sshd is compromised could act as another session");
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0 || !open_signals(s) || !open_identities(s) || !gw_control_open(s))
        return false;
    for (size_t i = 0; i < n && i < GW_LISTENERS_MAX; i++) {
        fcntl(listeners[i], F_SETFD, FD_CLOEXEC);
        fcntl(listeners[i], F_SETFL, O_NONBLOCK);
        s->listeners[i] = (struct gw_watch){GW_WATCH_LISTENER, listeners[i]};
        if (!gw_watch_add(s->epoll, &s->listeners[i]))
            return false;
        s->n_listeners++;
    }
    s->listening = true;
    return true;
}

/* The unit counts as started once devices can connect (Type=notify). */
void gw_server_tell_ready(void)
{
    struct cmx_notify notify;

    cmx_notify_open(&notify);
    cmx_notify_send(&notify, "READY=1");
    cmx_notify_close(&notify);
}

int gw_server_run(struct gw *g, struct gw_idsock *idsock, const struct gw_claims *claims, const int *listeners,
                  size_t n)
{
    struct gw_server *s = cmx_mem_alloc(sizeof *s);
    bool started;
    int status;

    if (!s)
        return cli_fail("the gateway can't start", "out of memory", NULL);
    s->g = g;
    s->begun_ms = cmx_port_now_ms();
    s->idsock = idsock;
    gw_journal_begin(&s->journal);
    s->claims = claims ? *claims : (struct gw_claims){-1};
    s->max_descriptors = raise_limits();
    s->ruleset = s->routes.fd = s->peers.fd = s->control.fd = s->signals.fd = -1;
    started = open_all(s, listeners, n);
    if (started) {
        gw_note("ready on %s", g->listen);
        gw_server_tell_ready();
        loop(s);
        end_all(s);
    } else {
        (void)cli_fail("the gateway can't start", strerror(errno), "see 'cmxsafe gateway doctor'");
    }
    gw_hold_close(s);
    gw_access_close(s->access);
    gw_idsock_close(s->idsock);
    close(s->control.fd);
    close(s->signals.fd);
    close(s->epoll);
    status = s->failed || !started ? EXIT_FAILURE : EXIT_SUCCESS;
    if (started)
        gw_note("stopped");
    cmx_mem_free(s);
    return status;
}
