#include "cmxsafe/core/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"

static atomic_int threshold = CMX_LOG_INFO;

void cmx_log_set_level(cmx_log_level level)
{
    atomic_store(&threshold, (int)level);
}

void cmx_log(cmx_log_level level, const char *tag, const char *fmt, ...)
{
    char line[CMX_LOG_LINE_MAX];
    va_list ap;
    int n;

    if ((int)level > atomic_load(&threshold))
        return;
    va_start(ap, fmt);
    n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof line)
        memcpy(line + sizeof line - 4, "...", 4);
    cmx_text_clean(line);
    cmx_port_log(level, tag, line);
}
