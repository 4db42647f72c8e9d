#include "cmxsafe/device/update.h"

#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/device/isolation.h"
#include "cmxsafe/port/port.h"

#define TAG CMX_LOG_OTA

enum { WATCH_MS = 500, KEY_TEXT_MAX = 200 };

static struct {
    struct cmx_device_updates platform;
    struct cmx_ota_service *service;
    bool stopping; /* both: by more than one task, through is and set */
    bool running;  /* cmx_device_update_run is: the service is its own until it is not */
} update;

void cmx_device_set_updates(const struct cmx_device_updates *u)
{
    update.platform = *u;
}

const struct cmx_slots *cmx_device_slots(void)
{
    return update.platform.slots.status ? &update.platform.slots : NULL;
}

/* PEM holds spaces of its own ("BEGIN PUBLIC KEY"); it is one key. Hex may be two. */
static cmx_err add_keys(struct cmx_ota_keys *keys, const char *text)
{
    char one[KEY_TEXT_MAX];

    if (strstr(text, "PUBLIC KEY"))
        return cmx_ota_keys_add(keys, text);
    while (*text) {
        size_t n;
        cmx_err err;

        text += strspn(text, " ,");
        n = strcspn(text, " ,");
        if (n == 0)
            break;
        if (n >= sizeof one)
            return CMX_EFORMAT;
        memcpy(one, text, n);
        one[n] = '\0';
        err = cmx_ota_keys_add(keys, one);
        if (err)
            return err;
        text += n;
    }
    return CMX_OK;
}

/* Sessions end in order, so that the gateway lets go of their listeners at once and the new image finds them free. */
static void restart(void *arg)
{
    (void)arg;
    cmx_device_stop();
    cmx_port_restart();
}

static struct cmx_ota_config config_of(const struct cmx_device_updates *u)
{
    return (struct cmx_ota_config){
        .slots = u->slots,
        .policy = {.chip_id = u->chip_id, .secure_version_min = u->secure_version_min, .secure_boot = u->secure_boot},
        .name = u->name,
        .hosts = u->hosts,
        .n_hosts = u->n_hosts,
        .address = u->address,
        .port = u->port ? u->port : CMX_OTA_PORT,
        .confirm_deadline_ms = u->confirm_deadline_ms,
        .restart = restart,
        .event = u->event,
        .event_arg = u->arg,
    };
}

static struct cmx_confirm_facts facts_of(const struct cmx_device_updates *u)
{
    return (struct cmx_confirm_facts){
        .sessions_up = u->sessions_up ? u->sessions_up(u->arg) : cmx_device_all_up(),
        .isolation_active = u->isolation_active ? u->isolation_active(u->arg) : cmx_device_isolation_settled(),
    };
}

static bool is(const bool *flag)
{
    return __atomic_load_n(flag, __ATOMIC_SEQ_CST);
}

static void set(bool *flag, bool value)
{
    __atomic_store_n(flag, value, __ATOMIC_SEQ_CST);
}

static cmx_err serve_and_watch(const struct cmx_ota_config *config)
{
    struct cmx_confirm_facts facts;
    cmx_err err = cmx_ota_start(&update.service, config);

    if (err) {
        cmx_module_log(CMX_LOG_ERROR | TAG, "cannot serve on port %u: %s", (unsigned)config->port, cmx_err_text(err));
        return err;
    }
    do {
        cmx_port_sleep_ms(WATCH_MS);
        facts = facts_of(&update.platform);
    } while (!is(&update.stopping) && cmx_ota_watch(update.service, &facts) == CMX_CONFIRM_WAIT);
    return CMX_OK;
}

cmx_err cmx_device_update_run(const struct cmx_settings *settings)
{
    const struct cmx_device_updates *u = &update.platform;
    struct cmx_ota_config config = config_of(u);
    const char *key = u->public_key && u->public_key[0] ? u->public_key : settings->ota_public_key;
    cmx_err err;

    if (!u->slots.status) {
        cmx_module_log(CMX_LOG_ERROR | TAG, "no slots for updates");
        return CMX_ENOTSUP;
    }
    err = key ? add_keys(&config.policy.keys, key) : CMX_OK;
    if (err) { /* accepting anything would be the wrong way out */
        cmx_module_log(CMX_LOG_ERROR | TAG,
                       "no updates: OTA_PUBLIC_KEY is no P-256 key ('cmxsafe image key' prints it)");
        return CMX_EINVAL;
    }
    set(&update.running, true);
    err = serve_and_watch(&config);
    set(&update.running, false);
    return err;
}

void cmx_device_update_stop(void)
{
    set(&update.stopping, true);
    while (is(&update.running))
        cmx_port_sleep_ms(10);
    cmx_ota_stop(update.service);
    update.service = NULL;
    set(&update.stopping, false);
}
