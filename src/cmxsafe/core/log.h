/* log.h - formats one bounded line and hands it to the platform (cmx_port_log). Decides only whether a line is wanted.
 * Never log a secret: keys, passwords and challenges have no business in a format argument. */
#ifndef CMX_CORE_LOG_H
#define CMX_CORE_LOG_H

#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { CMX_LOG_ERROR, CMX_LOG_WARN, CMX_LOG_INFO, CMX_LOG_DEBUG } cmx_log_level;

/* Longest line, NUL included; longer ones are cut and end in "...". */
#define CMX_LOG_LINE_MAX 256

/* Lines above this level are dropped. Default CMX_LOG_INFO. Any thread. */
void cmx_log_set_level(cmx_log_level level);

/* tag: the module ("proxy", "isolation", "ota", "attest", ...), a static string. Bytes below 0x20 and DEL that came in
 * through an argument are written as '?', so that a peer can't forge a line or drive a terminal. Any thread. */
void cmx_log(cmx_log_level level, const char *tag, const char *fmt, ...) CMX_PRINTF(3, 4);

/* The same for the modules themselves, each of which has one tag: CMX_LOG_WARN | CMX_LOG_PROXY. One small number is
 * what a call has to load. */
#define CMX_LOG_PROXY (0u << 2)
#define CMX_LOG_OTA (1u << 2)
#define CMX_LOG_ISOLATION (2u << 2)
#define CMX_LOG_ATTEST (3u << 2)
#define CMX_LOG_DEVICE (4u << 2)
void cmx_module_log(unsigned level_and_module, const char *fmt, ...) CMX_PRINTF(2, 3);

#ifdef __cplusplus
}
#endif
#endif
