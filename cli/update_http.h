/* update_http.h - the requests of `cmxsafe update` to a device's update service (cmxsafe/ota/service.h). */
#pragma once

#include "cli/common/http_client.h"

/* Sizes of the texts in a device's answer, NUL included. Longer texts are cut. */
#define UPDATE_STATE_MAX 16
#define UPDATE_BOOT_MAX 20
#define UPDATE_VERSION_MAX 40
#define UPDATE_SLOT_MAX 16
#define UPDATE_CRC32_MAX 12
#define UPDATE_ROLLBACK_WHY_MAX 64

struct update_status {
    char state[UPDATE_STATE_MAX];
    char boot[UPDATE_BOOT_MAX];
    char version[UPDATE_VERSION_MAX];
    char slot[UPDATE_SLOT_MAX];
    uint32_t slot_offset; /* offset of the running slot in flash; 0: not reported */
    uint32_t received;
    uint32_t total; /* 0: not reported */
    char crc32[UPDATE_CRC32_MAX];
    char error[CMX_WHY_MAX]; /* why the last update failed; "": it did not fail */
    bool confirmed;
    bool rolled_back;
    char rolled_back_version[UPDATE_VERSION_MAX];
    char rolled_back_why[UPDATE_ROLLBACK_WHY_MAX];
};

typedef enum {
    UPDATE_OK,
    UPDATE_REFUSED, /* why: the device's reason */
    UPDATE_BUSY,    /* HTTP status 409; why: the device's reason */
    UPDATE_FOREIGN, /* the answer is not from an update service */
    UPDATE_AGAIN,   /* no answer, or a temporary failure (408, 416, 429, 502, 503, 504); why: the reason */
    UPDATE_STOPPED, /* the progress function ended the upload */
} update_result;

/* Requests the state of the service at url, "http://host:port". */
update_result update_status_get(const char *url, struct update_status *out, struct cmx_why *why);

/* Posts the file. UPDATE_OK: *why is the device's answer. */
update_result update_send(const char *url, const struct http_upload *file, struct cmx_why *why);

/* Sends POST /restart, to a device that has the complete image but has not restarted. */
update_result update_restart(const char *url, struct cmx_why *why);
