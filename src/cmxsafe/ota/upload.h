/* upload.h - one update from its first byte to its activation. Checks the stream (image.h), writes it to the target
 * slot (slots.h), reads the image back from the slot, checks it again, and only then makes the slot bootable. Does no
 * HTTP.
 *
 * The order of the writes makes a power cut safe at every moment. Storage is written only after the image's head was
 * accepted. The first CMX_UPLOAD_WITHHELD bytes, without which the image does not boot, are written only after all
 * other bytes were verified in storage. otadata is written last. One task at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/ota/image.h"
#include "cmxsafe/ota/slots.h"

#define CMX_UPLOAD_CHUNK 1024 /* bytes per write to storage */
/* The image header and the first segment's header; a multiple of flash encryption's block of 16 bytes. */
#define CMX_UPLOAD_WITHHELD 32

/* Invariant: received == written + buffered; bytes below `erased` were erased (the rest of the slot is erased
 * last, and `erased` then stays as it is); only bytes from CMX_UPLOAD_WITHHELD up to `written` were written. */
struct cmx_upload {
    const struct cmx_slots *slots; /* borrowed */
    uint32_t slot_size;
    uint32_t received;
    uint32_t written;
    uint32_t erased;
    uint32_t buffered;
    uint32_t crc; /* CRC-32 of the received bytes; a client compares it to decide whether it can continue the upload */
    bool begun;   /* cmx_slots.begin has succeeded: storage may have been written */
    uint8_t withheld[CMX_UPLOAD_WITHHELD];
    const char *why;        /* after an error: the reason, one clause; static, or in `refusal` */
    struct cmx_why refusal; /* the reason that cmx_slots.activate gave */
    struct cmx_image_policy policy;
    struct cmx_image image;
    uint8_t buffer[CMX_UPLOAD_CHUNK];
};

/* The reason for refusing an upload while the running image is not confirmed. */
extern const char cmx_upload_unconfirmed[];

/* Prepares for the first byte. policy is copied; max_len of the copy is the slot's size. CMX_EBUSY: the running image
 * is not confirmed yet. CMX_ENOTSUP: there is no target slot. CMX_EIO: the slots cannot be read. CMX_ENOMEM: out of
 * memory. */
CMX_MUST_USE cmx_err cmx_upload_begin(struct cmx_upload *u, const struct cmx_slots *slots,
                                      const struct cmx_image_policy *policy);

/* Consumes the next bytes. Errors as for cmx_image_feed and for storage (cmx_slots). After an error, call only
 * cmx_upload_abort. */
CMX_MUST_USE cmx_err cmx_upload_data(struct cmx_upload *u, const void *data, size_t len);

/* Call after the last byte. Verifies the received image, and then the image as storage returns it. u->image then holds
 * the results. The slot cannot boot yet. Errors as for cmx_image_finish; CMX_EIO: storage failed, or returned other
 * bytes. */
CMX_MUST_USE cmx_err cmx_upload_verify(struct cmx_upload *u);

/* Call after cmx_upload_verify. The next start then boots the new image. Errors as for cmx_slots.activate. */
CMX_MUST_USE cmx_err cmx_upload_activate(struct cmx_upload *u);

/* Ends the upload and releases the hashes. Safe at any time after cmx_upload_begin. If `begun` is set and the upload
 * was not activated, no restart boots the target slot. */
void cmx_upload_abort(struct cmx_upload *u);
