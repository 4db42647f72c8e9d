/* service_state.h - the state of the update service, shared by its parts: service_run.c (start, stop), service_status.c
 * (the page and GET /update), service_update.c (POST /update), service_restart.c and service_trial.c (confirmation and
 * rollback). Private to them. */
#pragma once

#include "cmxsafe/http/http.h"
#include "cmxsafe/ota/multipart.h"
#include "cmxsafe/ota/service.h"
#include "cmxsafe/ota/upload.h"
#include "cmxsafe/port/port.h"

typedef enum {
    OTA_IDLE,        /* no upload */
    OTA_RECEIVING,   /* one request owns the upload */
    OTA_INTERRUPTED, /* an upload can be continued */
    OTA_CHECKING,    /* the upload is complete and is being read back, verified and activated */
    OTA_READY,       /* the next start boots the new image; a restart can be requested */
    OTA_RESTARTING   /* the restart was requested */
} cmx_ota_state_name;

/* The steps of the trial of a running image. After cmx_ota_start only the task that calls cmx_ota_watch changes the
 * step. */
typedef enum {
    TRIAL_OVER,     /* nothing is left to decide */
    TRIAL_RUNNING,  /* the image is on trial until it is confirmed or the deadline passes */
    TRIAL_ROLLBACK, /* the rollback is decided, but the slots have not done it yet */
    TRIAL_RESTART   /* the image was rolled back, but the device has not restarted yet */
} cmx_ota_trial_step;

struct cmx_ota_trial {
    cmx_ota_trial_step step;
    bool confirm_failed;
    bool no_way_back;    /* there is no image to roll back to */
    uint32_t since_ms;   /* when the trial began */
    uint32_t last_ms;    /* when the step was last attempted */
    uint32_t pause_ms;   /* wait before the next attempt; doubles each time */
    const char *because; /* reason for the rollback */
};

/* 32-bit times (cmx_ota_now_ms) wrap after 49 days, so only the difference between two of them has a meaning. */
uint32_t cmx_ota_now_ms(void);

/* Invariants that hold while no thread has the lock: `upload` is not NULL in OTA_RECEIVING, OTA_INTERRUPTED and
 * OTA_CHECKING, and NULL in all other states. In OTA_RECEIVING and OTA_CHECKING only the thread of the owning request
 * uses `upload` and the slots. While an image is on trial there is no upload, and only the task that calls
 * cmx_ota_watch uses the slots. The members `received`, `total`, `crc` and `slots` are copies for the other threads.
 * The functions `activate`, `confirm`, `rollback` and `restart` may run a hook or never return, so they are called
 * without the lock. */
struct cmx_ota_service {
    const struct cmx_ota_config *config; /* borrowed */
    struct cmx_http_server *server;
    cmx_ota_state_name state;
    uint32_t state_ms; /* when the state was entered */
    struct cmx_ota_trial trial;
    struct cmx_upload *upload;
    uint32_t received;
    uint32_t total; /* 0: not known */
    uint32_t crc;
    uint64_t started_ms;
    uint8_t boot[CMX_OTA_BOOT_LEN];
    bool ready;           /* the next start boots a new image; a failed upload that wrote to the slot clears this */
    bool restart_running; /* the restart task has not ended */
    char from[CMX_IP_TEXT_MAX]; /* the client that last began or continued an upload; "": not known */
    struct cmx_mutex lock;
    struct cmx_slots_status slots;
    struct cmx_http_service http;
    struct cmx_ota_past past[CMX_OTA_PAST];
    unsigned n_past;      /* how many uploads were added; the last is past[(n_past - 1) % CMX_OTA_PAST] */
    struct cmx_why error; /* why the last upload, restart, confirmation or rollback failed; empty: no failure */
};

/* The state of one POST /update. */
struct cmx_ota_request {
    bool owner; /* this request owns the service's upload */
    bool ready; /* this upload was activated: the device restarts once the answer is sent */
    bool multipart;
    bool in_field; /* the current part is the field `update` */
    bool had_field;
    uint32_t range_end; /* raw upload: offset in the file at which this request's body ends; 0: not known */
    /* Start of the window in which the upload rate is measured, moved forward by our own processing time. */
    uint32_t since_ms;
    uint32_t came; /* bytes that arrived in that window */
    struct cmx_multipart parts;
};

_Static_assert(sizeof(struct cmx_upload) + sizeof(struct cmx_ota_request) + sizeof(struct cmx_ota_service) <
                   CMX_OTA_HEAP_MAX / 2,
               "these structs must fit in half of CMX_OTA_HEAP_MAX; the HTTP server uses the other half");

/* ---- service_state.c: call with the lock held, except cmx_ota_lock, cmx_ota_read_slots and cmx_ota_event_send ---- */

void cmx_ota_lock(struct cmx_ota_service *s);
void cmx_ota_unlock(struct cmx_ota_service *s);

const char *cmx_ota_state_text(cmx_ota_state_name state);

/* Only these functions change `state` and `trial.step`. They log each change. */
void cmx_ota_set_state(struct cmx_ota_service *s, cmx_ota_state_name state);
void cmx_ota_set_trial(struct cmx_ota_service *s, cmx_ota_trial_step step);

void cmx_ota_set_error(struct cmx_ota_service *s, const char *why);

/* Logs that a step has failed, and stores the reason as the error. */
void cmx_ota_failed(struct cmx_ota_service *s, const char *step, const char *why);

/* Frees the upload; the state is then OTA_READY or OTA_IDLE. */
void cmx_ota_drop_upload(struct cmx_ota_service *s);

/* Ends a state that has lasted too long: drops an interrupted upload, or reports that the restart did not happen. */
void cmx_ota_expire(struct cmx_ota_service *s);

/* Reads the slots' status and stores a copy. Call without the lock, in the task that may use the slots. */
void cmx_ota_read_slots(struct cmx_ota_service *s);

void cmx_ota_event_send(struct cmx_ota_service *s, cmx_ota_event e, const char *text);

/* ---- service_status.c ---- */

/* True if the request was refused: it comes from another site's page, or its Host is not a name of this device. Then
 * 403 was sent, and *err is the result of sending it. Call without the lock. */
bool cmx_ota_refused(struct cmx_ota_service *s, struct cmx_http_request *r, cmx_err *err);

/* Answers 503. */
CMX_MUST_USE cmx_err cmx_ota_no_memory(struct cmx_http_request *r);

CMX_MUST_USE cmx_err cmx_ota_page_begin(struct cmx_http_request *r, void *ctx, void **state);
CMX_MUST_USE cmx_err cmx_ota_index_begin(struct cmx_http_request *r, void *ctx, void **state);
CMX_MUST_USE cmx_err cmx_ota_status_begin(struct cmx_http_request *r, void *ctx, void **state);

/* ---- service_restart.c: call without the lock ---- */

/* In OTA_READY: restarts the device after the grace period. Does nothing in another state. */
void cmx_ota_schedule_restart(struct cmx_ota_service *s);

CMX_MUST_USE cmx_err cmx_ota_restart_begin(struct cmx_http_request *r, void *ctx, void **state);
void cmx_ota_restart_done(void *ctx, void *state, bool complete);

/* ---- service_update.c ---- */

CMX_MUST_USE cmx_err cmx_ota_update_begin(struct cmx_http_request *r, void *ctx, void **state);
CMX_MUST_USE cmx_err cmx_ota_update_body(struct cmx_http_request *r, void *ctx, void *state, const uint8_t *data,
                                         size_t len);
CMX_MUST_USE cmx_err cmx_ota_update_end(struct cmx_http_request *r, void *ctx, void *state);
void cmx_ota_update_done(void *ctx, void *state, bool complete);
