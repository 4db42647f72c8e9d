/* json_get.h - reads one scalar from a JSON text (RFC 8259) that a device sent. Pure; bounds nesting. Written by hand
 * because a library's document tree would need an allocator and far more code for six members. */
#ifndef CLI_JSON_GET_H
#define CLI_JSON_GET_H

#include <stddef.h>

#include "cmxsafe/core/err.h"

/* path: member names with dots, "running.version". out: a string's text ('?' replaces escapes of control and non-ASCII
 * characters), or a number, true, false, null as written. CMX_ENOENT: no such member, or an object or array;
 * CMX_EFORMAT: no JSON; CMX_ENOSPC. */
CMX_MUST_USE cmx_err json_get(const char *text, const char *path, char *out, size_t cap);

#endif
