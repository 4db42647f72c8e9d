#include "gateway/registry/csv.h"

#include <stdbool.h>
#include <string.h>

cmx_err gw_csv_init(struct gw_csv *c, char *text, size_t len, struct cmx_why *why)
{
    const char *head;
    size_t first;

    if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return cmx_why_fail(why, CMX_EFORMAT, "the file is UTF-16 text; save it as CSV in UTF-8");
    if (memchr(text, '\0', len))
        return cmx_why_fail(why, CMX_EFORMAT, "the file is not text; save it as CSV in UTF-8");
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    text[len] = '\0';
    head = text + strspn(text, "\r\n"); /* empty lines may precede the names of the columns */
    first = strcspn(head, "\r\n");
    c->at = text;
    c->end = text + len;
    c->separator = memchr(head, ';', first) && !memchr(head, ',', first) ? ';' : ',';
    c->line = 0;
    return CMX_OK;
}

/* Unquotes a field in place. p points after the opening quote. Returns the position after the closing quote. NULL: the
 * closing quote is missing. */
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

static void cut_blanks(char *field, char *end)
{
    while (end > field && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *end = '\0';
}

static cmx_err split(char *p, char separator, char *fields[GW_CSV_FIELDS_MAX], size_t *n)
{
    const char stop[] = {separator, '"', '\0'};

    for (*n = 0; *n < GW_CSV_FIELDS_MAX; p++) {
        bool last;
        char *end;

        p += strspn(p, " \t");
        if (*p == '"') {
            fields[(*n)++] = p + 1;
            end = unquote(p + 1);
            if (!end)
                return CMX_EFORMAT;
            end += strspn(end, " \t");
            if (*end && *end != separator)
                return CMX_EFORMAT;
            last = *end == '\0';
        } else {
            fields[(*n)++] = p;
            end = p + strcspn(p, stop);
            if (*end == '"')
                return CMX_EFORMAT;
            last = *end == '\0';
            cut_blanks(p, end);
        }
        if (last)
            return CMX_OK;
        p = end;
    }
    return CMX_EFORMAT;
}

static bool all_empty(char *const *fields, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fields[i][0])
            return false;
    return true;
}

cmx_err gw_csv_next(struct gw_csv *c, char *fields[GW_CSV_FIELDS_MAX], size_t *n, struct cmx_why *why)
{
    while (c->at < c->end) {
        char *line = c->at;
        char *end = line + strcspn(line, "\r\n");

        c->at = end[0] == '\r' && end[1] == '\n' ? end + 2 : end + 1;
        c->line++;
        *end = '\0';
        if (split(line, c->separator, fields, n))
            return cmx_why_fail(why, CMX_EFORMAT, "line %zu is not CSV: a stray or missing quote, or too many fields",
                                c->line);
        if (!all_empty(fields, *n))
            return CMX_OK;
    }
    return CMX_ENOENT;
}
