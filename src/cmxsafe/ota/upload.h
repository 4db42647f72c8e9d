/* upload.h - one update from its first byte to its activation: checks the stream (image.h), writes it to the target
 * slot (slots.h), reads the whole slot back and checks it again, and only then makes it bootable. Does no HTTP.
 *
 * What keeps every moment safe: storage is touched only after the image's head was found acceptable; the first
 * CMX_UPLOAD_WITHHELD bytes, without which nothing boots, are written after everything else was verified in storage;
 * otadata follows last. One task at a time. */
#ifndef CMX_OTA_UPLOAD_H
#define CMX_OTA_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/ota/image.h"
#include "cmxsafe/ota/slots.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_UPLOAD_CHUNK 1024  /* bytes per write to storage */
#define CMX_UPLOAD_WITHHELD 32 /* header and first segment's header; a multiple of flash encryption's 16 */

/* Invariant: received == written + buffered; bytes below `erased` were erased; nothing at or above `written` was
 * written, nor below CMX_UPLOAD_WITHHELD. */
struct cmx_upload {
    const struct cmx_slots *slots; /* borrowed */
    uint32_t slot_size;
    uint32_t received;
    uint32_t written;
    uint32_t erased;
    uint32_t buffered;
    uint32_t crc; /* CRC-32 of the bytes received, so that a client knows whether it may continue */
    bool begun;   /* storage was touched */
    uint8_t withheld[CMX_UPLOAD_WITHHELD];
    const char *why;                /* after an error: one clause for a person; static, or in refusal */
    char refusal[CMX_SLOT_WHY_MAX]; /* of the slots, to activate */
    struct cmx_image_policy policy;
    struct cmx_image image;
    uint8_t buffer[CMX_UPLOAD_CHUNK];
};

/* Ready for the first byte; policy is copied, its max_len set to the slot's size. CMX_EBUSY: the running image is not
 * confirmed yet. CMX_ENOTSUP: there is no slot to write. */
CMX_MUST_USE cmx_err cmx_upload_begin(struct cmx_upload *u, const struct cmx_slots *slots,
                                      const struct cmx_image_policy *policy);

/* Errors as cmx_image_feed's, and storage's. After one, only abort is of use. */
CMX_MUST_USE cmx_err cmx_upload_data(struct cmx_upload *u, const void *data, size_t len);

/* All bytes are there: verifies, reads back, verifies again. u->image then holds the results. The slot still boots
 * nothing. */
CMX_MUST_USE cmx_err cmx_upload_verify(struct cmx_upload *u);

/* After verify: the next boot takes the new image. */
CMX_MUST_USE cmx_err cmx_upload_activate(struct cmx_upload *u);

/* Gives up, and releases the hashes; always safe after begin. The target slot boots nothing. */
void cmx_upload_abort(struct cmx_upload *u);

#ifdef __cplusplus
}
#endif
#endif
