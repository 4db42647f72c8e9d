#include <stdarg.h>
#include <stdio.h>

#include "board.h"

int board_fail(const char *what, const char *why, const char *todo)
{
    fprintf(stderr, "cmxsafe: %s: %s%s%s\n", what, why, todo ? "; " : "", todo ? todo : "");
    return BOARD_FAILED;
}

int board_usage(const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "cmxsafe: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "; see 'cmxsafe-board --help'\n");
    return BOARD_USAGE;
}
