#include "gateway/folder/gw_fail.h"

#include <stdio.h>
#include <stdlib.h>

#include "cmxsafe/core/text.h"

#define MESSAGE_MAX 8192

int gw_fail_with(const char *what, const char *why, const char *todo)
{
    char text[MESSAGE_MAX];

    /* The names of files may contain control characters, which a terminal would obey. */
    snprintf(text, sizeof text, "%s: %s%s%s", what, why, todo ? "; " : "", todo ? todo : "");
    cmx_text_clean(text);
    fprintf(stderr, "cmxsafe: %s\n", text);
    return EXIT_FAILURE;
}

int gw_fail(const char *what, const struct cmx_why *e)
{
    return gw_fail_with(what, e->text[0] ? e->text : "no reason is known", NULL);
}
