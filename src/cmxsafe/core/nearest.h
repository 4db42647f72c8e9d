/* nearest.h - finds the known word closest to a mistyped one, by edit distance, for error messages. Pure; words up to
 * 63 chars. */
#pragma once

#include <stddef.h>

struct cmx_nearest {
    const char *word;
    const char *best;
    size_t distance;
};

#define CMX_NEAREST_INIT(w)                                                                                            \
    {                                                                                                                  \
        (w), NULL, (size_t)-1                                                                                          \
    }

/* Considers one known word; borrowed. */
void cmx_nearest_offer(struct cmx_nearest *n, const char *known);

/* Returns the closest word offered, or NULL if none is close. Close: at most a third of the letters differ, or only
 * one. */
const char *cmx_nearest_result(const struct cmx_nearest *n);
