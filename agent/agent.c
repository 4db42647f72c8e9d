#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attest.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/version.h"
#include "linux_port.h"
#include "liveness.h"
#include "memory.h"
#include "wiring.h"

#define TAG "agent"
#define AGENT_ACCOUNT "cmxsafed" /* the packaged unit's */

static void feed(void *arg)
{
    (void)arg;
    liveness_feed(cmx_port_now_ms());
}

/* ---- errors of a configuration ---- */

static void print_line(void *arg, const char *text)
{
    const bool *journal = arg;

    fprintf(stderr, "%s%s\n", *journal ? "<3>" : "", text);
}

/* Keeps the first error for the status; all go to the log. */
static void log_line(void *arg, const char *text)
{
    struct agent *a = arg;

    if (!a->reload_error[0])
        snprintf(a->reload_error, sizeof a->reload_error, "%s", text);
    cmx_log(CMX_LOG_ERROR, "config", "%s", text);
}

static struct agent_config *load(const char *file, bool journal)
{
    struct config_report report = {.file = file, .line = print_line, .arg = &journal};
    struct agent_config *c = NULL;
    char why[160] = "";

    if (config_load(file, &report, &c) != CMX_OK)
        return NULL;
    if (wiring_check(c, why, sizeof why) != CMX_OK) {
        config_error(&report, 0, "%s", why);
        config_free(c);
        return NULL;
    }
    return c;
}

/* Root can read what the packaged unit's user can't. */
static void note_owner(const char *config_file, const char *path)
{
    const struct passwd *pw = path && geteuid() == 0 ? getpwnam(AGENT_ACCOUNT) : NULL;
    struct stat st;

    if (pw && pw->pw_uid != 0 && stat(path, &st) == 0 && st.st_uid == 0)
        fprintf(stderr, "%s: note: %s is root's, and the unit runs the agent as %s; run: chown %s: %s\n", config_file,
                path, AGENT_ACCOUNT, AGENT_ACCOUNT, path);
}

int agent_check(const char *config_file)
{
    struct agent_config *c = load(config_file, false);

    if (!c)
        return 1;
    note_owner(config_file, c->gateway.key_file);
    note_owner(config_file, c->gateway.key_passphrase_file);
    note_owner(config_file, c->gateway.password_file);
    note_owner(config_file, c->identity.key_file);
    printf("%s: ok: gateway %s port %llu as %s, %zu pinned host key%s, %zu context%s\n", config_file, c->gateway.host,
           (unsigned long long)c->gateway.port, c->gateway.user, c->pins.n, c->pins.n == 1 ? "" : "s", c->n_contexts,
           c->n_contexts == 1 ? "" : "s");
    config_free(c);
    return 0;
}

/* ---- confinement ---- */

static void plan_path(struct agent *a, const char *file, bool write)
{
    const char *slash = file ? strrchr(file, '/') : NULL;
    char *folder;

    if (!file || a->n_plan_paths == CONFINE_PATHS_MAX)
        return;
    folder = cmx_mem_strdup(slash ? file : ".");
    if (!folder)
        return;
    if (slash)
        folder[slash == file ? 1 : slash - file] = 0;
    a->plan_paths[a->n_plan_paths++] = folder;
    if (write)
        confine_write(&a->plan, folder);
    else
        confine_read(&a->plan, folder);
}

static void plan_port(uint16_t *ports, size_t *n, uint64_t port)
{
    if (*n < CONFINE_PORTS_MAX)
        ports[(*n)++] = (uint16_t)port;
}

/* Folders rather than files: an editor replaces a file, and a rule on the old one would hold nothing. */
static void make_plan(struct agent *a)
{
    const struct agent_config *c = a->config;
    struct confine_plan *p = &a->plan;

    confine_plan_base(p);
    plan_path(a, a->config_file, false);
    plan_path(a, c->gateway.known_hosts_file, false);
    plan_path(a, c->gateway.key_file, false);
    plan_path(a, c->gateway.key_passphrase_file, false);
    plan_path(a, c->gateway.password_file, false);
    plan_path(a, c->agent.control_socket, true);
    p->limit_ports = c->agent.confine_ports == AGENT_PORTS_FIXED;
    plan_port(p->connect, &p->n_connect, c->gateway.port);
    plan_port(p->connect, &p->n_connect, 53); /* a name's answer that does not fit a datagram, RFC 7766 */
    for (size_t i = 0; i < c->n_contexts; i++) {
        const struct context_section *s = &c->contexts[i];

        if (s->direction == CMX_REVERSE)
            plan_port(p->connect, &p->n_connect, s->local_port);
        else
            plan_port(p->bind, &p->n_bind, s->local_port);
    }
    wiring_plan(a, p);
}

static bool in(const uint16_t *ports, size_t n, uint64_t port)
{
    for (size_t i = 0; i < n; i++)
        if (ports[i] == port)
            return true;
    return false;
}

/* A process can't give itself a port back: say so before anything is applied. */
static void check_ports(const struct agent *a, const struct agent_config *next, struct config_report *r)
{
    const struct confine_plan *p = &a->plan;

    if (!a->confinement.n || !p->limit_ports)
        return;
    if (!in(p->connect, p->n_connect, next->gateway.port))
        config_error(r, next->gateway.head.line, "gateway port %llu needs a restart: confine_ports = fixed",
                     (unsigned long long)next->gateway.port);
    for (size_t i = 0; i < next->n_contexts; i++) {
        const struct context_section *s = &next->contexts[i];

        if (s->direction == CMX_REVERSE ? !in(p->connect, p->n_connect, s->local_port)
                                        : !in(p->bind, p->n_bind, s->local_port))
            config_error(r, s->head.line, "[context %s]: local_port %llu needs a restart: confine_ports = fixed",
                         s->name, (unsigned long long)s->local_port);
    }
}

static cmx_err confine(struct agent *a)
{
    cmx_err err;

    if (a->config->agent.confine == AGENT_CONFINE_NO) {
        cmx_log(CMX_LOG_WARN, TAG, "not confined: confine = no");
        return CMX_OK;
    }
    a->plan.abstract_sockets = a->notify.fd >= 0;
    err = confine_apply(&a->plan, &a->confinement);
    for (size_t i = 0; i < a->confinement.n; i++)
        cmx_log(a->confinement.item[i].applied || a->confinement.item[i].by_choice ? CMX_LOG_INFO : CMX_LOG_WARN, TAG,
                "confinement: %s: %s (%s)", a->confinement.item[i].what,
                a->confinement.item[i].applied ? "applied" : "not applied", a->confinement.item[i].detail);
    if (!err || a->config->agent.confine != AGENT_CONFINE_REQUIRED)
        return CMX_OK;
    cmx_log(CMX_LOG_ERROR, TAG,
            "confine = required, and not all of it could be applied; set confine = yes to run with less");
    return err;
}

/* ---- reload ---- */

/* Settings that hold for the life of the process. */
static void warn_of_restarts(const struct agent *a, const struct agent_config *next)
{
    const struct agent_section *o = &a->config->agent;
    const struct agent_section *n = &next->agent;

    if (strcmp(o->control_socket, n->control_socket) != 0 || o->confine != n->confine ||
        o->confine_ports != n->confine_ports)
        cmx_log(CMX_LOG_WARN, TAG, "control_socket, confine and confine_ports keep their old values until a restart");
}

static struct agent_config *load_next(struct agent *a)
{
    struct config_report report = {.file = a->config_file, .line = log_line, .arg = a};
    struct agent_config *next = NULL;

    if (config_load(a->config_file, &report, &next) != CMX_OK)
        return NULL;
    check_ports(a, next, &report);
    if (report.errors) {
        config_free(next);
        return NULL;
    }
    return next;
}

void agent_reload(struct agent *a)
{
    struct agent_config *next;
    char why[160] = "";

    notify_send(&a->notify, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)cmx_port_now_ms() * 1000);
    a->reload_error[0] = 0;
    next = load_next(a);
    if (next && wiring_reload(a, next, why, sizeof why) != CMX_OK) {
        log_line(a, why);
        config_free(next);
        next = NULL;
    }
    if (next) {
        warn_of_restarts(a, next);
        config_free(a->config);
        a->config = next;
        a->loaded_ms = cmx_port_now_ms();
        a->reload_failed_ms = 0;
        cmx_log_set_level((cmx_log_level)next->agent.log_level);
        cmx_log(CMX_LOG_INFO, TAG, "%s read again: %zu contexts", a->config_file, next->n_contexts);
    } else {
        a->reload_failed_ms = cmx_port_now_ms();
        cmx_log(CMX_LOG_ERROR, TAG, "%s not applied: the old configuration stays in force", a->config_file);
    }
    if (a->ready)
        notify_send(&a->notify, "READY=1");
}

/* ---- the loop ---- */

void agent_view(struct agent *a, struct status_view *v)
{
    size_t n = a->proxy ? cmx_proxy_status(a->proxy, v->contexts, CMX_PROXY_CONTEXTS_MAX) : 0;

    v->now_ms = cmx_port_now_ms();
    v->started_ms = a->started_ms;
    v->loaded_ms = a->loaded_ms;
    v->reload_failed_ms = a->reload_failed_ms;
    v->reload_error = a->reload_error;
    v->config_file = a->config_file;
    v->gateway_host = a->config->gateway.host;
    v->gateway_port = (uint16_t)a->config->gateway.port;
    v->gateway_user = a->config->gateway.user;
    v->confinement = &a->confinement;
    v->n_contexts = n < CMX_PROXY_CONTEXTS_MAX ? n : CMX_PROXY_CONTEXTS_MAX;
    v->modules_json = wiring_json;
    v->modules_text = wiring_text;
    v->modules_arg = a;
}

/* A task that has not shown life for half of the watchdog's time is stuck: then the watchdog gets nothing more. */
static void feed_watchdog(struct agent *a, const struct status_view *v)
{
    uint64_t now = v->now_ms;

    if (!a->notify.watchdog_ms || now - a->fed_ms < a->notify.watchdog_ms / 4)
        return;
    if (!liveness_ok(now, a->notify.watchdog_ms / 2, status_sessions(v))) {
        if (!a->starved)
            cmx_log(CMX_LOG_ERROR, TAG, "a session task is stuck: the watchdog is not fed any more");
        a->starved = true;
        return;
    }
    a->starved = false;
    a->fed_ms = now;
    notify_send(&a->notify, "WATCHDOG=1");
}

static uint64_t work_of(const struct status_view *v)
{
    uint64_t work = 0;

    for (size_t i = 0; i < v->n_contexts; i++)
        work += v->contexts[i].bytes_in + v->contexts[i].bytes_out + v->contexts[i].relays_total +
                v->contexts[i].sessions + (uint64_t)v->contexts[i].state;
    return work;
}

static void look_around(struct agent *a)
{
    struct status_view *v = cmx_mem_alloc(sizeof *v);
    char line[sizeof a->status_line];

    if (!v)
        return; /* the watchdog goes hungry, as it should when memory stays short */
    agent_view(a, v);
    status_line(v, line, sizeof line);
    if (strcmp(line, a->status_line) != 0) {
        memcpy(a->status_line, line, sizeof line);
        notify_send(&a->notify, "STATUS=%s", line);
    }
    if (!a->ready && (status_settled(v) || v->now_ms - a->started_ms >= AGENT_READY_MS)) {
        a->ready = true;
        cmx_log(CMX_LOG_INFO, TAG, "ready: %s", line);
        notify_send(&a->notify, "READY=1");
    }
    feed_watchdog(a, v);
    memory_turn(work_of(v), v->now_ms);
    cmx_mem_free(v);
}

static void take_signal(struct agent *a)
{
    struct signalfd_siginfo s;

    if (read(a->signals, &s, sizeof s) != (ssize_t)sizeof s)
        return;
    if (s.ssi_signo == SIGHUP) {
        agent_reload(a);
        return;
    }
    cmx_log(CMX_LOG_INFO, TAG, "%s: ending", s.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
    a->stopping = true;
}

static void loop(struct agent *a)
{
    struct pollfd fds[CONTROL_CLIENTS_MAX + 3];
    uint64_t drained;

    while (!a->stopping) {
        size_t n = 2 + control_polls(a->control, fds + 2);

        fds[0] = (struct pollfd){.fd = a->signals, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = a->wake, .events = POLLIN};
        if (poll(fds, (nfds_t)n, AGENT_TICK_MS) < 0 && errno != EINTR)
            break;
        if (fds[1].revents && read(a->wake, &drained, sizeof drained) < 0)
            cmx_log(CMX_LOG_DEBUG, TAG, "eventfd: %s", strerror(errno));
        control_serve(a->control, fds + 2, n - 2, cmx_port_now_ms());
        if (fds[0].revents)
            take_signal(a);
        look_around(a);
    }
}

/* ---- start and end ---- */

static int fail(const char *what, const char *why, const char *todo)
{
    fprintf(stderr, "%scmxsafe: %s: %s; %s\n", notify_stderr_is_journal() ? "<3>" : "", what, why, todo);
    return 1;
}

static void set_device(void)
{
    struct cmx_linux_device device = {.log_journal = notify_stderr_is_journal(), .watchdog_feed = feed};

    attest_set_device(&device);
    cmx_linux_set_device(&device);
}

/* Signals are for the loop alone; tasks inherit the mask. */
static cmx_err take_signals(struct agent *a)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return CMX_EIO;
    a->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return a->signals >= 0 && a->wake >= 0 ? CMX_OK : CMX_EIO;
}

static const char *control_todo(cmx_err err)
{
    switch (err) {
    case CMX_EBUSY:
        return "another cmxsafed answers there: stop it, or give this one its own control_socket";
    case CMX_ENOENT:
        return "make its folder, or set control_socket";
    case CMX_EEXIST:
        return "it is not a socket: remove it, or set control_socket";
    default:
        return "let the agent's user write to its folder, or set control_socket";
    }
}

static int start(struct agent *a)
{
    char why[160] = "";
    cmx_err err =
        control_open(&a->control, a->config->agent.control_socket, wiring_commands, wiring_n_commands, a, STATUS_MAX);

    if (err)
        return fail(a->config->agent.control_socket, cmx_err_text(err), control_todo(err));
    if (wiring_prepare(a, why, sizeof why) != CMX_OK)
        return fail("start", why, "nothing was started");
    make_plan(a);
    if (confine(a) != CMX_OK)
        return fail("confinement", "not all of it could be applied", "see the lines above");
    if (wiring_start(a, why, sizeof why) != CMX_OK)
        return fail("start", why, "nothing was started");
    return 0;
}

static void end(struct agent *a)
{
    notify_send(&a->notify, "STOPPING=1");
    wiring_stop(a);
    control_close(a->control);
    notify_close(&a->notify);
    while (a->n_plan_paths)
        cmx_mem_free(a->plan_paths[--a->n_plan_paths]);
    config_free(a->config);
    if (a->signals >= 0)
        close(a->signals);
    if (a->wake >= 0)
        close(a->wake);
    cmx_mem_free(a);
}

/* Passwords and keys are in memory: no core file takes them to a disk. The hooks' process inherits it. */
static void forbid_core_files(void)
{
    const struct rlimit none = {0};

    if (setrlimit(RLIMIT_CORE, &none) != 0)
        cmx_log(CMX_LOG_WARN, TAG, "core files cannot be turned off: %s", strerror(errno));
}

int agent_run(const char *config_file)
{
    struct agent *a = cmx_mem_alloc(sizeof *a);
    int code;

    if (!a)
        return fail("start", cmx_err_text(CMX_ENOMEM), "free some");
    umask(077);
    forbid_core_files();
    memory_setup();
    set_device();
    a->config_file = config_file;
    a->signals = a->wake = -1;
    notify_open(&a->notify);
    a->config = load(config_file, notify_stderr_is_journal());
    a->started_ms = a->loaded_ms = cmx_port_now_ms();
    if (!a->config || take_signals(a) != CMX_OK) {
        code = fail(config_file, "not usable", "correct what is listed above; cmxsafed --check tells when it is right");
    } else {
        cmx_log_set_level((cmx_log_level)a->config->agent.log_level);
        cmx_log(CMX_LOG_INFO, TAG, "cmxsafed %s (libssh %s): %zu contexts", CMX_VERSION, cmx_proxy_library(),
                a->config->n_contexts);
        code = start(a);
        if (!code)
            loop(a);
    }
    end(a);
    return code;
}
