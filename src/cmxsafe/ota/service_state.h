/* service_state.h - what the parts of the update service share: service.c (life, page, state, restart) and
 * service_update.c (POST /update). Not for others. */
#ifndef CMX_OTA_SERVICE_STATE_H
#define CMX_OTA_SERVICE_STATE_H

#include "cmxsafe/http/http.h"
#include "cmxsafe/ota/multipart.h"
#include "cmxsafe/ota/service.h"
#include "cmxsafe/ota/upload.h"
#include "cmxsafe/port/port.h"

typedef enum {
    OTA_IDLE,        /* no upload */
    OTA_RECEIVING,   /* one request owns the upload */
    OTA_INTERRUPTED, /* an upload waits for its rest */
    OTA_CHECKING,    /* all is there; storage is read back */
    OTA_READY,       /* the next boot takes the new image; nobody restarts yet (s->ready, while there is no upload) */
    OTA_RESTARTING
} cmx_ota_state_name;

/* Invariants, under lock: upload is there exactly in OTA_RECEIVING, OTA_INTERRUPTED and OTA_CHECKING, and in
 * OTA_RECEIVING and OTA_CHECKING only its owner's thread touches it and the slots; received, total and crc are copies
 * for everybody else. */
struct cmx_ota_service {
    struct cmx_http_server *server;
    cmx_ota_state_name state;
    struct cmx_upload *upload;
    uint32_t received;
    uint32_t total; /* 0: not known */
    uint32_t crc;
    uint64_t interrupted_ms;
    uint64_t started_ms;
    uint8_t boot[8]; /* random: tells one start from the next */
    bool ready; /* the next boot takes a new image; an upload ends that with the first byte that it stores */
    bool confirm_over;
    bool restart_over; /* the restart task has done its work */
    struct cmx_mutex lock;
    struct cmx_slots_status slots; /* as of the last look */
    struct cmx_ota_config config;
    struct cmx_http_service http;
    char error[CMX_SLOT_WHY_MAX]; /* of the last upload */
};

/* One POST /update. */
struct cmx_ota_request {
    bool owner; /* of the service's upload */
    bool ready; /* its upload was activated: the device restarts once the answer has left */
    bool multipart;
    bool in_field; /* in the part named `update` */
    bool had_field;
    uint32_t range_end; /* raw: received after this request; 0: not known */
    uint64_t since_ms;  /* what came since then, the time that the device itself took left out: */
    uint32_t came;
    struct cmx_multipart parts;
};

_Static_assert(sizeof(struct cmx_upload) + sizeof(struct cmx_ota_request) + sizeof(struct cmx_ota_service) <
                   CMX_OTA_HEAP_MAX / 2,
               "half of what the service may use, so that the HTTP server's share fits too");

/* Under lock where they change the service. */
void cmx_ota_event_send(struct cmx_ota_service *s, cmx_ota_event e, const char *text);
void cmx_ota_set_state(struct cmx_ota_service *s, cmx_ota_state_name state);
void cmx_ota_drop_upload(struct cmx_ota_service *s); /* then the state is OTA_READY or OTA_IDLE */
void cmx_ota_look_at_slots(struct cmx_ota_service *s);
void cmx_ota_expire(struct cmx_ota_service *s); /* forgets an interrupted upload that is too old */

/* True: the request comes from a foreign page or by a foreign name, and *err is what answering gave. Without lock. */
bool cmx_ota_refused(struct cmx_ota_service *s, struct cmx_http_request *r, cmx_err *err);

/* Answers 503. */
cmx_err cmx_ota_no_memory(struct cmx_http_request *r);

/* Out of OTA_READY, once. Without lock. */
void cmx_ota_schedule_restart(struct cmx_ota_service *s);

/* POST /update. */
cmx_err cmx_ota_update_begin(struct cmx_http_request *r, void *ctx, void **state);
cmx_err cmx_ota_update_body(struct cmx_http_request *r, void *ctx, void *state, const uint8_t *data, size_t len);
cmx_err cmx_ota_update_end(struct cmx_http_request *r, void *ctx, void *state);
void cmx_ota_update_done(void *ctx, void *state, bool complete);

#endif
