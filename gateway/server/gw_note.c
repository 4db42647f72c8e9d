#include "gateway/server/gw_note.h"

#include <stdarg.h>
#include <stdio.h>

#include "cmxsafe/core/text.h"

void gw_note(const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cmx_text_clean(text);
    fprintf(stderr, "cmxsafe: gateway: %s\n", text);
}
