/* must.h - for harnesses: ends the program if a condition does not hold. Unlike assert(), it is on in every build. */
#pragma once

#include <stdlib.h>

static inline void must(int condition)
{
    if (!condition)
        abort();
}

/* Ends the program if the text has control characters. */
static inline void must_print(const char *text)
{
    for (const char *p = text; *p; p++)
        must((unsigned char)*p >= 0x20 && *p != 0x7f);
}
