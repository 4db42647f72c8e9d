/* json_get.h - reads JSON (RFC 8259) that a device or another gateway sent. Pure; bounds nesting. Written by hand
 * because a library's document tree would need an allocator and far more code for a few members. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cmxsafe/core/err.h"

/* Reads the value at a path. path: member names with dots, "running.version". out: a string's text ('?' replaces
 * escapes of control and non-ASCII characters), or a number, true, false, null as written. CMX_ENOENT: no such member,
 * or an object or array; CMX_EFORMAT: no JSON; CMX_ENOSPC. */
CMX_MUST_USE cmx_err json_get(const char *text, const char *path, char *out, size_t cap);

/* True if the text is one value with nothing but white space around it. */
bool json_is_whole(const char *text);
/* Returns where the member's value begins, which tells its type: '"', '{', '[', or a number, true, false, null. NULL:
 * there is no such member. path "": text itself. */
const char *json_find(const char *text, const char *path);
/* Returns the first element of an array (json_find), and the one after an element; NULL: there is none, or this is no
 * array. */
const char *json_first(const char *array);
const char *json_next(const char *element);
