#include "cmxsafe/http/http.h"

#include <string.h>

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
