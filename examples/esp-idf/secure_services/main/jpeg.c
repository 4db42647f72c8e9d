#include "jpeg.h"

#include <stdbool.h>

#include "cmxsafe/core/buf.h"

/* T.81 table K.3: luminance DC codes, used for all components; categories 0 to 8 are enough for differences of 8-bit
 * values. */
static const uint8_t dc_lengths[16] = {0, 1, 5, 1, 1, 1}; /* number of codes with 1, 2, ... bits */
static const uint8_t dc_code[9] = {0x0, 0x2, 0x3, 0x4, 0x5, 0x6, 0xe, 0x1e, 0x3e};
static const uint8_t dc_bits[9] = {2, 3, 3, 3, 3, 3, 4, 5, 6};

struct writer {
    struct cmx_buf out;
    uint32_t bits; /* the low n bits are not written yet */
    unsigned n;
    bool full;
};

static void put8(struct writer *w, unsigned v)
{
    if (cmx_buf_put_u8(&w->out, (uint8_t)v) != CMX_OK)
        w->full = true;
}

static void put16(struct writer *w, unsigned v)
{
    put8(w, v >> 8);
    put8(w, v & 0xff);
}

/* F.1.2.3: a 0xff in entropy-coded data is followed by a zero byte. */
static void put_bits(struct writer *w, unsigned v, unsigned n)
{
    w->bits = w->bits << n | v;
    for (w->n += n; w->n >= 8; w->n -= 8) {
        unsigned byte = w->bits >> (w->n - 8) & 0xff;

        put8(w, byte);
        if (byte == 0xff)
            put8(w, 0);
    }
    w->bits &= (1u << w->n) - 1;
}

/* B.2.4.1: with one quantisation table of 8s, the DC coefficient of a block is the block's mean minus 128. */
static void put_quantisation(struct writer *w)
{
    put16(w, 0xffdb);
    put16(w, 67);
    put8(w, 0);
    for (int i = 0; i < 64; i++)
        put8(w, 8);
}

/* B.2.2: 8 bits, three components, no subsampling. */
static void put_frame(struct writer *w, unsigned columns, unsigned rows)
{
    put16(w, 0xffc0);
    put16(w, 17);
    put8(w, 8);
    put16(w, rows * 8);
    put16(w, columns * 8);
    put8(w, 3);
    for (unsigned id = 1; id <= 3; id++) {
        put8(w, id);
        put8(w, 0x11);
        put8(w, 0);
    }
}

/* B.2.4.2: the DC table, and an AC table with one code, 0: end of block. */
static void put_huffman(struct writer *w)
{
    put16(w, 0xffc4);
    put16(w, 2 + 17 + 9 + 17 + 1);
    put8(w, 0x00);
    for (int i = 0; i < 16; i++)
        put8(w, dc_lengths[i]);
    for (unsigned i = 0; i < 9; i++)
        put8(w, i);
    put8(w, 0x10);
    for (int i = 0; i < 16; i++)
        put8(w, i == 0);
    put8(w, 0);
}

/* B.2.3: one interleaved scan. */
static void put_scan(struct writer *w)
{
    put16(w, 0xffda);
    put16(w, 12);
    put8(w, 3);
    for (unsigned id = 1; id <= 3; id++) {
        put8(w, id);
        put8(w, 0);
    }
    put8(w, 0);
    put8(w, 63);
    put8(w, 0);
}

/* F.1.2.1: writes the category (the number of bits of the difference's absolute value), then that many low bits of the
 * difference, or of the difference - 1 if it is negative, then the end of the block. */
static void put_block(struct writer *w, int difference)
{
    unsigned size = difference < 0 ? (unsigned)-difference : (unsigned)difference;
    unsigned category = 0;

    while (size >> category)
        category++;
    put_bits(w, dc_code[category], dc_bits[category]);
    if (category)
        put_bits(w, (unsigned)(difference < 0 ? difference - 1 : difference) & ((1u << category) - 1), category);
    put_bits(w, 0, 1);
}

static void put_picture(struct writer *w, unsigned columns, unsigned rows, jpeg_block_fn block, void *arg)
{
    struct jpeg_colour last = {128, 128, 128};

    for (unsigned row = 0; row < rows && !w->full; row++)
        for (unsigned column = 0; column < columns; column++) {
            struct jpeg_colour c = block(arg, column, row);

            put_block(w, c.y - last.y);
            put_block(w, c.cb - last.cb);
            put_block(w, c.cr - last.cr);
            last = c;
        }
    put_bits(w, 0x7f, 7); /* F.1.2.3: the last byte is filled with ones */
}

cmx_err jpeg_encode(uint8_t *out, size_t cap, size_t *len, unsigned columns, unsigned rows, jpeg_block_fn block,
                    void *arg)
{
    struct writer w = {.full = false};

    if (columns < 1 || rows < 1 || columns > 8191 || rows > 8191)
        return CMX_EINVAL;
    cmx_buf_init(&w.out, out, cap);
    put16(&w, 0xffd8);
    put_quantisation(&w);
    put_frame(&w, columns, rows);
    put_huffman(&w);
    put_scan(&w);
    put_picture(&w, columns, rows, block, arg);
    put16(&w, 0xffd9);
    if (w.full)
        return CMX_ENOSPC;
    *len = cmx_buf_len(&w.out);
    return CMX_OK;
}
