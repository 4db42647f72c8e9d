/* json_get.h - reads JSON (RFC 8259) that comes from devices, other gateways, the running gateway and child processes.
 * Pure; limits the nesting depth. Written by hand because a library's document tree would need an allocator and far
 * more code for a few members. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

/* Reads the value at a path. path: member names joined by dots, such as "running.version". out: the text of a string,
 * or a number, true, false or null as written. In a string, '?' replaces bytes that are not printable ASCII, and all
 * escapes except \", \\ and \/. CMX_ENOENT: there is no such member, or its value is an object or array. CMX_EFORMAT:
 * the text is not JSON. CMX_ENOSPC: out is too small. It then holds the beginning of a string, or "" for a value of
 * another type. After any other error, out is "". */
CMX_MUST_USE cmx_err json_get(const char *text, const char *path, char *out, size_t cap);

/* Like json_get, for a member that may be missing. False: json_get failed; out is as json_get left it. */
bool json_text(const char *text, const char *path, char *out, size_t cap);
/* Returns 0 if there is no such number. */
int64_t json_number(const char *text, const char *path);
bool json_is_true(const char *text, const char *path);

/* True if the text is one value with nothing but white space around it. */
bool json_is_whole(const char *text);
/* Returns a pointer to the first character of the member's value. This character shows the type of the value: '"', '{',
 * '[', or the beginning of a number, true, false or null. NULL: there is no such member. path "": text itself. */
const char *json_find(const char *text, const char *path);
/* Returns the length of the value that begins at value; 0: it is not JSON. */
size_t json_length(const char *value);
/* json_first returns the first element of the array at a path; json_next returns the element after `element`. NULL:
 * there is no such element, or the value is not an array. */
const char *json_first(const char *text, const char *path);
const char *json_next(const char *element);
