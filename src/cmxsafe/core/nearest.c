#include "cmxsafe/core/nearest.h"

#include <string.h>

#define WORD_MAX 63

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;

    return m < c ? m : c;
}

/* Computes the Levenshtein distance between two words, each at most WORD_MAX long. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned char row[WORD_MAX + 1];

    for (size_t j = 0; j <= b_len; j++)
        row[j] = (unsigned char)j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];

        row[0] = (unsigned char)i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t up = row[j];

            row[j] = (unsigned char)min3(up + 1, (size_t)row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = up;
        }
    }
    return row[b_len];
}

void cmx_nearest_offer(struct cmx_nearest *n, const char *known)
{
    size_t a = strlen(n->word);
    size_t b = strlen(known);
    size_t d;

    if (a > WORD_MAX || b > WORD_MAX)
        return;
    d = distance(n->word, a, known, b);
    if (d < n->distance) {
        n->distance = d;
        n->best = known;
    }
}

const char *cmx_nearest_result(const struct cmx_nearest *n)
{
    size_t bound;

    if (!n->best)
        return NULL;
    bound = strlen(n->best) / 3;
    return n->distance <= (bound ? bound : 1) ? n->best : NULL;
}
