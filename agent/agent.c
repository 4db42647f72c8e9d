/* The running agent: one thread waits for signals, control clients and changes in the sessions' state; the proxy's
 * tasks run the sessions. */
#include "agent/agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent_attest.h"
#include "agent/agent_check.h"
#include "agent/agent_identity.h"
#include "agent/config/config_table.h"
#include "agent/confine/confine.h"
#include "agent/confine/memory.h"
#include "agent/control/agent_status.h"
#include "agent/control/control.h"
#include "agent/isolation/agent_isolation.h"
#include "agent/limits.h"
#include "agent/liveness.h"
#include "agent/next_config.h"
#include "agent/ota/agent_ota.h"
#include "agent/wiring.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/version.h"
#include "port/linux/cli.h"
#include "port/linux/file_probe.h"
#include "port/linux/libc/heap.h"
#include "port/linux/linux_port.h"
#include "port/linux/notify.h"

#define TAG "agent"
#define AGENT_READY_MS 30000 /* maximum time from the start until READY=1 is sent to systemd */
#define AGENT_TICK_MS 1000
#define AGENT_END_MS 15000  /* maximum time from a signal to the end; longer than the runner needs to end a hook */
#define AGENT_READ_MS 10000 /* time for a reload to read all files, after which the status reports it as failed */
#define AGENT_STATUS_LINE_MAX 256
#define AGENT_REST_MS 60000 /* interval between checks while all contexts are up and nothing happens */

struct agent {
    const char *config_file;
    struct wiring wiring;

    struct confine_plan plan;
    struct confine_report confinement;

    struct control *control;
    struct cmx_notify notify;
    int signals; /* signalfd */
    uint64_t started_ms;
    uint64_t loaded_ms;
    uint64_t fed_ms; /* when the watchdog was last fed */
    uint64_t reload_failed_ms;
    char reload_error[NEXT_CONFIG_ERROR_MAX];
    bool reload_hangs;                       /* the reader of the configuration does not finish, and this was logged */
    bool reload_again;                       /* SIGHUP arrived while the configuration was being read */
    char status_line[AGENT_STATUS_LINE_MAX]; /* the last STATUS= that was sent to systemd */
    bool ready;
    bool serves;  /* attestation or updates are served; a reload neither starts nor stops these services */
    bool resting; /* all contexts are up, no data is moving, and all free memory was given back to the system */
    bool stopping;
    bool starved; /* the watchdog is not being fed, and this was logged */
};

static void feed(void *arg, uint32_t rest_ms)
{
    (void)arg;
    liveness_feed(cmx_port_now_ms() + rest_ms);
}

/* ---- confinement ---- */

_Static_assert(CONFINE_PORTS_MAX >= CMX_PROXY_CONTEXTS_MAX + CMX_GATEWAYS_MAX + 5,
               "a plan has room for the ports of all contexts and gateways, of DNS, a TPM and the services");

static void make_plan(struct agent *a)
{
    const struct agent_config *c = a->wiring.config;
    struct confine_plan *p = &a->plan;

    confine_plan_base(p);
    confine_read_folder(p, a->config_file);
    confine_read_folder(p, c->gateway.known_hosts_file);
    confine_read_folder(p, c->gateway.options.key_file);
    confine_read_folder(p, c->gateway.key_passphrase_file);
    confine_read_folder(p, c->gateway.password_file);
    confine_write_folder(p, c->agent.control_socket);
    p->limit_ports = c->agent.confine_ports == AGENT_PORTS_FIXED;
    for (size_t i = 0; i < c->gateways.n; i++)
        confine_connect(p, c->gateways.at[i].port);
    confine_connect(p, 53); /* DNS over TCP, for answers that do not fit a datagram (RFC 7766) */
    for (size_t i = 0; i < c->n_contexts; i++) {
        const struct context_section *s = &c->contexts[i];

        if (s->options.direction == CMX_REVERSE)
            confine_connect(p, s->options.local_port);
        else
            confine_bind(p, s->options.local_port);
    }
    wiring_plan(&a->wiring, p);
}

static bool in(const uint16_t *ports, size_t n, uint64_t port)
{
    for (size_t i = 0; i < n; i++)
        if (ports[i] == port)
            return true;
    return false;
}

/* Reports each port of a gateway or context in `next` that the confined process cannot use. The process cannot permit
 * itself another port, so the configuration is refused before any of it is applied. */
static void check_ports(const struct agent *a, const struct agent_config *next, struct config_report *r)
{
    const struct confine_plan *p = &a->plan;

    if (!a->confinement.n || !p->limit_ports)
        return;
    for (size_t i = 0; i < next->gateways.n; i++)
        if (!in(p->connect, p->n_connect, next->gateways.at[i].port))
            config_error(r, next->gateway.head.line,
                         "gateway port %u is usable only after a restart, because confine_ports = fixed",
                         (unsigned)next->gateways.at[i].port);
    for (size_t i = 0; i < next->n_contexts; i++) {
        const struct context_section *s = &next->contexts[i];

        if (s->options.direction == CMX_REVERSE ? !in(p->connect, p->n_connect, s->options.local_port)
                                                : !in(p->bind, p->n_bind, s->options.local_port))
            config_error(r, s->head.line,
                         "[context %s]: local_port %llu is usable only after a restart, because confine_ports = fixed",
                         s->name, (unsigned long long)s->options.local_port);
    }
}

static cmx_err confine(struct agent *a)
{
    cmx_err err;

    if (a->wiring.config->agent.confine == AGENT_CONFINE_NO) {
        cmx_log(CMX_LOG_WARN, TAG, "not confined: confine = no");
        return CMX_OK;
    }
    a->plan.abstract_sockets = a->notify.fd >= 0;
    err = confine_apply(&a->plan, &a->confinement);
    for (size_t i = 0; i < a->confinement.n; i++)
        cmx_log(a->confinement.item[i].applied || a->confinement.item[i].by_choice ? CMX_LOG_INFO : CMX_LOG_WARN, TAG,
                "confinement: %s: %s (%s)", a->confinement.item[i].what,
                a->confinement.item[i].applied ? "applied" : "not applied", a->confinement.item[i].detail);
    if (!err || a->wiring.config->agent.confine != AGENT_CONFINE_REQUIRED)
        return CMX_OK;
    cmx_log(CMX_LOG_ERROR, TAG,
            "confine = required, but not all of the confinement could be applied; set confine = yes to run with less");
    return err;
}

/* ---- reload ---- */

/* Keeps the first error for the status. All errors are logged. */
static void log_line(void *arg, const char *text)
{
    struct agent *a = arg;

    if (!a->reload_error[0])
        snprintf(a->reload_error, sizeof a->reload_error, "%s", text);
    cmx_log(CMX_LOG_ERROR, "config", "%s", text);
}

static void warn_of_restarts(const struct agent *a, const struct agent_config *next)
{
    for (const struct config_key *k = NULL; (k = config_next_restart(a->wiring.config, next, k)) != NULL;)
        cmx_log(CMX_LOG_WARN, TAG, "[%s] %s: the change takes effect when the agent restarts", k->section, k->key);
}

/* Until the modules have started, a change that needs a restart is refused, because some modules have already prepared
 * themselves with the old values. */
static void check_fixed(const struct agent *a, const struct agent_config *next, struct config_report *r)
{
    for (const struct config_key *k = NULL; (k = config_next_restart(a->wiring.config, next, k)) != NULL;)
        if (!a->wiring.proxy || config_section_find(k->section, strlen(k->section))->reload == CONFIG_REFUSED)
            config_error(r, 0, "[%s] %s: a change needs a restart of the agent", k->section, k->key);
}

/* True if the running agent can apply `next`. All errors are logged. */
static bool can_apply(struct agent *a, const struct agent_config *next)
{
    struct config_report report = {.file = a->config_file, .line = log_line, .arg = a};
    struct cmx_why why;

    if (isolation_check_users(next, &why) != CMX_OK)
        config_error(&report, 0, "%s", why.text);
    check_ports(a, next, &report);
    check_fixed(a, next, &report);
    return !report.errors;
}

static void finish_reload(struct agent *a, bool failed)
{
    a->reload_failed_ms = failed ? cmx_port_now_ms() : 0;
    if (failed)
        cmx_log(CMX_LOG_ERROR, TAG, "%s not applied: the old configuration stays in force", a->config_file);
    if (a->ready)
        cmx_notify_send(&a->notify, "READY=1");
}

/* Starts to read the configuration file again; agent_reload then applies it. */
static void begin_reload(struct agent *a)
{
    cmx_err err;

    cmx_notify_send(&a->notify, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)cmx_port_now_ms() * 1000);
    err = next_config_start(a->config_file, a->wiring.wake);
    a->reload_again = err == CMX_EBUSY;
    if (err && err != CMX_EBUSY) {
        a->reload_error[0] = 0;
        log_line(a, cmx_err_text(err));
        finish_reload(a, true);
    } else if (!err) {
        a->reload_hangs = false;
    }
}

/* Reports once that the files cannot be read. The configuration is applied if they are read later. */
static void check_reading(struct agent *a)
{
    if (a->reload_hangs || !next_config_hangs(AGENT_READ_MS))
        return;
    a->reload_hangs = true;
    a->reload_error[0] = 0;
    log_line(a, "the configuration cannot be read: the file system of a file that it names does not answer");
    finish_reload(a, true);
}

/* Applies the configuration that was read, once the reader has finished. On error the old configuration stays in force,
 * and the error is logged. */
static void agent_reload(struct agent *a)
{
    struct agent_config *next;
    struct cmx_why why = {""};

    check_reading(a);
    if (!next_config_take(&next, a->reload_error))
        return;
    if (next && !can_apply(a, next)) {
        config_free(next);
        next = NULL;
    }
    if (next) {
        limits_heap(next);
        limits_descriptors(next, a->serves);
    }
    if (next && wiring_reload(&a->wiring, next, &why) != CMX_OK) {
        log_line(a, why.text);
        config_free(next);
        next = NULL;
    }
    if (next) {
        warn_of_restarts(a, next);
        config_free(a->wiring.config);
        a->wiring.config = next;
        a->loaded_ms = cmx_port_now_ms();
        cmx_log_set_level((cmx_log_level)next->agent.log_level);
        cmx_log(CMX_LOG_INFO, TAG, "%s read again: %zu context%s", a->config_file, next->n_contexts,
                next->n_contexts == 1 ? "" : "s");
        a->wiring.retry_at_ms = 0;
        wiring_turn(&a->wiring);
    }
    finish_reload(a, !next);
    if (a->reload_again)
        begin_reload(a);
}

/* ---- status ---- */

/* Returns a snapshot that borrows its strings from a; free it with cmx_mem_free. NULL: no memory. */
static struct status_view *agent_view(struct agent *a)
{
    const size_t cap = a->wiring.config->n_contexts;
    struct status_view *v = cmx_mem_alloc(sizeof *v + (cap ? cap : 1) * sizeof *v->contexts);
    size_t n;

    if (!v)
        return NULL;
    v->contexts = (struct cmx_context_status *)(v + 1);
    n = a->wiring.proxy ? cmx_proxy_status(a->wiring.proxy, v->contexts, cap) : 0;
    v->now_ms = cmx_port_now_ms();
    v->started_ms = a->started_ms;
    v->loaded_ms = a->loaded_ms;
    v->reload_failed_ms = a->reload_failed_ms;
    v->reload_error = a->reload_error;
    v->config_file = a->config_file;
    v->gateways = a->wiring.config->gateway.options.host;
    v->gateway_host = n && v->contexts[0].gateway ? v->contexts[0].gateway : a->wiring.config->gateways.at[0].host;
    v->gateway_port = v->contexts[0].gateway ? v->contexts[0].gateway_port : a->wiring.config->gateways.at[0].port;
    v->gateway_user = a->wiring.config->gateway.options.user;
    (void)identity_awaited(a->wiring.config, &v->awaits);
    v->confinement = &a->confinement;
    v->n_contexts = n < cap ? n : cap;
    v->modules_json = wiring_json;
    v->modules_text = wiring_text;
    v->modules_arg = &a->wiring;
    return v;
}

/* ---- control commands ---- */

/* Writes the answer to `status [json | table [color]]`. */
static cmx_err command_status(void *arg, const struct control_request *r, struct cmx_buf *out)
{
    struct status_view *v = agent_view(arg);
    bool table = r->n > 1 && strcmp(r->word[1], "table") == 0;
    cmx_err err = CMX_EINVAL;

    if (!v)
        return CMX_ENOMEM;
    if (table)
        err = status_table(v, r->n > 2 && strcmp(r->word[2], "color") == 0, out);
    else if (r->n == 1 || strcmp(r->word[1], "json") == 0)
        err = status_json(v, out);
    cmx_mem_free(v);
    return err;
}

static const struct control_command commands[] = {
    {"status", command_status},
};

/* ---- each turn of the loop ---- */

/* Feeds the watchdog if each session's task has reported within half of the watchdog's timeout. */
static void feed_watchdog(struct agent *a, const struct status_view *v)
{
    uint64_t now = v->now_ms;

    if (!a->notify.watchdog_ms || now - a->fed_ms < a->notify.watchdog_ms / 4)
        return;
    if (!liveness_ok(now, a->notify.watchdog_ms / 2, status_sessions(v))) {
        if (!a->starved)
            cmx_log(CMX_LOG_ERROR, TAG, "a session task is stuck: the watchdog is no longer fed");
        a->starved = true;
        return;
    }
    a->starved = false;
    a->fed_ms = now;
    cmx_notify_send(&a->notify, "WATCHDOG=1");
}

static uint64_t work_of(const struct status_view *v)
{
    uint64_t work = 0;

    for (size_t i = 0; i < v->n_contexts; i++)
        work += v->contexts[i].bytes_in + v->contexts[i].bytes_out + v->contexts[i].relays_total +
                v->contexts[i].sessions + (uint64_t)v->contexts[i].state;
    return work;
}

/* Returns how long poll may wait, in ms. Stuck sessions, new name servers and the watchdog need checks at intervals;
 * the intervals are long while nothing happens. Sessions, signals, control clients, a removed control socket and
 * changes to the rules wake the loop by themselves. */
static int next_look_ms(const struct agent *a)
{
    const uint64_t feed_ms = a->notify.watchdog_ms / 4;

    if (!a->resting || !control_rests(a->control) || next_config_hangs(0))
        return AGENT_TICK_MS;
    return feed_ms && feed_ms < AGENT_REST_MS ? (int)feed_ms : AGENT_REST_MS;
}

static void look_around(struct agent *a)
{
    struct status_view *v = agent_view(a);
    char line[sizeof a->status_line];

    if (a->wiring.proxy)
        cmx_proxy_watch(a->wiring.proxy);
    a->resting = false;
    if (!v)
        return; /* no memory: the watchdog is not fed, so systemd restarts the agent if this lasts */
    status_line(v, line, sizeof line);
    if (strcmp(line, a->status_line) != 0) {
        memcpy(a->status_line, line, sizeof line);
        cmx_notify_send(&a->notify, "STATUS=%s", line);
    }
    if (!a->ready && (status_settled(v) || v->now_ms - a->started_ms >= AGENT_READY_MS)) {
        a->ready = true;
        cmx_log(CMX_LOG_INFO, TAG, "ready: %s", line);
        cmx_notify_send(&a->notify, "READY=1");
    }
    feed_watchdog(a, v);
    a->resting = memory_turn(work_of(v), v->now_ms) && a->ready && status_all_up(v);
    cmx_mem_free(v);
}

static void take_signal(struct agent *a)
{
    struct signalfd_siginfo s;

    if (read(a->signals, &s, sizeof s) != (ssize_t)sizeof s)
        return;
    if (s.ssi_signo == SIGHUP) {
        begin_reload(a);
        return;
    }
    cmx_log(CMX_LOG_INFO, TAG, "%s: ending", s.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
    a->stopping = true;
}

/* Serves signals, control clients and the modules once. False: the agent must end. */
static bool loop_turn(struct agent *a)
{
    struct pollfd fds[CONTROL_CLIENTS_MAX + 4 + WIRING_POLLS_MAX];
    const size_t clients = control_polls(a->control, fds + 3);
    size_t n = 3 + clients;

    fds[0] = (struct pollfd){.fd = a->signals, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = a->wiring.wake, .events = POLLIN};
    fds[2] = (struct pollfd){.fd = control_watch(a->control), .events = POLLIN};
    n += wiring_polls(&a->wiring, fds + n);
    if (poll(fds, (nfds_t)n, next_look_ms(a)) < 0 && errno != EINTR)
        return false;
    if (fds[1].revents)
        cmx_port_wake_clear(a->wiring.wake);
    wiring_turn(&a->wiring);
    control_serve(a->control, fds + 3, clients, cmx_port_now_ms());
    if (fds[0].revents)
        take_signal(a);
    agent_reload(a);
    look_around(a);
    return !a->stopping && !a->wiring.failed;
}

/* ---- start and end ---- */

static int fail(const char *what, const char *why, const char *todo)
{
    fputs(cmx_notify_stderr_is_journal() ? "<3>" : "", stderr);
    return cli_fail(what, why, todo);
}

static void set_device(void)
{
    struct cmx_linux_device device = {
        .log_journal = cmx_notify_stderr_is_journal(), .watchdog_feed = feed, .wakes = true};

    attest_set_device(&device);
    identity_set_device(&device);
    cmx_linux_set_device(&device);
}

/* Blocks the signals that the main loop reads from a signalfd; threads inherit the mask. Call this first, so that a
 * SIGHUP during the start does not end the process. */
static cmx_err take_signals(struct agent *a)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    /* People send SIGUSR1 and SIGUSR2 to other daemons, to rotate logs or print statistics. Here the default action
     * would end the agent, so both signals are ignored. */
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGCHLD, SIG_IGN); /* prevents zombies, because the confined agent cannot wait for its children */
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return CMX_EIO;
    a->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    a->wiring.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return a->signals >= 0 && a->wiring.wake >= 0 ? CMX_OK : CMX_EIO;
}

static int start(struct agent *a)
{
    struct cmx_why why = {""};
    cmx_err err = control_open(&a->control, a->wiring.config->agent.control_socket, commands,
                               sizeof commands / sizeof commands[0], a, STATUS_MAX);

    if (err)
        return fail(a->wiring.config->agent.control_socket, cmx_err_text(err),
                    err == CMX_EBUSY
                        ? "another cmxsafed answers there: stop it, or give this one its own control_socket"
                        : "nothing was started");
    if (wiring_prepare(&a->wiring, &why) != CMX_OK)
        return fail("start", why.text, "nothing was started");
    if (identity_await(&a->wiring) != CMX_OK)
        return fail("start", cmx_err_text(CMX_ENOMEM), "free some memory");
    while (identity_awaited(a->wiring.config, &why) || ota_ends_trial())
        if (!loop_turn(a))
            return a->wiring.failed;
    cmx_why_clear(&why);
    limits_heap(a->wiring.config);
    limits_descriptors(a->wiring.config, false);
    make_plan(a);
    if (confine(a) != CMX_OK)
        return fail("confinement", "not all of the confinement could be applied", "see the lines above");
    if (wiring_start(&a->wiring, &why) != CMX_OK)
        return fail("start", why.text, "nothing was started");
    a->serves = a->wiring.config->attest.enabled || a->wiring.config->ota.install;
    return 0;
}

/* Ends the process if the modules do not stop, because a thread waits for a file system that does not answer. */
static void end_anyway(void *failed)
{
    cmx_port_sleep_ms(AGENT_END_MS);
    cmx_log(CMX_LOG_WARN, TAG, "a thread did not end within %d s, perhaps because a file system does not answer",
            AGENT_END_MS / 1000);
    _exit(failed ? 1 : 0);
}

static void end(struct agent *a)
{
    cmx_notify_send(&a->notify, "STOPPING=1");
    if (a->wiring.proxy && cmx_port_task_start("end", 0, end_anyway, a->wiring.failed ? a : NULL) != CMX_OK)
        cmx_log(CMX_LOG_WARN, TAG, "no memory: the end of the agent has no time limit");
    wiring_stop(&a->wiring);
    control_close(a->control);
    cmx_notify_close(&a->notify);
    confine_plan_free(&a->plan);
    config_free(a->wiring.config);
    if (a->signals >= 0)
        close(a->signals);
    if (a->wiring.wake >= 0)
        close(a->wiring.wake);
    cmx_mem_free(a);
}

/* Rolls back an update that keeps the agent from starting, because the device cannot be repaired remotely. The
 * configuration is read again if a file that it names is the cause. */
static void start_failed(struct agent *a)
{
    struct config_report silent = {.file = a->config_file};
    const struct ota_section *o;

    if (!a->wiring.config && (!cmx_file_answers(a->config_file, FILE_ANSWER_MS) ||
                              config_read_text(a->config_file, &silent, &a->wiring.config) != CMX_OK))
        return;
    o = &a->wiring.config->ota;
    cmx_notify_send(&a->notify, "EXTEND_TIMEOUT_USEC=%llu",
                    (unsigned long long)(o->rollback_timeout_ms + o->restart_timeout_ms + AGENT_READY_MS) * 1000);
    ota_start_failed(&a->wiring);
}

int agent_run(const char *config_file)
{
    struct agent *a = cmx_mem_alloc(sizeof *a);
    int code;

    if (!a)
        return fail("start", cmx_err_text(CMX_ENOMEM), "free some memory");
    a->config_file = config_file;
    a->signals = a->wiring.wake = -1;
    a->started_ms = a->loaded_ms = cmx_port_now_ms();
    cmx_notify_open(&a->notify);
    if (take_signals(a) != CMX_OK) {
        code = fail("start", strerror(errno), "raise the limit of open files (ulimit -n)");
        end(a);
        return code;
    }
    umask(077);
    limits_core_files();
    cmx_heap_share();
    set_device();
    a->wiring.config = agent_check_load(config_file, cmx_notify_stderr_is_journal());
    if (!a->wiring.config) {
        code = fail(config_file, "not usable", "correct the errors listed above, and verify with cmxsafed --check");
    } else {
        cmx_log_set_level((cmx_log_level)a->wiring.config->agent.log_level);
        cmx_log(CMX_LOG_INFO, TAG, "cmxsafed %s (libssh %s): %zu context%s", CMX_VERSION, cmx_proxy_library(),
                a->wiring.config->n_contexts, a->wiring.config->n_contexts == 1 ? "" : "s");
        code = start(a);
    }
    if (code) {
        start_failed(a);
    } else if (!a->stopping) {
        while (loop_turn(a))
            ;
        code = a->wiring.failed;
    }
    end(a);
    return code;
}
