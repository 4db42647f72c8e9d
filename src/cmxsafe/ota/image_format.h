/* image_format.h - the declarations that image_esp.c (ESP-IDF's format, and the choice of a format) and image_opaque.c
 * share. Private to these two files. */
#pragma once

#include "cmxsafe/ota/image.h"

/* A format other than ESP-IDF's. Neither function is called for a refused image, or for bytes beyond max_len. */
struct cmx_image_format {
    cmx_err (*feed)(struct cmx_image *c, const uint8_t *p, uint32_t len);
    cmx_err (*finish)(struct cmx_image *c); /* called before signed_sha is finished */
};

enum { CMX_IMAGE_REFUSED = -1 }; /* the state of a refused image; image_esp.c has the other states */

/* Refuses the image and returns err. why: static. */
CMX_MUST_USE cmx_err cmx_image_refuse(struct cmx_image *c, cmx_err err, const char *why);

/* Appends n bytes to the piece in c->part. */
void cmx_image_gather(struct cmx_image *c, const uint8_t *p, uint32_t n);
