#include "cmxsafe/core/why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/text.h"

CMX_PRINTF(2, 0) static void why_format(struct cmx_why *w, const char *fmt, va_list ap)
{
    struct cmx_why next;

    cmx_text_format(next.text, sizeof next.text, fmt, ap);
    *w = next;
}

void cmx_why_set(struct cmx_why *w, const char *fmt, ...)
{
    va_list ap;

    if (!w)
        return;
    va_start(ap, fmt);
    why_format(w, fmt, ap);
    va_end(ap);
}

cmx_err cmx_why_fail(struct cmx_why *w, cmx_err err, const char *fmt, ...)
{
    va_list ap;

    if (!w)
        return err;
    va_start(ap, fmt);
    why_format(w, fmt, ap);
    va_end(ap);
    return err;
}

const char *cmx_why_text(const struct cmx_why *w, cmx_err err)
{
    return w->text[0] ? w->text : cmx_err_text(err);
}
