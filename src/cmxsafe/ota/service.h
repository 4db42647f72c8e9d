/* service.h - the update service: HTTP routes over http.h that feed an upload (upload.h). Serves a page for a person,
 * one POST for a script, JSON for a program. Decides who may (Origin, Host), and that one update happens at a time;
 * what is accepted is image.h's to say.
 *
 *     GET  /             the page; /serverIndex leads there
 *     GET  /update       the state, JSON
 *     POST /update       multipart field `update`, or the raw file; Content-Range continues an interrupted one
 *     POST /restart      into an update that is ready and whose answer was lost
 *
 * Storage is this module's bound: one struct cmx_upload, from an update's first byte until it ends, at most one more
 * struct for the request; under CMX_OTA_HEAP_MAX together. */
#ifndef CMX_OTA_SERVICE_H
#define CMX_OTA_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/ota/confirm.h"
#include "cmxsafe/ota/image.h"
#include "cmxsafe/ota/slots.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_OTA_PORT 8989
#define CMX_OTA_HEAP_MAX 16384
#define CMX_OTA_IDLE_TIMEOUT_S 30
#define CMX_OTA_SLOWEST                                                                                                \
    128 /* bytes a second, over the idle timeout: an upload that drips holds the place of others                       \
         */
#define CMX_OTA_RESTART_GRACE_MS 1000       /* for the answer to cross the tunnel */
#define CMX_OTA_RESUME_MS (60u * 60 * 1000) /* an interrupted upload is kept that long */

typedef enum {
    CMX_OTA_EVENT_BEGIN,
    CMX_OTA_EVENT_REFUSED,
    CMX_OTA_EVENT_INTERRUPTED,
    CMX_OTA_EVENT_READY, /* verified and activated; the restart follows */
    CMX_OTA_EVENT_CONFIRMED,
    CMX_OTA_EVENT_ROLLBACK /* the running image is given up; at the start: the one that ran before was */
} cmx_ota_event;

struct cmx_ota_config {
    struct cmx_slots slots;   /* copied; what is behind it must outlive the service */
    const char *name;         /* the device's, for the page's title; NULL: "device"; borrowed */
    const char *const *hosts; /* further names by which clients reach it (Host header); borrowed */
    size_t n_hosts;
    const char *address;          /* NULL: 127.0.0.1; borrowed */
    uint16_t port;                /* 0: one that the platform picks */
    unsigned idle_timeout_s;      /* 0: CMX_OTA_IDLE_TIMEOUT_S */
    uint32_t restart_grace_ms;    /* 0: CMX_OTA_RESTART_GRACE_MS */
    uint32_t confirm_deadline_ms; /* 0: CMX_CONFIRM_DEADLINE_MS */
    bool no_restart;              /* what was activated runs at once: no restart, no trial */
    void (*restart)(void *arg);   /* NULL: cmx_port_restart */
    void *restart_arg;
    /* May be NULL. text: the version, or why; valid during the call. Called from the service's threads; must not block.
     */
    void (*event)(void *arg, cmx_ota_event event, const char *text);
    void *event_arg;
    struct cmx_image_policy policy; /* copied; no key: each start says so in the log */
};

struct cmx_ota_service;

/* Serves until stopped. *config is copied. CMX_EBUSY: the port is taken. CMX_ENOMEM, CMX_EIO. */
CMX_MUST_USE cmx_err cmx_ota_start(struct cmx_ota_service **out, const struct cmx_ota_config *config);

uint16_t cmx_ota_port(const struct cmx_ota_service *s);

/* The device wiring calls this once a second or so, from one task, with what it knows. While the running image waits
 * for its confirmation it is confirmed, or, once the deadline has passed, rolled back and the device restarted. WAIT:
 * call again; NOW: nothing is left to decide, also where nothing was pending. */
cmx_confirm_decision cmx_ota_watch(struct cmx_ota_service *s, const struct cmx_confirm_facts *facts);

/* Waits for requests under way; an upload ends interrupted. NULL is fine. */
void cmx_ota_stop(struct cmx_ota_service *s);

#ifdef __cplusplus
}
#endif
#endif
