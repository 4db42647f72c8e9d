/* The running gateway's loop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/gateway/serve.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"

#define EVENTS_AT_ONCE 64
#define ACCEPTS_AT_ONCE 16
#define CLOSING_MS 3000

void gw_note(const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cmx_text_clean(text);
    fprintf(stderr, "cmxsafe: gateway: %s\n", text);
}

bool gw_watch_add(struct gw_server *s, struct gw_watch *w)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = w};
    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, w->fd, &ev) == 0;
}

/* With every slot taken the rest waits in the kernel's queue: a login that is under way finishes, instead of all of
 * them running into their time limits together. */
static void listen_or_not(struct gw_server *s)
{
    bool want = s->n_greeting < s->slots && !s->stopping;

    if (want == s->listening)
        return;
    s->listening = want;
    for (size_t i = 0; i < s->n_listeners; i++) {
        struct epoll_event ev = {.events = want ? EPOLLIN : 0, .data.ptr = &s->listeners[i]};
        epoll_ctl(s->epoll, EPOLL_CTL_MOD, s->listeners[i].fd, &ev);
    }
}

static void accept_some(struct gw_server *s, struct gw_watch *w)
{
    for (int i = 0; i < ACCEPTS_AT_ONCE && s->n_greeting < s->slots; i++) {
        int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return;
        gw_session_start(s, fd);
    }
}

/* Idle connections must not keep devices out: when all slots are taken, the slow ones go. */
static void relieve(struct gw_server *s)
{
    uint64_t now = cmx_port_now_ms();

    if (s->n_greeting < s->slots)
        return;
    for (struct gw_session *x = s->sessions; x; x = x->next)
        if (!x->up && !x->ending && now - x->started_ms > GW_PRESSED_LOGIN_MS) {
            s->counters.refused_pressed++;
            gw_limits_failed(&s->limits, x->source, GW_PENALTY_FAILED_MS, now);
            gw_session_end(s, x, "its login took too long while others wait");
        }
}

/* Changes that nobody told us of: another program's, or a restored backup. */
static void watch_registry(struct gw_server *s)
{
    uint64_t now = cmx_port_now_ms();
    char path[GW_PATH_MAX];
    struct stat st;
    bool changed;

    if (now - s->registry_checked_ms < GW_REGISTRY_POLL_MS)
        return;
    s->registry_checked_ms = now;
    if (stat(gw_path(s->g, "registry.db", path), &st) != 0)
        return;
    changed = st.st_mtim.tv_sec != s->registry_mtime.tv_sec || st.st_mtim.tv_nsec != s->registry_mtime.tv_nsec ||
              (int64_t)st.st_ino != s->registry_inode;
    if (changed && s->registry_inode)
        gw_sessions_recheck(s);
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
            gw_sessions_recheck(s);
    gw_sessions_reap(s);
}

/* A watch may have been freed by an event before it in the same batch (a client closed, a session reaped): these are
 * looked for, not followed. */
static bool still_there(struct gw_server *s, const struct gw_watch *w)
{
    for (struct gw_client *c = s->clients; c; c = c->next)
        if (&c->watch == w)
            return true;
    for (struct gw_session *x = s->sessions; x; x = x->next)
        if (&x->watch == w)
            return true;
    return false;
}

static bool is_own(const struct gw_server *s, const struct gw_watch *w)
{
    return w == &s->control || w == &s->signals || (w >= s->listeners && w < s->listeners + GW_LISTENERS_MAX);
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
        gw_client_readable(s, (struct gw_client *)(void *)w);
        break;
    case GW_WATCH_LOG:
        gw_session_readable(s, (struct gw_session *)(void *)w);
        break;
    }
}

static void close_answered(struct gw_server *s)
{
    struct gw_client *next;

    for (struct gw_client *c = s->clients; c; c = next) {
        next = c->next;
        if (c->closing)
            gw_client_close(s, c);
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
        watch_registry(s);
        listen_or_not(s);
        n = epoll_wait(s->epoll, events, EVENTS_AT_ONCE, wait_ms >= 0 ? wait_ms : GW_REGISTRY_POLL_MS);
        for (int i = 0; i < n && !s->stopping; i++)
            dispatch(s, events[i].data.ptr);
    }
}

static void end_all(struct gw_server *s)
{
    uint64_t deadline = cmx_port_now_ms() + CLOSING_MS;

    for (struct gw_session *x = s->sessions; x; x = x->next) {
        x->ending = true;
        kill(-x->pid, SIGKILL);
        shutdown(x->tcp, SHUT_RDWR);
    }
    while (s->sessions && cmx_port_now_ms() < deadline) {
        gw_sessions_reap(s);
        cmx_port_sleep_ms(5);
    }
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
    return s->signals.fd >= 0 && gw_watch_add(s, &s->signals);
}

/* A session costs two descriptors here. */
static void raise_limits(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
}

static bool open_all(struct gw_server *s, const int *listeners, size_t n)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    s->slots = cpus > 0 ? (size_t)cpus * GW_SLOTS_PER_CPU : 0;
    if (s->slots < GW_SLOTS_MIN)
        s->slots = GW_SLOTS_MIN;
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0 || !open_signals(s) || !gw_control_open(s))
        return false;
    for (size_t i = 0; i < n && i < GW_LISTENERS_MAX; i++) {
        fcntl(listeners[i], F_SETFD, FD_CLOEXEC);
        fcntl(listeners[i], F_SETFL, O_NONBLOCK);
        s->listeners[i] = (struct gw_watch){GW_WATCH_LISTENER, listeners[i]};
        if (!gw_watch_add(s, &s->listeners[i]))
            return false;
        s->n_listeners++;
    }
    s->listening = true;
    return true;
}

/* The unit is started when devices can come (sd_notify(3), Type=notify). Without systemd nobody asks. */
static void tell_ready(void)
{
    static const char ready[] = "READY=1";
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = name ? strlen(name) : 0;
    int fd;

    if (len == 0 || len >= sizeof a.sun_path || name[0] != '/')
        return;
    memcpy(a.sun_path, name, len);
    unsetenv("NOTIFY_SOCKET");
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, ready, sizeof ready - 1, MSG_NOSIGNAL, (const struct sockaddr *)&a, sizeof a) < 0)
        gw_note("systemd can't be told that the gateway is ready: %s", strerror(errno));
    close(fd);
}

int gw_server_run(struct gw *g, const int *listeners, size_t n)
{
    struct gw_server *s = cmx_mem_alloc(sizeof *s);
    char what[64];

    if (!s)
        return cli_fail("the gateway can't start", "out of memory", NULL);
    s->g = g;
    raise_limits();
    if (!open_all(s, listeners, n)) {
        snprintf(what, sizeof what, "%s", strerror(errno));
        cmx_mem_free(s);
        return cli_fail("the gateway can't start", what, "see 'cmxsafe gateway doctor'");
    }
    gw_note("ready on %s", g->listen);
    tell_ready();
    loop(s);
    end_all(s);
    close(s->control.fd);
    close(s->signals.fd);
    close(s->epoll);
    gw_note("stopped");
    cmx_mem_free(s);
    return CLI_OK;
}
