/* image_format.h - what the formats of an image share: image.c (ESP-IDF's, and the choice) and image_opaque.c. Not for
 * others. */
#ifndef CMX_OTA_IMAGE_FORMAT_H
#define CMX_OTA_IMAGE_FORMAT_H

#include "cmxsafe/ota/image.h"

/* Another format than ESP-IDF's. Both are called with the image not refused, and the bytes within max_len. */
struct cmx_image_format {
    cmx_err (*feed)(struct cmx_image *c, const uint8_t *p, uint32_t len);
    cmx_err (*finish)(struct cmx_image *c); /* before signed_sha is */
};

enum { CMX_IMAGE_REFUSED = -1 }; /* a state */

/* Refuses the image for good; gives err back. why: static. */
CMX_MUST_USE cmx_err cmx_image_refuse(struct cmx_image *c, cmx_err err, const char *why);

/* n more bytes of the piece in c->part. */
void cmx_image_gather(struct cmx_image *c, const uint8_t *p, uint32_t n);

#endif
