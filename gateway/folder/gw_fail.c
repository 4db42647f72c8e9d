#include "gateway/folder/gw_fail.h"

#include <stdio.h>
#include <stdlib.h>

int gw_fail_with(const char *what, const char *why, const char *todo)
{
    fprintf(stderr, "cmxsafe: %s: %s%s%s\n", what, why, todo ? "; " : "", todo ? todo : "");
    return EXIT_FAILURE;
}

int gw_fail(const char *what, const struct cmx_why *e)
{
    return gw_fail_with(what, e->text[0] ? e->text : "no reason is known", NULL);
}
