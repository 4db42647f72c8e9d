#include "gateway/render/gw_template.h"

#include <inttypes.h>
#include <string.h>

struct writer {
    FILE *f;
    const struct gw_template_value *values;
    void *arg;
    struct cmx_why *e;
};

static size_t name_len(const char *s)
{
    return strspn(s, "abcdefghijklmnopqrstuvwxyz_");
}

/* Returns the length of the placeholder at s; 0: the '@' begins something else, such as an nftables set in "@grants
 * accept". */
static size_t placeholder_len(const char *s)
{
    size_t n = name_len(s + 1);

    return n > 0 && s[n + 1] == '@' ? n + 2 : 0;
}

/* Finds the value with this name. NULL: there is no such value. */
static const struct gw_template_value *find_value(const struct writer *w, const char *name, size_t len)
{
    for (const struct gw_template_value *v = w->values; v->name; v++)
        if (strlen(v->name) == len && memcmp(v->name, name, len) == 0)
            return v;
    cmx_why_set(w->e, "a template names an unknown value '%.*s'", (int)len, name);
    return NULL;
}

/* Writes one line; len includes the newline. A placeholder for lines must be alone on its line. */
static cmx_err write_line(const struct writer *w, const char *line, size_t len)
{
    const char *from = line;

    for (const char *s = line; s < line + len; s++) {
        size_t n = *s == '@' ? placeholder_len(s) : 0;
        const struct gw_template_value *v = n ? find_value(w, s + 1, n - 2) : NULL;

        if (n == 0)
            continue;
        if (!v)
            return CMX_EINTERNAL;
        if (v->lines)
            return v->lines(w->arg, v->number);
        fwrite(from, 1, (size_t)(s - from), w->f);
        if (v->text)
            fputs(v->text, w->f);
        else if (v->hex)
            fprintf(w->f, "%#" PRIx64, v->number);
        else
            fprintf(w->f, "%" PRIu64, v->number);
        from = s + n;
        s = from - 1;
    }
    fwrite(from, 1, (size_t)(line + len - from), w->f);
    return CMX_OK;
}

cmx_err gw_template_write(FILE *f, const char *text, const struct gw_template_value *values, void *arg,
                          struct cmx_why *e)
{
    const struct writer w = {f, values, arg, e};
    const struct gw_template_value *v;
    bool skip = false;
    cmx_err err = CMX_OK;

    for (size_t len; *text && !err; text += len) {
        len = strcspn(text, "\n") + 1;
        if (strncmp(text, "#if ", 4) == 0) {
            v = find_value(&w, text + 4, name_len(text + 4));
            err = v ? CMX_OK : CMX_EINTERNAL;
            skip = !v || (v->text && v->text[0] == '\0');
        } else if (strncmp(text, "#endif\n", 7) == 0) {
            skip = false;
        } else if (!skip && strncmp(text + strspn(text, " "), "##", 2) != 0) {
            err = write_line(&w, text, len);
        }
    }
    return err;
}
