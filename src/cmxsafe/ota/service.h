/* service.h - the update service: HTTP routes (http.h) that feed an upload (upload.h). It serves a page for a person,
 * one POST for a script, and JSON for a program. It checks Origin and Host, runs one update at a time, and confirms a
 * new image or rolls it back. image.h decides which images are accepted.
 *
 *     GET  /             the page; /serverIndex redirects to it
 *     GET  /update       the state as JSON; `from`: the client that last began or continued an upload
 *     POST /update       multipart field `update`, or the raw file; with Content-Range: a part of the raw file
 *     POST /restart      restarts into an update that is ready
 *
 * Memory: the service's own struct, one struct cmx_upload from an update's first byte to its end, and one struct for
 * the request that sends the update. With the HTTP server, they take less than CMX_OTA_HEAP_MAX bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/ip.h"
#include "cmxsafe/ota/confirm.h"
#include "cmxsafe/ota/image.h"
#include "cmxsafe/ota/slots.h"

#define CMX_OTA_PORT 8989
#define CMX_OTA_HEAP_MAX 16384
#define CMX_OTA_IDLE_TIMEOUT_S 30
#define CMX_OTA_HEAP_SHORT 32768        /* bytes; with less free heap, an interruption is logged as a lack of memory */
#define CMX_OTA_SLOWEST 128             /* bytes/s; an upload slower than this for one idle timeout is interrupted */
#define CMX_OTA_RESTART_GRACE_MS 1000   /* wait before the restart, so that the answer reaches the client */
#define CMX_OTA_RESTART_WAIT_MS 300000u /* a restart that takes longer than this has failed */
#define CMX_OTA_RESUME_MS (60u * 60 * 1000) /* how long an interrupted upload is kept */
#define CMX_OTA_BOOT_LEN 8

typedef enum {
    CMX_OTA_EVENT_BEGIN,
    CMX_OTA_EVENT_REFUSED,
    CMX_OTA_EVENT_INTERRUPTED,
    CMX_OTA_EVENT_READY, /* verified and activated; the restart follows, unless no_restart is set */
    CMX_OTA_EVENT_CONFIRMED,
    CMX_OTA_EVENT_ROLLBACK /* the running image was rolled back, or the service starts after a rollback */
} cmx_ota_event;

#define CMX_OTA_PAST 4 /* how many past uploads GET /update shows */
#define CMX_OTA_PAST_WHAT_MAX 48

/* An upload that ended. */
struct cmx_ota_past {
    uint64_t at_ms; /* when it ended (cmx_port_now_ms); a time before the device's start is negative, modulo 2^64 */
    uint32_t received;
    bool ok;
    char from[CMX_IP_TEXT_MAX];       /* the client's address; "": not known */
    char what[CMX_OTA_PAST_WHAT_MAX]; /* the version, or the reason for the failure, cut to this size */
};

/* Everything that the members point to must stay valid as long as the config. */
struct cmx_ota_config {
    struct cmx_slots slots;
    const char *name;         /* the device's name, for the page's title; NULL: "device" */
    const char *const *hosts; /* further names that clients may send in the Host header */
    size_t n_hosts;
    const char *address;          /* NULL means 127.0.0.1 */
    const uint8_t *boot;          /* CMX_OTA_BOOT_LEN bytes that identify this boot of the device; NULL: random */
    uint16_t port;                /* 0: the platform chooses a port */
    unsigned idle_timeout_s;      /* 0 means CMX_OTA_IDLE_TIMEOUT_S */
    uint32_t restart_grace_ms;    /* 0 means CMX_OTA_RESTART_GRACE_MS */
    uint32_t confirm_deadline_ms; /* 0 means CMX_CONFIRM_DEADLINE_MS */
    bool no_restart;              /* an update takes effect when it is activated: no restart, no trial */
    /* Restarts the device; required. Called without a lock. On a device it does not return. Elsewhere CMX_OK means that
     * the restart was requested. On an error *why contains the reason. */
    cmx_err (*restart)(struct cmx_why *why);
    /* Reports an event. May be NULL. text: the version, the reason or "", valid during the call. Called from the
     * service's threads without a lock; must not block. */
    void (*event)(cmx_ota_event event, const char *text);
    /* Called after the end of an upload, from the same threads as event. May block. May be NULL. */
    void (*ended)(const struct cmx_ota_past *p);
    struct cmx_image_policy policy; /* without a key and without Secure Boot, each start logs a warning */
};

struct cmx_json;
struct cmx_ota_service;

/* Starts the service. *config must outlive it. CMX_EIO: the slots cannot be read, or the random generator failed.
 * CMX_ENOMEM: out of memory. Other errors: as for cmx_http_serve. */
CMX_MUST_USE cmx_err cmx_ota_start(struct cmx_ota_service **out, const struct cmx_ota_config *config);

/* Adds an upload to the history that GET /update shows. For uploads that ended before the service was started: call it
 * at once after cmx_ota_start, the oldest upload first. *p is copied. */
void cmx_ota_past_add(struct cmx_ota_service *s, const struct cmx_ota_past *p);

uint16_t cmx_ota_port(const struct cmx_ota_service *s);

/* Ends the trial of the running image: confirms the image when the facts permit, or rolls it back and restarts the
 * device at the deadline. A step that fails is tried again after a pause. Call this function about once a second,
 * always from the same task. It blocks as long as the functions of the slots block. Returns WAIT: call again; NOW:
 * nothing is left to decide; ROLLBACK: the image was rolled back and a restart requested; call again in case the device
 * does not restart. */
cmx_confirm_decision cmx_ota_watch(struct cmx_ota_service *s, const struct cmx_confirm_facts *facts);

/* Adds the members of GET /update's answer to the object that is open in j. Any thread. */
void cmx_ota_json(struct cmx_ota_service *s, struct cmx_json *j);

/* Stops the service: interrupts uploads, and waits for running requests and a running restart. Must not be called while
 * cmx_ota_watch runs. NULL is ignored. */
void cmx_ota_stop(struct cmx_ota_service *s);
