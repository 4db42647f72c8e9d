#include "cmxsafe/device/device_update.h"

#include <stdatomic.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/device/device_isolation.h"
#include "cmxsafe/port/port.h"

#define TAG "ota"

enum { WATCH_MS = 500, KEY_TEXT_MAX = 200 };

static struct {
    const char *public_key;
    void (*event)(cmx_ota_event event, const char *text); /* the platform's callback, or NULL */
    struct cmx_ota_service *service;
    atomic_bool stopping;
    atomic_bool running; /* cmx_device_update_run is still using `service` */
    struct cmx_ota_config config;
} update;

const struct cmx_slots *cmx_device_slots(void)
{
    return update.config.slots.status ? &update.config.slots : NULL;
}

/* Reads one key in PEM form, which contains spaces ("BEGIN PUBLIC KEY"), or up to two keys in hex, separated by space
 * or comma. */
static cmx_err add_keys(struct cmx_ota_keys *keys, const char *text)
{
    char one[KEY_TEXT_MAX];

    if (strstr(text, "PUBLIC KEY"))
        return cmx_ota_keys_add(keys, text);
    text += strspn(text, " ,");
    do {
        const size_t n = strcspn(text, " ,");
        cmx_err err;

        if (n >= sizeof one)
            return CMX_EFORMAT;
        memcpy(one, text, n);
        one[n] = '\0';
        err = cmx_ota_keys_add(keys, one); /* a text without a key is an error too */
        if (err)
            return err;
        text += n;
        text += strspn(text, " ,");
    } while (*text);
    return CMX_OK;
}

/* Closes the sessions first: the gateway then closes their listeners at once, so that the new image can open them
 * again. */
static cmx_err restart(struct cmx_why *why)
{
    (void)why;
    cmx_device_stop();
    cmx_port_restart();
    return CMX_OK;
}

static void on_event(cmx_ota_event event, const char *text)
{
    cmx_device_set_updating(event == CMX_OTA_EVENT_BEGIN);
    if (update.event)
        update.event(event, text);
}

void cmx_device_set_updates(const struct cmx_ota_config *config, const char *public_key)
{
    update.config = *config;
    update.public_key = public_key;
    update.event = config->event;
    update.config.event = on_event;
    update.config.restart = restart;
    if (!config->port)
        update.config.port = CMX_OTA_PORT;
}

static cmx_err serve_and_watch(void)
{
    struct cmx_confirm_facts facts = {0};
    cmx_err err = cmx_ota_start(&update.service, &update.config);

    if (err) {
        cmx_log(CMX_LOG_ERROR, TAG, "cannot serve on port %d: %s", update.config.port + cmx_device_port_offset(),
                cmx_err_text(err));
        return err;
    }
    cmx_log(CMX_LOG_INFO, TAG, "update service on port %u", (unsigned)cmx_ota_port(update.service));
    do {
        cmx_port_sleep_ms(WATCH_MS);
        facts.sessions_up = cmx_device_reached();
        facts.isolation_active = cmx_device_isolation_settled();
    } while (!update.stopping && cmx_ota_watch(update.service, &facts) != CMX_CONFIRM_NOW);
    return CMX_OK;
}

static cmx_err no_service(cmx_err err, const char *why)
{
    cmx_log(CMX_LOG_ERROR, TAG, "no update service: %s", why);
    return err;
}

/* Returns to the previous image if the running image is on trial: without the update service, the running image could
 * be neither confirmed nor replaced. */
static void end_trial(void)
{
    const struct cmx_slots *slots = &update.config.slots;
    struct cmx_slots_status status;
    struct cmx_why why;

    if (slots->status(slots->arg, &status) == CMX_OK && status.pending &&
        slots->rollback(slots->arg, "no update service", &why) == CMX_OK)
        (void)restart(&why);
}

static cmx_err run_updates(const struct cmx_settings *settings)
{
    const char *key = update.public_key && update.public_key[0] ? update.public_key : settings->ota_public_key;
    cmx_err err;

    if (!cmx_device_slots())
        return no_service(CMX_ENOTSUP, "the platform has no slots");
    update.config.policy.keys.n = 0;
    update.running = true;
    if (key && *key &&
        add_keys(&update.config.policy.keys, key)) /* a key that cannot be read must not turn signature checks off */
        err = no_service(CMX_EINVAL, "the public key is not P-256; 'cmxsafe image key' prints one");
    else
        err = serve_and_watch();
    if (err)
        end_trial();
    update.running = false;
    return err;
}

cmx_err cmx_device_update_run(const struct cmx_settings *settings)
{
    cmx_err err = cmx_port_device_start(); /* logs its own errors; may call cmx_device_set_updates */

    return err ? err : run_updates(settings);
}

void cmx_device_update_stop(void)
{
    update.stopping = true;
    while (update.running)
        cmx_port_sleep_ms(10);
    cmx_ota_stop(update.service);
    update.service = NULL;
    update.stopping = false;
}
