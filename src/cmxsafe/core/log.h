/* log.h - formats one bounded line and hands it to the platform. Decides only whether a line is written. Never pass a
 * secret: no key, password or challenge belongs in a log line. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/platform.h"

CMX_C_BEGIN

/* Maximum size of a line, NUL included. Longer lines are cut and end in "...". */
#define CMX_LOG_LINE_MAX 256

/* Lines that are more verbose than this level are dropped. Default CMX_LOG_INFO. Any thread. */
void cmx_log_set_level(cmx_log_level level);

/* tag: the module ("proxy", "isolation", "ota", "attest", "device", ...), a static string. Control characters become
 * '?', so that a peer cannot forge a line or drive a terminal. Any thread. */
void cmx_log(cmx_log_level level, const char *tag, const char *fmt, ...) CMX_PRINTF(3, 4);

/* Lines that are more verbose than this level are not compiled in. A firmware has debug lines only if ESP-IDF's
 * CONFIG_LOG_MAXIMUM_LEVEL or Arduino's Core Debug Level is Debug or higher. */
#ifndef CMX_LOG_COMPILED
#if defined(ESP_PLATFORM) && defined(CORE_DEBUG_LEVEL)
#define CMX_LOG_COMPILED (CORE_DEBUG_LEVEL >= 4 ? CMX_LOG_DEBUG : CMX_LOG_INFO)
#elif defined(ESP_PLATFORM) || defined(CMX_DEVICE_PROFILE)
#define CMX_LOG_COMPILED CMX_LOG_INFO
#else
#define CMX_LOG_COMPILED CMX_LOG_DEBUG
#endif
#endif
#define cmx_log(level, ...) ((level) <= CMX_LOG_COMPILED ? (cmx_log)(level, __VA_ARGS__) : (void)0)

/* Use this for each line that a peer can cause as often as it likes. Each call site writes at most
 * CMX_LOG_LIMITED_LINES lines in a period of CMX_LOG_LIMITED_PERIOD_MS. If lines were left out, the next line that is
 * written is preceded by a line that says how many. Any thread. */
#define CMX_LOG_LIMITED_LINES 10
#define CMX_LOG_LIMITED_PERIOD_MS 60000
#define cmx_log_limited(level, ...)                                                                                    \
    do {                                                                                                               \
        static struct cmx_log_limit limit_of_this_call;                                                                \
        if ((level) <= CMX_LOG_COMPILED)                                                                               \
            cmx_log_within(&limit_of_this_call, level, __VA_ARGS__);                                                   \
    } while (0)

/* The state of one call site. Zeroed before the first call. */
struct cmx_log_limit {
    uint32_t period; /* the number of the period to which `lines` belongs */
    uint32_t lines;  /* lines counted in that period, including those left out */
};

/* Counts one line of the call site, and writes it unless the period's limit is reached. Before the first line of a new
 * period, writes how many lines were left out since the last written line. */
void cmx_log_within(struct cmx_log_limit *l, cmx_log_level level, const char *tag, const char *fmt, ...)
    CMX_PRINTF(4, 5);

/* Counts one line; true if it may be written. *left_out: at the first line of a new period, how many lines were left
 * out since the last written line; otherwise 0. Pure except for *l. */
bool cmx_log_limit_count(struct cmx_log_limit *l, uint32_t period, uint32_t *left_out);

CMX_C_END
