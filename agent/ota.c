#include "ota.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/ota/service.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/proxy.h"
#include "linux_http.h"
#include "ota_runner.h"
#include "ota_spool.h"

#define TAG "ota"

/* One agent a process. */
static struct {
    struct runner runner;
    struct ota_spool spool;
    struct cmx_ota_keys keys;
    struct cmx_ota_service *service;
    struct cmx_proxy *proxy;
    char *name, *host; /* what the service borrows: copies, since a reload replaces the configuration */
    atomic_bool stopping, watching;
} ota = {.runner = {.fd = -1}, .spool = {.fd = -1, .state_fd = -1}};

static bool wanted(const struct agent_config *c)
{
    return c->ota.install != NULL;
}

static cmx_err add_key(struct cmx_ota_keys *keys, const char *path, char *why, size_t cap)
{
    char text[4096];
    FILE *f = path ? fopen(path, "re") : NULL;
    size_t n;

    if (!path)
        return CMX_OK;
    if (!f) {
        snprintf(why, cap, "[ota]: %s: %s", path, strerror(errno));
        return CMX_EINVAL;
    }
    n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    while (n > 0 && strchr(" \r\n\t", text[n - 1]))
        n--;
    text[n] = '\0';
    if (cmx_ota_keys_add(keys, text) == CMX_OK)
        return CMX_OK;
    snprintf(why, cap, "[ota]: %s holds no P-256 public key ('cmxsafe image key' prints one)", path);
    return CMX_EINVAL;
}

static cmx_err read_keys(const struct agent_config *c, struct cmx_ota_keys *keys, char *why, size_t cap)
{
    cmx_err err;

    memset(keys, 0, sizeof *keys);
    err = add_key(keys, c->ota.key_file, why, cap);
    return err ? err : add_key(keys, c->ota.next_key_file, why, cap);
}

cmx_err ota_check(const struct agent_config *c, char *why, size_t cap)
{
    struct cmx_ota_keys keys;

    if (!wanted(c))
        return CMX_OK;
    if (!c->ota.key_file && !c->ota.allow_unsigned) {
        snprintf(why, cap, "[ota] has no key_file: give one, or say allow_unsigned = yes");
        return CMX_EINVAL;
    }
    return read_keys(c, &keys, why, cap);
}

void ota_plan(struct agent *a, struct confine_plan *p)
{
    if (wanted(a->config) && p->n_bind < CONFINE_PORTS_MAX)
        p->bind[p->n_bind++] = (uint16_t)a->config->ota.port;
}

cmx_err ota_prepare(struct agent *a, char *why, size_t cap)
{
    const struct ota_section *o = &a->config->ota;
    const char *const command[RUNNER_HOOKS] = {o->install, o->confirm, o->rollback, o->restart, o->version};
    cmx_err err;

    if (!wanted(a->config))
        return CMX_OK;
    err = cmx_linux_http_load(why, cap);
    if (!err)
        err = read_keys(a->config, &ota.keys, why, cap);
    if (!err)
        err = runner_start(&ota.runner, command);
    if (err)
        return err;
    err = ota_spool_open(&ota.spool, o->spool, (uint32_t)o->max_size, o->restart != NULL, &ota.runner);
    if (err)
        snprintf(why, cap, "[ota]: %s: %s", o->spool, strerror(errno));
    return err;
}

static void restart(void *arg)
{
    char line[160];

    (void)arg;
    if (runner_call(&ota.runner, RUNNER_RESTART, -1, line, sizeof line) != CMX_OK)
        cmx_log(CMX_LOG_ERROR, TAG, "the restart hook failed: %s", line);
}

static void watch(void *arg)
{
    /* Isolation is in force before the first session, or the agent does not start (isolation.h). */
    struct cmx_confirm_facts facts = {.isolation_active = true};

    (void)arg;
    do {
        cmx_port_sleep_ms(500);
        facts.sessions_up = cmx_proxy_all_up(ota.proxy);
    } while (!ota.stopping && cmx_ota_watch(ota.service, &facts) == CMX_CONFIRM_WAIT);
    ota.watching = false;
}

/* CMX_ENOMEM: what was copied is freed by ota_stop. */
static cmx_err keep_texts(const struct agent_config *c)
{
    ota.name = cmx_mem_strdup(c->gateway.user);
    ota.host = c->ota.host ? cmx_mem_strdup(c->ota.host) : NULL;
    return ota.name && (ota.host || !c->ota.host) ? CMX_OK : CMX_ENOMEM;
}

cmx_err ota_start(struct agent *a, char *why, size_t cap)
{
    const struct ota_section *o = &a->config->ota;
    struct cmx_ota_config config = {.slots = ota_spool_slots(&ota.spool),
                                    .policy = {.format = CMX_IMAGE_OPAQUE, .keys = ota.keys},
                                    .hosts = (const char *const *)&ota.host,
                                    .port = (uint16_t)o->port,
                                    .confirm_deadline_ms = (uint32_t)o->confirm_within_ms,
                                    .no_restart = o->restart == NULL,
                                    .restart = restart};
    cmx_err err;

    if (!wanted(a->config))
        return CMX_OK;
    err = keep_texts(a->config);
    if (err)
        return err;
    config.name = ota.name;
    config.n_hosts = ota.host != NULL;
    ota.proxy = a->proxy;
    err = cmx_ota_start(&ota.service, &config);
    if (err) {
        snprintf(why, cap, "[ota]: port %u: %s", (unsigned)o->port, cmx_err_text(err));
        return err;
    }
    ota.watching = true;
    err = cmx_port_task_start("ota-watch", 0, watch, NULL);
    if (err)
        ota.watching = false;
    return err;
}

static bool same(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* The hooks were given to a process that the agent can no longer make. */
cmx_err ota_reload(struct agent *a, const struct agent_config *next, char *why, size_t cap)
{
    const struct ota_section *o = &a->config->ota, *n = &next->ota;

    (void)why;
    (void)cap;
    if (!same(o->install, n->install) || !same(o->confirm, n->confirm) || !same(o->rollback, n->rollback) ||
        !same(o->restart, n->restart) || !same(o->version, n->version) || !same(o->key_file, n->key_file) ||
        !same(o->next_key_file, n->next_key_file) || o->port != n->port)
        cmx_log(CMX_LOG_WARN, TAG, "[ota] keeps its old values until a restart");
    return CMX_OK;
}

void ota_stop(struct agent *a)
{
    (void)a;
    ota.stopping = true;
    while (ota.watching)
        cmx_port_sleep_ms(10);
    cmx_ota_stop(ota.service);
    ota.service = NULL;
    cmx_mem_free(ota.name);
    cmx_mem_free(ota.host);
    ota.name = ota.host = NULL;
    ota.stopping = false;
    ota_spool_close(&ota.spool);
    runner_stop(&ota.runner);
}
