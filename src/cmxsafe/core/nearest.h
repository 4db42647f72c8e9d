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

/* Compares the word with one known word, which must stay valid. */
void cmx_nearest_offer(struct cmx_nearest *n, const char *known);

/* Returns the known word with the smallest edit distance. NULL: no word is close enough. The distance must be at most a
 * third of the known word's length; a distance of 1 is always allowed. */
const char *cmx_nearest_result(const struct cmx_nearest *n);
