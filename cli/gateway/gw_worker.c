/* `cmxsafe gateway worker`: records in the registry when devices were connected, attests devices as their policies
 * require, carries out update campaigns, runs hooks, and looks for changed accounts. The gateway starts it. It may
 * write the registry, and talks to devices only through unprivileged children. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common/json_get.h"
#include "cli/gateway/gw_accounts.h"
#include "cli/gateway/gw_campaign_run.h"
#include "cli/gateway/gw_command.h"
#include "cli/gateway/gw_evidence_check.h"
#include "cli/gateway/gw_hooks.h"
#include "cli/gateway/gw_incident.h"
#include "cli/gateway/gw_known.h"
#include "cli/gateway/gw_position.h"
#include "cli/gateway/gw_publish.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/registry/event.h"
#include "gateway/registry/list.h"
#include "gateway/registry/node.h"
#include "gateway/server/gw_apply.h"
#include "gateway/server/gw_control.h"
#include "gateway/server/gw_note.h"
#include "port/linux/child.h"

#define CHECKS_AT_ONCE 8
#define TICK_MS 500
#define SEEN_MS 10000   /* interval at which ends of sessions are written; logins are written at once */
#define QUEUES_MS 10000 /* the queues' lengths are reported when they change, and at least this often */
#define VERDICTS_MS 250 /* verdicts within this time are stored together */
#define CAMPAIGNS_RETRY_MS 10000
#define LOOK_MS 10000 /* interval between looks for devices that are away, or that give no evidence */
#define ATTEST_KEY_MAX 512
#define QUEUES_TEXT_MAX 80
#define TASKS_MAX 10

struct seen {
    char name[GW_NAME_MAX];
    struct gw_seen last;
    bool login;
};

struct worker {
    struct gw g;
    struct gw_known_list devices;
    struct seen *seen;
    size_t n_seen, cap_seen;
    struct gw_hooks hooks;
    struct gw_publish publish;
    struct gw_campaigns campaigns;
    struct gw_incidents incidents;
    struct gw_accounts accounts;
    uint64_t started_ms;
    uint64_t away_ms; /* when the worker last looked for devices that are away */
    uint64_t seen_ms;
    uint64_t silent_ms;  /* when the worker last looked for devices that give no evidence */
    uint64_t decided_ms; /* since when a result has been waiting to be stored; 0: none is waiting */
    uint64_t queues_ms;
    uint64_t campaigns_ms;        /* no work on campaigns before this time */
    char queues[QUEUES_TEXT_MAX]; /* last report of the queues' lengths */
    struct gw_position_store position;
    size_t running;
    bool any_login;
    size_t turn;            /* index of the task with which the next tick begins */
    bool failed[TASKS_MAX]; /* the task's last call failed; only the first failure in a row is logged */
    bool closed;            /* the folder could not be opened in the last tick */
};

/* ---- the running gateway's journal ---- */

/* Returns the entry for this device or platform. NULL: out of memory. */
static struct seen *seen_of(struct worker *w, const char *name)
{
    struct seen x = {.login = false};

    for (size_t i = 0; i < w->n_seen; i++)
        if (strcmp(w->seen[i].name, name) == 0)
            return &w->seen[i];
    snprintf(x.name, sizeof x.name, "%s", name);
    return gw_list_add(&w->seen, &w->n_seen, &w->cap_seen, &x, sizeof x) ? NULL : &w->seen[w->n_seen - 1];
}

static void take_entry(struct worker *w, const char *object)
{
    char name[GW_NAME_MAX], from[GW_JOURNAL_FROM_MAX], what[16];
    bool up;
    struct gw_known *k;
    struct seen *x;

    json_text(object, "name", name, sizeof name);
    json_text(object, "from", from, sizeof from);
    json_text(object, "what", what, sizeof what);
    up = strcmp(what, "up") == 0;
    if (!up && strcmp(what, "down") != 0) {
        gw_incident_add(&w->incidents, strcmp(what, "key-conflict") == 0, name, from);
        return;
    }
    gw_hooks_add(&w->hooks, what, name, from, json_number(object, "at"));
    x = seen_of(w, name);
    if (!x)
        return; /* out of memory: this entry is not written to the registry */
    x->last.at = json_number(object, "at");
    snprintf(x->last.source, sizeof x->last.source, "%.63s", from);
    if (up) {
        json_text(object, "client", x->last.client, sizeof x->last.client);
        x->login = w->any_login = true;
        k = gw_known_find(&w->devices, name);
        if (k)
            gw_known_login(k);
    }
}

static void read_journal(struct worker *w)
{
    char request[40];
    char *answer;

    snprintf(request, sizeof request, "journal %llu", (unsigned long long)w->hooks.read.journal);
    if (gw_control(&w->g, request, &answer, NULL))
        return;
    if (json_number(answer, "lost"))
        for (size_t i = 0; i < w->devices.n; i++)
            w->devices.all[i]->logged_in = true;
    for (const char *object = json_first(answer, "events"); object; object = json_next(object))
        take_entry(w, object);
    w->hooks.read.journal = (uint64_t)json_number(answer, "next");
    free(answer); /* allocated by open_memstream */
}

static cmx_err write_seen(struct worker *w, struct cmx_why *e)
{
    cmx_err err = CMX_OK;

    for (size_t i = 0; !err && i < w->n_seen; i++) {
        const struct seen *x = &w->seen[i];
        const struct gw_known *k = gw_known_find(&w->devices, x->name);

        /* Stores nothing for a platform, which has no row in table device. */
        err = gw_seen_set(&w->g.registry, x->name, &x->last, e);
        if (!err && x->login && k)
            err = gw_evidence_login(&w->g.registry, k->standing.device, e);
    }
    return err;
}

static void drop_seen(struct worker *w)
{
    w->n_seen = 0;
    w->any_login = false;
    w->seen_ms = cmx_port_now_ms();
}

/* Begins a transaction, which gw_registry_end ends. */
static cmx_err begin_write(struct worker *w, struct cmx_why *e)
{
    cmx_err err = gw_folder_lock(&w->g, e);

    return err ? err : gw_registry_begin_observed(&w->g.registry, e);
}

static cmx_err store_seen(struct worker *w, struct cmx_why *e)
{
    cmx_err err;

    read_journal(w); /* not before the first begin_checks: a login only has an effect on a known device */
    if (!w->any_login && (!w->n_seen || cmx_port_now_ms() - w->seen_ms < SEEN_MS))
        return CMX_OK;
    err = begin_write(w, e);
    if (!err)
        err = write_seen(w, e);
    err = gw_registry_end(&w->g.registry, err, e);
    if (!err)
        drop_seen(w);
    return err;
}

/* Stores the position up to which everything that was read is in the registry, and has reached the hooks. */
static cmx_err keep_position(struct worker *w, struct cmx_why *e)
{
    bool stored = !w->n_seen && !w->incidents.n;

    gw_position_read(&w->position, &w->g.registry, &w->hooks.read);
    return stored ? gw_position_write(&w->position, &w->g.registry, gw_hooks_handled(&w->hooks), e) : CMX_OK;
}

/* ---- verdicts ---- */

/* Sets *holds to true if the check's verdict is still valid. A verdict is not valid if the check's inputs have changed.
 * A trusted verdict is not valid either if the device has logged in since the check began, because it may now run other
 * firmware. If the verdict is not valid, the device is checked again at once. */
static cmx_err confirm_verdict(struct worker *w, struct gw_known *k, bool *holds, struct cmx_why *e)
{
    struct gw_basis now;
    cmx_err err = gw_evidence_basis(&w->g.registry, k->standing.device, &now, e);

    *holds =
        !err && memcmp(&now, &k->basis, sizeof now) == 0 && !(k->logged_in && k->result.verdict == GW_CHECK_TRUSTED);
    if (!err && !*holds) {
        k->logged_in = true;
        k->retry_ms = k->next_ms = 0;
    }
    return err == CMX_ENOENT ? CMX_OK : err; /* the device was revoked meanwhile */
}

static cmx_err report_standing(struct worker *w, const struct gw_known *k, const struct gw_standing *now,
                               struct cmx_why *e)
{
    bool trusted = k->result.verdict == GW_CHECK_TRUSTED;
    const char *what = trusted ? "trusted" : "untrusted";

    gw_note("%s: %s%s", k->standing.name,
            now->quarantined ? "QUARANTINED: "
            : trusted        ? "its firmware is trusted"
                             : "its firmware is not trusted: ",
            trusted ? "" : k->result.reason);
    return gw_event(&w->g.registry, now->quarantined ? "quarantine" : what, k->standing.name, k->result.reason, e);
}

/* Stores why a connected device gives no evidence. This reason is not evidence, so a campaign continues to wait for
 * evidence. */
static cmx_err write_silence(struct worker *w, struct gw_known *k, struct cmx_why *e)
{
    struct gw_registry *r = &w->g.registry;
    struct gw_standing now;
    bool changed = false;
    cmx_err err = gw_standing_get(r, k->standing.name, &now, e);

    k->silent = true;
    if (!err)
        err = gw_evidence_missing(r, k->standing.device, k->result.reason, &changed, e);
    if (!err && changed)
        err = gw_attestation_set(r, k->standing.device, "failed", k->result.reason, "", e);
    if (!err && changed)
        err = report_standing(w, k, &now, e);
    return err == CMX_ENOENT ? CMX_OK : err; /* the device was revoked meanwhile */
}

static cmx_err write_verdict(struct worker *w, struct gw_known *k, bool *changed, struct cmx_why *e)
{
    struct gw_registry *r = &w->g.registry;
    bool trusted = k->result.verdict == GW_CHECK_TRUSTED;
    const struct gw_verdict v = {.trusted = trusted,
                                 .max_age_s = k->standing.max_age_s,
                                 .manifest = trusted ? k->result.manifest : "",
                                 .reason = k->result.reason,
                                 .firmware = k->result.firmware[0] ? k->result.firmware : NULL};
    struct gw_standing now;
    const char *word = k->result.manifest[0] ? "differs" : "failed"; /* without a manifest nothing was compared */
    bool holds;
    cmx_err err = confirm_verdict(w, k, &holds, e);

    if (err || !holds)
        return err;
    err = gw_evidence_set(r, k->standing.device, &v, e);
    if (!err)
        err =
            gw_attestation_set(r, k->standing.device, trusted ? "match" : word, k->result.reason, k->result.claims, e);
    if (!err)
        err = gw_standing_get(r, k->standing.name, &now, e);
    if (err)
        return err == CMX_ENOENT ? CMX_OK : err; /* the device was revoked meanwhile */
    /* A verdict is logged, and the rules are rendered, only if it is the first or changes the standing. Expired
     * evidence is marked as not trusted (gw_grant_expire), so the next trusted verdict changes the standing. */
    if (now.quarantined == k->standing.quarantined && now.trusted == k->standing.trusted && k->standing.at)
        return CMX_OK;
    *changed |= k->standing.is_enforced;
    return report_standing(w, k, &now, e);
}

/* Makes store_verdicts store why each silent device that is connected gives no evidence. */
static void decide_silent(struct worker *w)
{
    char name[GW_NAME_MAX];
    char *status;
    bool any = false;

    for (size_t i = 0; i < w->devices.n && !any; i++)
        any = gw_known_is_silent(w->devices.all[i]);
    if (!any || cmx_port_now_ms() - w->silent_ms < LOOK_MS || gw_control(&w->g, "status", &status, NULL))
        return;
    w->silent_ms = cmx_port_now_ms();
    for (const char *object = json_first(status, "sessions"); object; object = json_next(object)) {
        struct gw_known *k;

        json_text(object, "name", name, sizeof name);
        k = gw_known_find(&w->devices, name);
        if (k && gw_known_is_silent(k))
            k->decided = true;
    }
    free(status); /* allocated by open_memstream */
}

/* Stores verdicts of several checks together, because loading the rules takes long in a large fleet. */
static cmx_err store_verdicts(struct worker *w, struct cmx_why *e)
{
    bool changed = false;
    cmx_err err;

    decide_silent(w);
    for (size_t i = 0; i < w->devices.n && !w->decided_ms; i++)
        if (w->devices.all[i]->decided)
            w->decided_ms = cmx_port_now_ms();
    if (!w->decided_ms || (w->running && cmx_port_now_ms() - w->decided_ms < VERDICTS_MS))
        return CMX_OK;
    err = begin_write(w, e);
    for (size_t i = 0; !err && i < w->devices.n; i++) {
        struct gw_known *k = w->devices.all[i];

        if (k->decided)
            err = k->result.verdict == GW_CHECK_UNKNOWN ? write_silence(w, k, e) : write_verdict(w, k, &changed, e);
    }
    err = gw_registry_end(&w->g.registry, err, e);
    if (err)
        return err; /* the next tick tries again */
    w->decided_ms = 0;
    for (size_t i = 0; i < w->devices.n; i++)
        w->devices.all[i]->decided = false;
    return changed ? gw_apply_change(&w->g, NULL, e) : CMX_OK;
}

/* ---- other reports to the registry ---- */

static cmx_err store_state(struct worker *w, struct cmx_why *e)
{
    cmx_err err;

    gw_publish_read(&w->publish, &w->g);
    if (!gw_publish_is_due(&w->publish))
        return CMX_OK;
    err = begin_write(w, e);
    if (!err)
        err = gw_publish_write(&w->publish, &w->g, e);
    err = gw_registry_end(&w->g.registry, err, e);
    return err ? err : gw_publish_done(&w->publish, &w->g, e);
}

static cmx_err store_incidents(struct worker *w, struct cmx_why *e)
{
    cmx_err err;

    if (!w->incidents.n)
        return CMX_OK;
    err = begin_write(w, e);
    if (!err)
        err = gw_incidents_write(&w->incidents, &w->g, e);
    err = gw_registry_end(&w->g.registry, err, e);
    if (!err)
        w->incidents.n = 0;
    return err;
}

/* ---- devices that are away ---- */

static cmx_err note_away(struct worker *w, struct cmx_why *e)
{
    uint64_t now = cmx_port_now_ms();
    char *status;
    cmx_err err;

    if (now - w->away_ms < LOOK_MS)
        return CMX_EAGAIN;
    w->away_ms = now;
    if (!gw_incident_away_due(&w->g, (int64_t)((now - w->started_ms) / 1000)))
        return CMX_OK;
    if (gw_control(&w->g, "status", &status, NULL))
        return CMX_OK; /* the gateway is down, which does not mean that its devices are away */
    read_journal(w);   /* the journal has the end of each session that the status no longer lists */
    err = gw_registry_begin_observed(&w->g.registry, e);
    if (!err)
        err = write_seen(w, e);
    if (!err)
        err = gw_incident_write_away(&w->g, status, e);
    err = gw_registry_end(&w->g.registry, err, e);
    if (!err)
        drop_seen(w);
    free(status);
    return err;
}

/* ---- checks ---- */

static void end_check(struct worker *w, struct gw_known *k)
{
    /* A child that a device has taken over may still be running, so kill it. If the child has a result, the result is
     * in the pipe already. */
    kill(k->pid, SIGKILL);
    gw_check_read(k->fd, &k->result);
    close(k->fd);
    (void)cmx_child_wait(k->pid);
    k->pid = 0;
    w->running--;
    k->decided = k->result.verdict != GW_CHECK_UNKNOWN;
    gw_known_checked(k, cmx_port_now_ms());
}

static void begin_check(struct worker *w, struct gw_known *k, struct gw_policy *p)
{
    char key[ATTEST_KEY_MAX] = "", node[GW_NAME_MAX];
    struct cmx_why e = {0};

    k->next_ms = cmx_port_now_ms() + GW_KNOWN_RETRY_MIN_MS; /* if no check begins */
    /* If another gateway has the device's session, only that one can check the device; a check here would wait for
     * a time-out. Stores the inputs, so that confirm_verdict can detect that they changed during the check. */
    if (gw_claim_is_elsewhere(&w->g.registry, k->standing.address, node) ||
        gw_evidence_basis(&w->g.registry, k->standing.device, &k->basis, &e) ||
        gw_policy_read(&w->g.registry, k->standing.policy, p, &e))
        return;
    /* If the device has no attestation key, the verdict is untrusted. */
    (void)!gw_evidence_key_get(&w->g.registry, k->standing.device, key, sizeof key, &e);
    k->pid = gw_check_start(&w->g, &k->standing, p, key, &k->fd);
    if (k->pid < 0) {
        k->pid = 0;
        return;
    }
    k->logged_in = false;
    k->check_ends_ms = cmx_port_now_ms() + GW_CHECK_MAX_S * 1000;
    w->running++;
}

static cmx_err begin_checks(struct worker *w, struct cmx_why *e)
{
    struct gw_known *k;
    struct gw_policy *p;
    cmx_err err = gw_known_read(&w->devices, &w->g.registry, e);

    if (err)
        return err;
    p = cmx_mem_alloc(sizeof *p);
    if (!p)
        return CMX_ENOMEM;
    while (w->running < CHECKS_AT_ONCE && (k = gw_known_next_due(&w->devices, cmx_port_now_ms())) != NULL)
        begin_check(w, k, p);
    cmx_mem_free(p);
    return CMX_OK;
}

/* Reports the lengths of the queues to the gateway, for 'cmxsafe gateway metrics'. */
static void report_queues(struct worker *w)
{
    char report[sizeof w->queues];
    size_t waiting = 0;
    uint64_t now = cmx_port_now_ms();

    for (size_t i = 0; i < w->devices.n; i++)
        waiting += gw_known_is_due(w->devices.all[i], now);
    snprintf(report, sizeof report, "queues %zu %zu %zu", waiting, w->running, w->hooks.n);
    if (strcmp(report, w->queues) == 0 && now - w->queues_ms < QUEUES_MS)
        return;
    if (!gw_control_tell(&w->g, report))
        return; /* the gateway is not running; the next tick reports again */
    w->queues_ms = now;
    memcpy(w->queues, report, sizeof report);
}

/* Waits until a check ends or the next tick is due. */
static void wait_checks(struct worker *w)
{
    struct pollfd fds[CHECKS_AT_ONCE];
    struct gw_known *of[CHECKS_AT_ONCE];
    nfds_t n = 0;

    for (size_t i = 0; i < w->devices.n && n < CHECKS_AT_ONCE; i++) {
        struct gw_known *k = w->devices.all[i];

        if (k->pid) {
            fds[n] = (struct pollfd){.fd = k->fd, .events = POLLIN};
            of[n++] = k;
        }
    }
    (void)poll(fds, n, TICK_MS); /* if poll fails, `revents` stays 0: only overdue checks are ended */
    for (nfds_t i = 0; i < n; i++)
        if (fds[i].revents || cmx_port_now_ms() >= of[i]->check_ends_ms)
            end_check(w, of[i]);
}

/* For campaigns: schedules a check, because the device has new firmware. */
static void demand_evidence(void *arg, int64_t device)
{
    struct worker *w = arg;

    for (size_t i = 0; i < w->devices.n; i++) {
        struct gw_known *k = w->devices.all[i];

        if (k->standing.device == device && !k->pid && !k->decided)
            k->logged_in = true;
    }
}

/* Campaigns write to the shared registry. If it can't be reached, each attempt waits, so the attempts are rare. */
static cmx_err run_campaigns(struct worker *w, struct cmx_why *e)
{
    cmx_err err;

    if (cmx_port_now_ms() < w->campaigns_ms)
        return CMX_EAGAIN;
    err = gw_campaigns_tick(&w->campaigns, &w->g, e);
    if (err)
        w->campaigns_ms = cmx_port_now_ms() + CAMPAIGNS_RETRY_MS;
    return err;
}

static cmx_err read_trail(struct worker *w, struct cmx_why *e)
{
    return gw_hooks_read_trail(&w->hooks, &w->g, e);
}

static cmx_err look_accounts(struct worker *w, struct cmx_why *e)
{
    return gw_accounts_tick(&w->accounts, &w->g, e);
}

static const struct task {
    const char *what;                                    /* for log lines: what failed */
    cmx_err (*run)(struct worker *w, struct cmx_why *e); /* CMX_EAGAIN: nothing was tried now */
} tasks[] = {
    {"the worker's position can't be stored", keep_position},
    {"devices that need a check of their evidence can't be found", begin_checks},
    {"the times of connections can't be stored", store_seen},
    {"a verdict can't be stored or applied", store_verdicts},
    {"the state for the other gateways can't be stored or applied", store_state},
    {"an incident can't be stored", store_incidents},
    {"devices that are away can't be reported", note_away},
    {"the audit trail can't be read for hooks.d", read_trail},
    {"changed accounts can't be found or applied", look_accounts},
    {"campaigns can't be carried out", run_campaigns},
};

/* Calls each task, even if others fail. If a task finds the registry locked, it has waited for a long time, and the
 * other tasks would wait too. The turn then ends, and the next turn begins with the task after this one. */
static void run_tasks(struct worker *w)
{
    for (size_t n = 0; n < GW_COUNT(tasks); n++) {
        const size_t i = w->turn;
        struct cmx_why e = {0};
        cmx_err err = tasks[i].run(w, &e);

        gw_folder_unlock(&w->g);
        w->turn = (i + 1) % GW_COUNT(tasks);
        if (err == CMX_EAGAIN)
            continue;
        if (err && !w->failed[i])
            gw_note("the worker: %s: %s", tasks[i].what, cmx_why_text(&e, err));
        w->failed[i] = err != CMX_OK;
        if (err == CMX_EBUSY)
            return;
    }
}
_Static_assert(GW_COUNT(tasks) <= TASKS_MAX, "each task has an entry in `failed`");

static void worker_tick(struct worker *w)
{
    struct cmx_why e = {0};
    cmx_err err = gw_folder_open(&w->g, true, &e);

    if (err && !w->closed)
        gw_note("the worker: %s", cmx_why_text(&e, err));
    w->closed = err != CMX_OK;
    if (!err)
        run_tasks(w);
    else
        read_journal(w); /* hooks run nevertheless */
    gw_folder_close(&w->g);
    gw_hooks_run(&w->hooks, &w->g);
    report_queues(w);
}

int gw_cmd_worker(int argc, char **argv)
{
    struct gw_common c = {0};
    const struct cli_option options[] = {GW_DIR_OPTION(c)};
    struct cli_line line = CLI_LINE("cmxsafe gateway worker", "",
                                    "Attests devices as their policies require, carries out update campaigns, records "
                                    "when devices were last connected, and runs hooks. The gateway starts it.",
                                    0, 0, options);
    struct cmx_why e = {0};
    struct worker *w;
    pid_t parent = getppid();
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    w = cmx_mem_alloc(sizeof *w);
    if (!w)
        return cli_fail("worker", "out of memory", NULL);
    if (gw_folder_find(&w->g, c.dir, &e))
        return gw_fail("worker", &e);
    w->hooks.read.event = GW_POSITION_END;
    w->started_ms = cmx_port_now_ms();
    w->campaigns.demand = demand_evidence;
    w->campaigns.arg = w;
    while (getppid() == parent) {
        worker_tick(w);
        wait_checks(w);
    }
    return CLI_OK;
}
