/* events.h - the edge towards ESP-IDF: esp_err_t for a cmx_err, and what happens as esp_event notifications on the
 * default loop.
 *
 *     esp_event_handler_register(CMX_EVENT, ESP_EVENT_ANY_ID, on_cmx, NULL);
 *
 * Handlers run in the event loop's task and get a struct cmx_event_data. ESP-IDF only. */
#ifndef CMX_PORT_ESP_EVENTS_H
#define CMX_PORT_ESP_EVENTS_H

#ifdef ESP_PLATFORM

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/proxy/proxy.h"
#include "esp_err.h"
#include "esp_event.h"

#ifdef __cplusplus
extern "C" {
#endif

ESP_EVENT_DECLARE_BASE(CMX_EVENT);

typedef enum {
    CMX_EVENT_SESSION_UP,    /* name: the session; all its forwards are granted */
    CMX_EVENT_SESSION_DOWN,  /* name; err says why */
    CMX_EVENT_RELAY_OPEN,    /* name: the context */
    CMX_EVENT_RELAY_CLOSED,  /* name: the context; err: CMX_OK: in order, by both sides */
    CMX_EVENT_UPDATE_READY,  /* a verified image is in the other slot; the device restarts soon. name: its version */
    CMX_EVENT_UPDATE_FAILED, /* err says why */
    CMX_EVENT_CONFIRMED,     /* the running image proved itself */
    CMX_EVENT_ROLLBACK,      /* it did not, and the device returns to the one before, or has returned */
    CMX_EVENT_RELAY_REFUSED  /* name: the context, or "" where none has the port; err says why */
} cmx_event_id;

struct cmx_event_data {
    char name[CMX_PROXY_NAME_MAX];
    cmx_err err;
};

/* Posts to the default loop, without waiting: an event is dropped when the loop's queue is full. Nothing happens while
 * there is no default loop. Any task. */
void cmx_esp_post(cmx_event_id id, const char *name, cmx_err err);

/* Every cmx_err as an esp_err_t: the matching ESP_ERR_* where there is one, else CMX_ESP_ERR_BASE + the value. Any
 * task. */
#define CMX_ESP_ERR_BASE 0x16000
esp_err_t cmx_esp_err(cmx_err err);

#ifdef __cplusplus
}
#endif
#endif
#endif
