#include "cmxsafe/http/http.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 512 /* maximum size of cmx_http_reply_text's text in bytes, NUL included */

cmx_err cmx_http_param(const char *query, const char *name, const char **value, size_t *len)
{
    size_t name_len = strlen(name);
    const char *found = NULL;
    size_t found_len = 0;

    for (const char *p = query; *p;) {
        size_t n = strcspn(p, "&");

        if (n > name_len && p[name_len] == '=' && strncmp(p, name, name_len) == 0) {
            if (found)
                return CMX_EEXIST;
            found = p + name_len + 1;
            found_len = n - name_len - 1;
        }
        p += n + (p[n] == '&');
    }
    if (!found)
        return CMX_ENOENT;
    *value = found;
    *len = found_len;
    return CMX_OK;
}

cmx_err cmx_http_reply_text(struct cmx_http_request *r, int status, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return CMX_EINVAL;
    return cmx_http_reply(r, status, "text/plain; charset=utf-8", text,
                          (size_t)n < sizeof text ? (size_t)n : sizeof text - 1, NULL, 0);
}
