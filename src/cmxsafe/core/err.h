/* err.h - the one error type of cmxsafe. Zero is success; the values are grouped by what the caller should do. The
 * public ESP calls map a cmx_err to esp_err_t. */
#pragma once

#include "cmxsafe/core/c_linkage.h"

CMX_C_BEGIN

#define CMX_MUST_USE __attribute__((warn_unused_result))
#define CMX_CONST __attribute__((const)) /* the result depends only on the arguments */
#define CMX_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

typedef enum {
#define CMX_ERROR(code, name, text) code,
#include "cmxsafe/core/errors.h"
} cmx_err;

/* Returns a short stable word such as "host-key", for logs, JSON and tests. Never NULL. Any thread. */
CMX_CONST const char *cmx_err_name(cmx_err err);

/* Returns a short text for a person, without a full stop. Never NULL. Any thread. */
CMX_CONST const char *cmx_err_text(cmx_err err);

CMX_C_END
