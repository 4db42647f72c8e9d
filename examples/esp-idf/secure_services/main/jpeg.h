/* jpeg.h - a small baseline JPEG encoder (ITU-T T.81) for a mosaic, which suffices for a moving test picture. Every
 * block of 8 x 8 pixels has one colour, so only DC coefficients are written. The encoder needs no table in RAM and no
 * multiplication. Pure. */
#ifndef APP_JPEG_H
#define APP_JPEG_H

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

struct jpeg_colour {
    uint8_t y, cb, cr;
};

/* Returns the colour of the block in that column and row. */
typedef struct jpeg_colour (*jpeg_block_fn)(void *arg, unsigned column, unsigned row);

/* Writes a picture of columns x rows blocks (1 to 8191 each). CMX_ENOSPC: more than cap bytes. */
CMX_MUST_USE cmx_err jpeg_encode(uint8_t *out, size_t cap, size_t *len, unsigned columns, unsigned rows,
                                 jpeg_block_fn block, void *arg);

#endif
