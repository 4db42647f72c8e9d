/* events_esp.h - converts a cmx_err to an esp_err_t, and posts the engine's and the updater's events as esp_event
 * notifications to the default loop.
 *
 *     esp_event_handler_register(CMX_EVENT, ESP_EVENT_ANY_ID, on_cmx, NULL);
 *
 * Handlers get a struct cmx_event_data. They run in the task sys_evt, whose stack is too small for printing. */
#pragma once

#ifdef ESP_PLATFORM

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/proxy/proxy.h"
#include "esp_err.h"
#include "esp_event.h"

CMX_C_BEGIN

ESP_EVENT_DECLARE_BASE(CMX_EVENT);

typedef enum {
    CMX_EVENT_SESSION_UP,   /* name: the session; all its forwards are granted */
    CMX_EVENT_SESSION_DOWN, /* name: the session; err says why */
    CMX_EVENT_RELAY_OPEN,   /* name: the context */
    CMX_EVENT_RELAY_CLOSED, /* name: the context; err CMX_OK: both sides closed the connection normally */
    CMX_EVENT_UPDATE_READY, /* a verified image is in the other slot; the device restarts soon. name: image version */
    /* err CMX_ECLOSED: the upload was interrupted. err CMX_EFORMAT: it was refused; name: the reason, cut to fit */
    CMX_EVENT_UPDATE_FAILED,
    CMX_EVENT_CONFIRMED,    /* the running image reached its gateway and is kept. name: its version */
    CMX_EVENT_ROLLBACK,     /* the device returns or has returned to the previous image. name: the reason, cut to fit */
    CMX_EVENT_RELAY_REFUSED /* name: the context, or "" if no context has the gateway's port; err: the reason */
} cmx_event_id;

#define CMX_EVENT_GATEWAY_MAX 64 /* bytes, NUL included */

struct cmx_event_data {
    char name[CMX_PROXY_NAME_MAX];
    char gateway[CMX_EVENT_GATEWAY_MAX]; /* in events of a session, the gateway's host, cut to fit; otherwise "" */
    cmx_err err;
};

/* Posts to the default loop without waiting. gateway may be NULL. The event is lost if the queue is full or there is no
 * default loop. Any task. */
void cmx_esp_post(cmx_event_id id, const char *name, const char *gateway, cmx_err err);

/* Translates a cmx_err to an esp_err_t: the matching ESP_ERR_* if there is one, otherwise CMX_ESP_ERR_BASE + the value.
 * Any task. */
#define CMX_ESP_ERR_BASE 0x16000
esp_err_t cmx_esp_err(cmx_err err);

CMX_C_END
#endif
