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

static void write_line(cmx_log_level level, const char *tag, const char *fmt, va_list ap)
{
    char line[CMX_LOG_LINE_MAX];
    int n;

    if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    n = vsnprintf(line, sizeof line, fmt, ap);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof line)
        memcpy(line + sizeof line - 4, "...", 4);
    cmx_text_clean(line);
    cmx_port_log(level, tag, line);
}

void cmx_log(cmx_log_level level, const char *tag, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    write_line(level, tag, fmt, ap);
    va_end(ap);
}

void cmx_module_log(unsigned level_and_module, const char *fmt, ...)
{
    static const char tags[][10] = {"proxy", "ota", "isolation", "attest", "device"};
    va_list ap;

    va_start(ap, fmt);
    write_line((cmx_log_level)(level_and_module & 3), tags[level_and_module >> 2], fmt, ap);
    va_end(ap);
}
