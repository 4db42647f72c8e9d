#include "agent/ota/agent_ota.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "agent/isolation/agent_isolation.h"
#include "agent/ota/ota_history.h"
#include "agent/ota/ota_runner.h"
#include "agent/ota/ota_spool.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/ota/service.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/proxy.h"
#include "port/linux/file_probe.h"
#include "port/linux/file_read.h"
#include "port/linux/linux_http.h"

#define TAG "ota"
#define KEY_FILE_MAX 4095 /* maximum size of a file with a public key (PEM or hex), in bytes */

enum {
    WATCH_MS = 500,
    OVERDUE_RETRY_MS = 60000,
    RESTART_MS = 10000 /* a restart that was requested has begun within this time */
};

/* A process runs one agent. */
static struct {
    struct runner runner;
    struct ota_spool spool;
    struct ota_history history;
    struct cmx_mutex history_lock;
    struct cmx_ota_keys keys;
    struct cmx_ota_keys found;    /* the keys that the files contained at the last reload */
    struct cmx_ota_config config; /* borrowed by the service */
    struct cmx_ota_service *service;
    struct cmx_proxy *proxy;
    struct isolation *isolation;
    char *name, *host; /* copies for the service, because a reload frees the configuration's strings */
    uint8_t boot[CMX_OTA_BOOT_LEN];
    atomic_bool stopping;
    atomic_bool watching; /* a task runs that uses the slots: it watches or ends a trial */
    bool prepared;        /* the service has all that it needs, except perhaps its port */
    uint64_t retry_ms;    /* an overdue trial is not ended before this time */
    struct cmx_why off;   /* why the configured update service does not run; empty: no error */
} ota = {.runner = RUNNER_NONE, .spool = {.fd = -1, .folder = -1}};

static bool wanted(const struct agent_config *c)
{
    return c->ota.install != NULL;
}

static cmx_err add_key(struct cmx_ota_keys *keys, const char *key, const char *path, struct cmx_why *why)
{
    struct cmx_why reason = {""};
    char *text = NULL;
    size_t n = 0;
    cmx_err err = path ? cmx_file_read(path, KEY_FILE_MAX, false, &text, &n, &reason) : CMX_OK;

    if (!path)
        return CMX_OK;
    if (err)
        return cmx_why_fail(why, CMX_EINVAL, "[ota] %s %s: %s", key, path, reason.text);
    while (n > 0 && strchr(" \r\n\t", text[n - 1]))
        n--;
    text[n] = '\0';
    err = cmx_ota_keys_add(keys, text);
    cmx_mem_free(text);
    return err ? cmx_why_fail(why, CMX_EINVAL, "[ota] %s %s: not a P-256 public key; 'cmxsafe image key' prints one",
                              key, path)
               : CMX_OK;
}

static cmx_err read_keys(const struct agent_config *c, struct cmx_ota_keys *keys, struct cmx_why *why)
{
    cmx_err err;

    memset(keys, 0, sizeof *keys);
    err = add_key(keys, "key_file", c->ota.key_file, why);
    return err ? err : add_key(keys, "next_key_file", c->ota.next_key_file, why);
}

static cmx_err ota_check(const struct agent_config *c, struct cmx_why *why)
{
    if (wanted(c) && !c->ota.key_file && !c->ota.allow_unsigned)
        return cmx_why_fail(why, CMX_EINVAL, "[ota] has no key_file: set it, or set allow_unsigned = yes");
    return CMX_OK;
}

cmx_err ota_check_files(const struct agent_config *c, struct cmx_why *why)
{
    return wanted(c) ? read_keys(c, &ota.found, why) : CMX_OK;
}

static void ota_plan(const struct wiring *w, struct confine_plan *p)
{
    if (!wanted(w->config))
        return;
    confine_bind(p, w->config->ota.port);
    confine_read_folder(p, w->config->ota.key_file); /* each reload reads and checks the keys */
    confine_read_folder(p, w->config->ota.next_key_file);
    confine_write_folder(p, w->config->ota.spool); /* the agent replaces the update's record in this folder */
}

static cmx_err start_runner(const struct ota_section *o)
{
    const struct runner_command command[RUNNER_HOOKS] = {
        [RUNNER_INSTALL] = {o->install, o->install_timeout_ms},
        [RUNNER_CONFIRM] = {o->confirm, o->confirm_timeout_ms},
        [RUNNER_ROLLBACK] = {o->rollback, o->rollback_timeout_ms},
        [RUNNER_RESTART] = {o->restart, o->restart_timeout_ms},
        [RUNNER_VERSION] = {o->version, o->version_timeout_ms},
    };

    return ota_runner_start(&ota.runner, command);
}

/* Checks that the calls on the files of [ota] will not block. */
static cmx_err files_answer(const struct ota_section *o, struct cmx_why *why)
{
    const char *const paths[] = {o->key_file, o->next_key_file, o->spool};

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (paths[i] && !cmx_file_answers(paths[i], FILE_ANSWER_MS))
            return cmx_why_fail(why, CMX_ETIMEOUT, "%s: its file system does not answer", paths[i]);
    return CMX_OK;
}

static cmx_err ota_prepare(struct wiring *w, struct cmx_why *why)
{
    const struct ota_section *o = &w->config->ota;
    const struct ota_spool_config spool = {.path = o->spool,
                                           .max_len = (uint32_t)o->max_size,
                                           .restarts = o->restart != NULL,
                                           .has_version = o->version != NULL,
                                           .runner = &ota.runner};
    cmx_err err;

    if (!wanted(w->config))
        return CMX_OK;
    err = files_answer(o, &ota.off);
    if (!err && (err = start_runner(o)) != CMX_OK)
        cmx_why_set(&ota.off, "the process that runs the hooks cannot be started");
    if (!err)
        err = ota_spool_open(&ota.spool, &spool, &ota.off);
    if (err == CMX_EBUSY)
        return cmx_why_fail(why, err, "[ota]: %s", ota.off.text);
    if (!err)
        err = cmx_linux_http_load(&ota.off);
    if (!err)
        err = read_keys(w->config, &ota.keys, &ota.off);
    if (err)
        cmx_log(CMX_LOG_ERROR, TAG, "there is no update service: %s; correct this, then restart the agent",
                cmx_why_text(&ota.off, err));
    ota.prepared = !err;
    return CMX_OK;
}

static cmx_err restart(struct cmx_why *why)
{
    char line[CMX_WHY_MAX];
    cmx_err err = ota_runner_call(&ota.runner, RUNNER_RESTART, -1, line, sizeof line);

    return err ? cmx_why_fail(why, err, "%s", line) : CMX_OK;
}

/* True if a trial has lasted for longer than confirm_within. Called while the update service does not run; otherwise
 * the service ends the trial. */
static bool trial_is_overdue(const struct ota_section *o)
{
    const struct cmx_slots slots = ota_spool_slots(&ota.spool);
    const uint64_t now_ms = cmx_port_now_ms();
    struct cmx_slots_status trial;

    return ota.spool.folder >= 0 && now_ms >= ota.retry_ms && slots.status(slots.arg, &trial) == CMX_OK &&
           trial.pending && trial.trial_ms + (now_ms - ota.spool.now_ms) >= o->confirm_within_ms;
}

/* Rolls the update back and restarts. True: the restart was requested. */
static bool end_trial(const char *because)
{
    const struct cmx_slots slots = ota_spool_slots(&ota.spool);
    struct cmx_why why = {""};
    cmx_err err = slots.rollback(slots.arg, because, &why);

    if (!err) {
        cmx_log(CMX_LOG_ERROR, TAG, "version %s is rolled back: %s", ota.spool.version, because);
        err = restart(&why);
    }
    if (err)
        cmx_log(CMX_LOG_ERROR, TAG, "the update on trial cannot be rolled back: %s", cmx_why_text(&why, err));
    ota.retry_ms = cmx_port_now_ms() + OVERDUE_RETRY_MS;
    return err == CMX_OK;
}

static void end_trial_task(void *because)
{
    (void)end_trial(because);
    ota.watching = false;
}

bool ota_ends_trial(void)
{
    return ota.watching && !ota.service;
}

void ota_start_failed(struct wiring *w)
{
    struct cmx_why why = {""};

    if (!wanted(w->config) || (ota.spool.folder < 0 && ota_prepare(w, &why) != CMX_OK))
        return;
    if (trial_is_overdue(&w->config->ota) && end_trial("the agent can't start"))
        cmx_port_sleep_ms(RESTART_MS); /* systemd removes /run/cmxsafe, and a file in it, when the agent ends */
}

static void watch(void *arg)
{
    struct cmx_confirm_facts facts = {0};

    (void)arg;
    do {
        cmx_port_sleep_ms(WATCH_MS);
        facts.isolation_active = isolation_settled(ota.isolation);
        facts.sessions_up = cmx_proxy_reached(ota.proxy);
    } while (!ota.stopping && cmx_ota_watch(ota.service, &facts) != CMX_CONFIRM_NOW);
    ota.watching = false;
}

/* Called by the service's threads. */
static void upload_ended(const struct cmx_ota_past *p)
{
    cmx_err err;

    if (!p->ok)
        ota_spool_empty(&ota.spool);
    cmx_port_mutex_lock(&ota.history_lock);
    err = ota_history_add(&ota.history, p);
    cmx_port_mutex_unlock(&ota.history_lock);
    if (err)
        cmx_log_limited(CMX_LOG_WARN, TAG, "the upload history cannot be written: %s", strerror(errno));
}

/* Sets ota.boot, which is the same for all starts of the agent within one boot of the machine. */
static cmx_err keep_boot(void)
{
    uint8_t hash[CMX_SHA256_LEN];
    cmx_err err = cmx_sha256_of(ota.spool.boot, strlen(ota.spool.boot), hash);

    memcpy(ota.boot, hash, sizeof ota.boot);
    return err;
}

/* Copies the texts that the service needs. ota_stop frees the copies, also after CMX_ENOMEM. */
static cmx_err keep_texts(const struct agent_config *c)
{
    ota.name = cmx_mem_strdup(c->gateway.options.user);
    ota.host = c->ota.host ? cmx_mem_strdup(c->ota.host) : NULL;
    return ota.name && (ota.host || !c->ota.host) ? CMX_OK : CMX_ENOMEM;
}

static void ota_serve(void)
{
    cmx_err err = cmx_ota_start(&ota.service, &ota.config);

    if (!err) {
        cmx_port_mutex_lock(&ota.history_lock);
        for (size_t i = 0; i < ota.history.n; i++)
            cmx_ota_past_add(ota.service, &ota.history.past[i]);
        cmx_port_mutex_unlock(&ota.history_lock);
        ota.watching = true;
        err = cmx_port_task_start("ota-watch", 0, watch, NULL);
    }
    if (!err) {
        cmx_why_clear(&ota.off);
        return;
    }
    ota.watching = false;
    cmx_ota_stop(ota.service);
    ota.service = NULL;
    cmx_why_set(&ota.off, "port %u: %s", (unsigned)ota.config.port, cmx_err_text(err));
    cmx_log_limited(CMX_LOG_ERROR, TAG, "there is no update service: %s; the agent tries again every minute",
                    ota.off.text);
}

static cmx_err ota_start(struct wiring *w, struct cmx_why *why)
{
    const struct ota_section *o = &w->config->ota;
    char name[OTA_HISTORY_NAME_MAX];
    cmx_err err;

    (void)why;
    if (!ota.prepared)
        return CMX_OK;
    ota.config = (struct cmx_ota_config){.slots = ota_spool_slots(&ota.spool),
                                         .policy = {.format = CMX_IMAGE_OPAQUE, .keys = ota.keys},
                                         .hosts = (const char *const *)&ota.host,
                                         .port = (uint16_t)o->port,
                                         .boot = ota.boot,
                                         .confirm_deadline_ms = (uint32_t)o->confirm_within_ms,
                                         .no_restart = o->restart == NULL,
                                         .restart = restart,
                                         .ended = upload_ended};
    err = keep_texts(w->config);
    if (!err)
        err = keep_boot();
    if (err)
        return err;
    ota.config.name = ota.name;
    ota.config.n_hosts = ota.host != NULL;
    ota.proxy = w->proxy;
    ota.isolation = w->isolation;
    cmx_port_mutex_init(&ota.history_lock);
    snprintf(name, sizeof name, "%s.history", strrchr(o->spool, '/') + 1);
    ota_history_read(&ota.history, ota.spool.folder, name);
    ota_serve();
    return CMX_OK;
}

/* Without this warning, a reload would seem to withdraw a key whose file was replaced. */
static cmx_err ota_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why)
{
    (void)w;
    (void)why;
    if (ota.prepared && wanted(next) && memcmp(&ota.found, &ota.keys, sizeof ota.keys) != 0)
        cmx_log(CMX_LOG_WARN, TAG,
                "the update keys have changed: until the agent restarts, updates are verified with the old keys");
    return CMX_OK;
}

uint16_t ota_off(const struct agent_config *c)
{
    const uint64_t served = ota.service ? ota.config.port : 0;

    return wanted(c) && c->ota.port != served ? (uint16_t)c->ota.port : 0;
}

bool ota_on_trial(void)
{
    return ota_spool_on_trial(&ota.spool);
}

static void ota_turn(struct wiring *w)
{
    static char no_key[] = "no key for the login", no_service[] = "no update service";

    if (ota.prepared && !ota.service && !ota.watching && w->retry && w->proxy)
        ota_serve();
    if (!ota.service && !ota.watching && trial_is_overdue(&w->config->ota)) {
        ota.watching = true;
        if (cmx_port_task_start("ota-trial", 0, end_trial_task, w->proxy ? no_service : no_key) != CMX_OK)
            ota.watching = false;
    }
    if (!ota.service || ota_runner_restore(&ota.runner))
        return;
    cmx_log(CMX_LOG_ERROR, TAG,
            "the processes that run the update hooks were killed, and the confined agent cannot "
            "start them again: the agent ends, so that its service manager starts it again");
    w->failed = true;
}

static void ota_stop(struct wiring *w)
{
    (void)w;
    ota.stopping = true;
    ota_runner_abort(&ota.runner); /* otherwise a running hook would delay the stop */
    while (ota.watching)
        cmx_port_sleep_ms(10);
    cmx_ota_stop(ota.service);
    if (ota.prepared)
        cmx_port_mutex_destroy(&ota.history_lock);
    ota.service = NULL;
    cmx_mem_free(ota.name);
    cmx_mem_free(ota.host);
    ota.name = ota.host = NULL;
    ota.stopping = false;
    ota_spool_close(&ota.spool);
    ota_runner_stop(&ota.runner);
}

static void ota_text(const struct wiring *w, struct cmx_buf *out)
{
    (void)w;
    if (ota.off.text[0])
        cmx_buf_printf(out, "updates: %s\n", ota.off.text);
}

static void ota_json(const struct wiring *w, struct cmx_json *j)
{
    (void)w;
    cmx_json_object(j, "ota");
    cmx_json_bool(j, "enabled", ota.service != NULL);
    if (ota.service)
        cmx_ota_json(ota.service, j);
    else if (ota.off.text[0])
        cmx_json_str(j, "error", ota.off.text);
    cmx_json_end(j);
}

const struct module ota_module = {.name = "ota",
                                  .check = ota_check,
                                  .prepare = ota_prepare,
                                  .plan = ota_plan,
                                  .start = ota_start,
                                  .reload = ota_reload,
                                  .turn = ota_turn,
                                  .stop = ota_stop,
                                  .json = ota_json,
                                  .text = ota_text};
