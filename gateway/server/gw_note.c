#include "gateway/server/gw_note.h"

#include <stdarg.h>

#include "cmxsafe/core/text.h"
#include "port/linux/stderr_line.h"

void gw_note(const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    cmx_text_format(text, sizeof text, fmt, ap);
    va_end(ap);
    cmx_stderr_line("cmxsafe: gateway: ", text);
}
