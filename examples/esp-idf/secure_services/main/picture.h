/* picture.h - a moving test picture for devices without a camera: colour bars, a bouncing ball, the frame's number. */
#ifndef APP_PICTURE_H
#define APP_PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#define PICTURE_MAX 7680 /* maximum size of a frame, in bytes; the longest frame has 6,989 bytes */

/* Writes frame n as a JPEG; the same n always gives the same bytes. CMX_ENOSPC: the JPEG does not fit in cap bytes. */
CMX_MUST_USE cmx_err picture_frame(void *arg, uint32_t n, uint8_t *out, size_t cap, size_t *len);

#endif
