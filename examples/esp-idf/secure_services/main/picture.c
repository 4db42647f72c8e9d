#include "picture.h"

#include <stdbool.h>

#include "jpeg.h"

#define COLUMNS 80 /* 640 x 480 pixels */
#define ROWS 60
#define RADIUS 6

/* Seven bars, 75 %: white, yellow, cyan, green, magenta, red, blue (ITU-R BT.471). */
static const struct jpeg_colour bars[7] = {
    {180, 128, 128}, {162, 44, 142}, {131, 156, 44}, {112, 72, 58}, {84, 184, 198}, {65, 100, 212}, {35, 212, 114},
};
static const struct jpeg_colour white = {255, 128, 128};
static const struct jpeg_colour black = {0, 128, 128};

/* Digits of 3 x 5 blocks. Each row is three bits, an octal digit; the top row is the first octal digit. */
static const uint16_t digits[10] = {
    075557, 026227, 071747, 071717, 055711, 074717, 074757, 071122, 075757, 075717,
};

struct scene {
    uint32_t n;
    int x, y; /* the ball's centre, in blocks */
};

/* Returns a position that moves from 0 to span and back as t grows. */
static int bounce(uint32_t t, int span)
{
    int at = (int)(t % (2u * (uint32_t)span));

    return at <= span ? at : 2 * span - at;
}

static bool in_ball(const struct scene *s, int column, int row)
{
    int dx = column - s->x;
    int dy = row - s->y;

    return dx * dx + dy * dy <= RADIUS * RADIUS;
}

/* True if the block is part of the frame's number: eight digits at the bottom, drawn at twice the size. */
static bool in_number(const struct scene *s, int column, int row)
{
    int x = (column - 8) / 2;
    int y = (row - 46) / 2;
    int place = 7 - x / 4;
    uint32_t value = s->n;

    if (column < 8 || row < 46 || x >= 32 || y >= 5 || x % 4 == 3)
        return false;
    while (place-- > 0)
        value /= 10;
    return digits[value % 10] >> ((4 - y) * 3 + (2 - x % 4)) & 1;
}

static struct jpeg_colour block(void *arg, unsigned column, unsigned row)
{
    const struct scene *s = arg;

    if (in_number(s, (int)column, (int)row))
        return white;
    if (in_ball(s, (int)column, (int)row))
        return white;
    return row >= 44 ? black : bars[column * 7 / COLUMNS];
}

cmx_err picture_frame(void *arg, uint32_t n, uint8_t *out, size_t cap, size_t *len)
{
    struct scene s = {
        .n = n,
        .x = RADIUS + bounce(n, COLUMNS - 2 * RADIUS - 1),
        .y = RADIUS + bounce(n, 44 - 2 * RADIUS - 1),
    };

    (void)arg;
    return jpeg_encode(out, cap, len, COLUMNS, ROWS, block, &s);
}
