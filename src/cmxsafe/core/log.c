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

void(cmx_log)(cmx_log_level level, const char *tag, const char *fmt, ...)
{
    char line[CMX_LOG_LINE_MAX];
    va_list ap;

    if (!wanted(level))
        return;
    va_start(ap, fmt);
    cmx_text_format(line, sizeof line, fmt, ap);
    va_end(ap);
    cmx_port_log(level, tag, line);
}

/* Two tasks may count at the same time. A race can only let one line too many through or lose a count. */
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

bool cmx_log_permits(struct cmx_log_limit *l, cmx_log_level level, const char *tag)
{
    uint32_t left_out;
    bool permitted;

    if (!wanted(level))
        return false;
    permitted = cmx_log_limit_count(l, (uint32_t)(cmx_port_now_ms() / CMX_LOG_LIMITED_PERIOD_MS) + 1, &left_out);
    if (left_out)
        cmx_log(level, tag, "%u lines like the next one were left out", (unsigned)left_out);
    return permitted;
}
