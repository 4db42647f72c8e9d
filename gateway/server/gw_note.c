#include "gateway/server/gw_note.h"

#include <stdarg.h>
#include <stdio.h>

#include "cmxsafe/core/text.h"

void gw_note(const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    cmx_text_format(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "cmxsafe: gateway: %s\n", text);
}
