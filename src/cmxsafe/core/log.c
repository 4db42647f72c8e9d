#include "cmxsafe/core/log.h"

#include <stdarg.h>
#include <stdatomic.h>

#include "cmxsafe/core/text.h"

static atomic_int threshold = CMX_LOG_INFO;

void cmx_log_set_level(cmx_log_level level)
{
    atomic_store(&threshold, (int)level);
}

static bool wanted(cmx_log_level level)
{
    return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

static void CMX_PRINTF(3, 0) write_line(cmx_log_level level, const char *tag, const char *fmt, va_list ap)
{
    char line[CMX_LOG_LINE_MAX];

    if (!wanted(level))
        return;
    cmx_text_format(line, sizeof line, fmt, ap);
    cmx_port_log(level, tag, line);
}

void(cmx_log)(cmx_log_level level, const char *tag, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    write_line(level, tag, fmt, ap);
    va_end(ap);
}

/* Two tasks may count at the same time. The worst effects of that race are one line too many or a lost count. */
bool cmx_log_limit_count(struct cmx_log_limit *l, uint32_t period, uint32_t *left_out)
{
    uint32_t lines;

    *left_out = 0;
    if (__atomic_exchange_n(&l->period, period, __ATOMIC_RELAXED) != period) {
        lines = __atomic_exchange_n(&l->lines, 0, __ATOMIC_RELAXED);
        if (lines > CMX_LOG_LIMITED_LINES)
            *left_out = lines - CMX_LOG_LIMITED_LINES;
    }
    return __atomic_fetch_add(&l->lines, 1, __ATOMIC_RELAXED) < CMX_LOG_LIMITED_LINES;
}

void cmx_log_within(struct cmx_log_limit *l, cmx_log_level level, const char *tag, const char *fmt, ...)
{
    const uint32_t period = (uint32_t)(cmx_port_now_ms() / CMX_LOG_LIMITED_PERIOD_MS) + 1;
    uint32_t left_out;
    va_list ap;

    if (!wanted(level) || !cmx_log_limit_count(l, period, &left_out))
        return;
    if (left_out)
        cmx_log(level, tag, "%u lines like the next one were left out", (unsigned)left_out);
    va_start(ap, fmt);
    write_line(level, tag, fmt, ap);
    va_end(ap);
}
