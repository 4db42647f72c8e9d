#include "gateway/registry/csv.h"

#include <string.h>

/* p is behind the opening quote; unquotes in place. Gives the char behind the closing quote, or NULL. */
static char *unquote(char *p)
{
    char *out = p;

    for (; *p; p++) {
        if (*p != '"') {
            *out++ = *p;
        } else if (p[1] == '"') {
            *out++ = '"';
            p++;
        } else {
            *out = '\0';
            return p + 1;
        }
    }
    return NULL;
}

cmx_err gw_csv_split(char *line, char *fields[GW_CSV_FIELDS_MAX], size_t *n)
{
    char *p = line;

    for (*n = 0; *n < GW_CSV_FIELDS_MAX; p++) {
        char *end;
        if (*p == '"') {
            fields[(*n)++] = p + 1;
            end = unquote(p + 1);
            if (!end || (*end && *end != ','))
                return CMX_EFORMAT;
        } else {
            fields[(*n)++] = p;
            end = p + strcspn(p, ",\"");
            if (*end == '"')
                return CMX_EFORMAT;
        }
        if (*end == '\0')
            return CMX_OK;
        *end = '\0';
        p = end;
    }
    return CMX_ENOSPC;
}
