#include "cli/common/json_get.h"

#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/text.h"

enum { DEPTH_MAX = 16 };

static const char *space(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* p points to the character after the opening quote. Returns a pointer to the character after the closing quote. NULL:
 * there is no closing quote. */
static const char *string_end(const char *p)
{
    for (; *p && *p != '"'; p++)
        if (*p == '\\' && *++p == '\0')
            return NULL;
    return *p ? p + 1 : NULL;
}

/* Returns a pointer to the character after the value at p. NULL: p is not a value, or it is nested too deeply. */
static const char *skip(const char *p, int depth)
{
    bool object = *p == '{';
    char close = object ? '}' : ']';

    if (*p == '"')
        return string_end(p + 1);
    if (*p != '{' && *p != '[') {
        size_t n = strspn(p, "+-.0123456789abcdefghijklmnopqrstuvwxyzE");

        return n ? p + n : NULL;
    }
    if (depth == 0)
        return NULL;
    p = space(p + 1);
    while (*p != close) {
        if (object) {
            p = *p == '"' ? string_end(p + 1) : NULL;
            p = p ? space(p) : NULL;
            if (!p || *p != ':')
                return NULL;
            p = space(p + 1);
        }
        p = skip(p, depth - 1);
        p = p ? space(p) : NULL;
        if (!p || (*p != ',' && *p != close))
            return NULL;
        if (*p == ',')
            p = space(p + 1);
    }
    return p + 1;
}

/* Moves *at from an object to the value of its member `name` (len chars). */
static cmx_err member(const char **at, const char *name, size_t len)
{
    const char *p = *at;

    if (*p != '{')
        return CMX_ENOENT;
    p = space(p + 1);
    while (*p == '"') {
        const char *key = p + 1, *end = string_end(key);
        bool found = end && (size_t)(end - 1 - key) == len && strncmp(key, name, len) == 0;

        p = end ? space(end) : NULL;
        if (!p || *p != ':')
            return CMX_EFORMAT;
        p = space(p + 1);
        if (found) {
            *at = p;
            return CMX_OK;
        }
        p = skip(p, DEPTH_MAX);
        p = p ? space(p) : NULL;
        if (!p)
            return CMX_EFORMAT;
        if (*p == ',')
            p = space(p + 1);
    }
    return *p == '}' ? CMX_ENOENT : CMX_EFORMAT;
}

static cmx_err take_string(const char *p, char *out, size_t cap)
{
    size_t n = 0;
    bool cut = false;

    for (; !cut && *p != '"'; p++) {
        char c = *p;

        if (c == '\\') {
            c = *++p;
            if (c == 'u') {
                p += strspn(p + 1, "0123456789abcdefABCDEF") >= 4 ? 4 : 0;
                c = '?';
            } else if (!strchr("\"\\/", c)) {
                c = '?';
            }
        }
        cut = n + 1 >= cap;
        if (!cut)
            out[n++] = cmx_text_printable(c);
    }
    out[n] = '\0';
    return cut ? CMX_ENOSPC : CMX_OK;
}

/* Sets *value to the first character of the value at path. */
static cmx_err find(const char *text, const char *path, const char **value)
{
    const char *p = space(text);

    while (*path) {
        size_t n = strcspn(path, ".");
        cmx_err err = member(&p, path, n);

        if (err)
            return err;
        path += n + (path[n] == '.');
    }
    *value = p;
    return CMX_OK;
}

cmx_err json_get(const char *text, const char *path, char *out, size_t cap)
{
    const char *p = NULL, *end;
    cmx_err err = find(text, path, &p);
    size_t n;

    out[0] = '\0';
    if (err)
        return err;
    end = skip(p, DEPTH_MAX);
    if (!end)
        return CMX_EFORMAT;
    if (*p == '"')
        return take_string(p + 1, out, cap);
    if (*p == '{' || *p == '[')
        return CMX_ENOENT;
    n = (size_t)(end - p);
    if (n >= cap)
        return CMX_ENOSPC;
    memcpy(out, p, n);
    out[n] = '\0';
    return CMX_OK;
}

bool json_is_whole(const char *text)
{
    const char *end = skip(space(text), DEPTH_MAX);

    return end && *space(end) == '\0';
}

const char *json_find(const char *text, const char *path)
{
    const char *value = NULL;

    return find(text, path, &value) == CMX_OK && skip(value, DEPTH_MAX) ? value : NULL;
}

bool json_text(const char *text, const char *path, char *out, size_t cap)
{
    return json_get(text, path, out, cap) == CMX_OK;
}

int64_t json_number(const char *text, const char *path)
{
    char digits[24];

    return json_text(text, path, digits, sizeof digits) ? strtoll(digits, NULL, 10) : 0;
}

bool json_is_true(const char *text, const char *path)
{
    const char *value = json_find(text, path);

    return value && strncmp(value, "true", 4) == 0;
}

size_t json_length(const char *value)
{
    const char *end = skip(value, DEPTH_MAX);

    return end ? (size_t)(end - value) : 0;
}

const char *json_first(const char *text, const char *path)
{
    const char *array = json_find(text, path);
    const char *p = array && *array == '[' ? space(array + 1) : NULL;

    return p && *p != ']' && skip(p, DEPTH_MAX) ? p : NULL;
}

const char *json_next(const char *element)
{
    const char *p = skip(element, DEPTH_MAX);

    p = p ? space(p) : NULL;
    p = p && *p == ',' ? space(p + 1) : NULL;
    return p && skip(p, DEPTH_MAX) ? p : NULL;
}
