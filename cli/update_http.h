/* update_http.h - talks to a device's update service (cmxsafe/ota/service.h), over libcurl. */
#ifndef CLI_UPDATE_HTTP_H
#define CLI_UPDATE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

struct update_status {
    char text[4096]; /* as it came */
    char state[16];
    char boot[20];
    char version[40];
    char slot[16];
    char target[16];
    uint32_t slot_offset; /* of the running slot in flash; 0: not told */
    uint32_t received;
    uint32_t total; /* 0: not told */
    char crc32[12];
    bool confirmed;
    bool rolled_back;
    char rolled_back_version[40];
    char rolled_back_why[32];
};

/* Called with bytes sent of the whole file; false stops the upload. */
typedef bool (*update_progress_fn)(void *arg, uint64_t sent);

/* url: "http://host:port". CMX_EREFUSED, CMX_ETIMEOUT, CMX_ECLOSED: no answer; CMX_EPROTO: another service answers. */
CMX_MUST_USE cmx_err update_status_get(const char *url, struct update_status *out);

/* Sends path from offset on, at most kbps KB a second (0: no limit). answer: the device's line. CMX_OK: accepted.
 * CMX_EPERM: refused, answer says why; CMX_EBUSY: 409; CMX_EEXIST: the device holds another part (416); CMX_ECLOSED:
 * the connection was lost; CMX_EAGAIN: progress said stop. */
CMX_MUST_USE cmx_err update_send(const char *url, const char *path, uint64_t size, uint64_t offset, unsigned kbps,
                                 update_progress_fn progress, void *arg, char *answer, size_t answer_cap);

/* POST /restart, for an update whose answer was lost. Errors as above. */
CMX_MUST_USE cmx_err update_restart(const char *url);

#endif
