#include "cli/gateway/gw_gift.h"

#include <stdio.h>
#include <string.h>

bool gw_gift_value(const char *gift, const char *key, char *out, size_t cap)
{
    char pattern[32];
    const char *at;
    size_t len;

    snprintf(pattern, sizeof pattern, "%s ", key);
    for (at = gift; at && strncmp(at, pattern, strlen(pattern)) != 0; at = at ? at + 1 : NULL)
        at = strchr(at, '\n');
    out[0] = '\0';
    if (!at)
        return false;
    at += strlen(pattern);
    len = strcspn(at, "\n");
    if (len == 0 || len >= cap)
        return false;
    memcpy(out, at, len);
    out[len] = '\0';
    return true;
}

const char *gw_gift_file(const char *gift, const char *name, size_t *len)
{
    char head[64];
    const char *begin;
    const char *end;

    snprintf(head, sizeof head, "\n%s\n", name);
    begin = strstr(gift, head);
    end = begin ? strstr(begin, "\n" GW_GIFT_FILE_END) : NULL;
    if (!end)
        return NULL;
    begin += strlen(head);
    *len = (size_t)(end + 1 - begin);
    return *len ? begin : NULL;
}
