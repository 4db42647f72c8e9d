/* This parser exists because libinih gives its handler no line number, cuts lines at 200 bytes, silently drops a line
 * without '=' and takes an indented key for a continuation. To work around that would need more code than this file
 * has. */
#include "port/linux/ini_file.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/secret.h"

#define KEY_MAX 63     /* a key is at most this long */
#define COMMENT_MAX 63 /* a longer comment within a line is cut */

struct ini {
    const struct cmx_ini_handler *handler;
    unsigned line;     /* number of the current line */
    bool before_first; /* there has been no section line so far */
    bool skip;         /* ignore the keys of this section */
    char key[KEY_MAX + 1];
    char value[CMX_INI_LINE_MAX];
    char comment[COMMENT_MAX + 1];
};

static void ini_error(struct ini *p, const char *what)
{
    p->handler->error(p->handler->arg, p->line, what);
}

/* Removes white space at both ends. */
static void trim(const char **s, size_t *len)
{
    for (; *len && isspace((unsigned char)**s); --*len)
        ++*s;
    while (*len && isspace((unsigned char)(*s)[*len - 1]))
        --*len;
}

static void section_line(struct ini *p, const char *s, size_t len)
{
    const char *end = memchr(s, ']', len);

    p->before_first = false;
    p->skip = true; /* keys below a section line that cannot be read do not belong to the section above it */
    if (end != s + len - 1) {
        ini_error(p, "a section line is '[name]' and nothing else");
        return;
    }
    s++;
    len -= 2;
    trim(&s, &len);
    p->skip = !p->handler->section(p->handler->arg, p->line, s, len);
}

/* text has room for at least len + 1 bytes. */
static void copy(char *text, const char *s, size_t len)
{
    memcpy(text, s, len);
    text[len] = '\0';
}

static void pair_line(struct ini *p, const char *s, size_t len)
{
    const char *key = s, *value;
    char what[KEY_MAX + 48];
    size_t n = 0, key_len;

    while (n < len && s[n] != '=' && s[n] != ':')
        n++;
    key_len = n;
    trim(&key, &key_len);
    if (n == len || key_len > KEY_MAX) {
        ini_error(p, "neither 'key = value' nor '[section]'");
        return;
    }
    value = s + n + 1;
    len -= n + 1;
    trim(&value, &len);
    copy(p->key, key, key_len);
    copy(p->value, value, len);
    if (p->before_first) {
        snprintf(what, sizeof what, "key '%s' is before the first [section]", p->key);
        ini_error(p, what);
    } else if (!p->skip) {
        p->handler->pair(p->handler->arg, p->line, p->key, p->value, p->comment);
    }
}

/* Returns the length of the line without an inline comment: a ';' after white space. */
static size_t without_comment(const char *s, size_t len)
{
    for (size_t i = 1; i < len; i++)
        if (s[i] == ';' && isspace((unsigned char)s[i - 1]))
            return i;
    return len;
}

static bool has_control(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f)
            return true;
    return false;
}

static void read_line(struct ini *p, const char *s, size_t len)
{
    size_t text_len;

    trim(&s, &len);
    if (len == 0 || *s == '#' || *s == ';')
        return;
    text_len = without_comment(s, len);
    snprintf(p->comment, sizeof p->comment, "%.*s", (int)(len - text_len), s + text_len);
    len = text_len;
    trim(&s, &len);
    if (len >= CMX_INI_LINE_MAX)
        ini_error(p, "the line is longer than 4095 bytes");
    else if (has_control(s, len))
        ini_error(p, "a control character in the line");
    else if (*s == '[')
        section_line(p, s, len);
    else
        pair_line(p, s, len);
}

const char *cmx_ini_hash(const char *value)
{
    for (const char *hash = strchr(value, '#'); hash; hash = strchr(hash + 1, '#'))
        if (hash > value && isspace((unsigned char)hash[-1]))
            return hash;
    return NULL;
}

void cmx_ini_parse(const char *text, size_t len, const struct cmx_ini_handler *h)
{
    struct ini p = {.handler = h, .before_first = true};

    for (const char *end = text + len; text < end;) {
        const char *eol = memchr(text, '\n', (size_t)(end - text));
        const size_t n = (size_t)((eol ? eol : end) - text);

        p.line++;
        read_line(&p, text, n);
        text += n + (eol != NULL);
    }
    cmx_secret_wipe(&p, sizeof p); /* p.value may be a password */
}
